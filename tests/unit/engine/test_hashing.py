"""Two start requests mean the same when their inputs have one canonical form."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as some

from coordinator.engine.hashing import hash_input
from coordinator.errors import InvalidInput

SCALARS = (
    some.none()
    | some.booleans()
    | some.integers(min_value=-(2**53) + 1, max_value=2**53 - 1)
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(max_size=12)
)
TREES = some.recursive(
    SCALARS, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=6), inner, max_size=3)
)


@given(some.dictionaries(some.text(max_size=6), TREES, max_size=4))
def test_the_hash_is_that_of_the_canonical_form(value: dict[str, Any]) -> None:
    """The fast encoding is used only where it equals RFC 8785, whatever the input holds."""
    assert hash_input(value) == hashlib.sha256(rfc8785.dumps(value)).digest()


def test_the_order_of_fields_does_not_matter() -> None:
    """The same fields in another order are the same input."""
    assert hash_input({"a": 1, "b": {"c": 2, "d": 3}}) == hash_input({"b": {"d": 3, "c": 2}, "a": 1})


def test_whole_floats_equal_integers() -> None:
    """RFC 8785 writes 1.0 as 1: JSON has one kind of number."""
    assert hash_input({"a": 1.0}) == hash_input({"a": 1})
    assert hash_input({"a": math.pi}) != hash_input({"a": 3})


def test_an_integer_that_doubles_cannot_hold_is_refused() -> None:
    """Two readers could take it for two different numbers, so it has no canonical form."""
    with pytest.raises(InvalidInput, match="canonical form"):
        hash_input({"amount": 2**53 + 1})
