"""The pointer says where the thing stands that the strict reader refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.api.locating import escape, locate
from coordinator.wire.strict_json import Reason, Refused, decode_object

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=10,
)
OFFENCES = [
    "NaN",
    "-Infinity",
    "1e999",
    "9" * 30,
    "9" * 5000,
    '"\\ud800"',
    '"\\u0000"',
    '{"a":1,"a":2}',
    "[" * 40 + "]" * 40,
]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"a":{"b":[0,NaN]}}', "/a/b/1"),
        (b'{"a/b":{"c~d":1e999}}', "/a~1b/c~0d"),
        (b'{"":-Infinity}', "/"),
        (b'{"a":1,"b":{"c":1,"c":2}}', "/b/c"),
        (b'{"a":{"\\ud800":1}}', "/a"),
        (b'{"\\u0000":1}', ""),
        (b'{"a":"\\udfff"}', "/a"),
        (b'{"a":["x","\\u0000"]}', "/a/1"),
        (b'{"a":123456789012345678901}', "/a"),
    ],
)
def test_an_offence_is_pointed_at(body: bytes, pointer: str) -> None:
    """Each kind of offence has the pointer of its value, or of the object whose key cannot be written."""
    with pytest.raises(Refused) as refused:
        decode_object(body)
    assert locate(body, refused.value.reason) == pointer


@given(
    tree=st.dictionaries(st.text(max_size=5), JSON_VALUES, min_size=1, max_size=3),
    offence=st.sampled_from(OFFENCES),
    data=st.data(),
)
def test_the_pointer_leads_to_the_one_offence(tree: dict[str, Any], offence: str, data: st.DataObject) -> None:
    """Wherever one offence is put into a good document, the pointer leads to it or to what holds it."""
    if any("\0" in text or not _writable(text) for text in _texts(tree)):
        return
    places = list(_places(tree, ()))
    place = data.draw(st.sampled_from(places))
    body = json.dumps(_with(tree, place, "@@here@@")).replace('"@@here@@"', offence).encode()
    with pytest.raises(Refused) as refused:
        decode_object(body)
    pointer = locate(body, refused.value.reason)
    wanted = "".join(f"/{escape(part)}" for part in place)
    assert pointer.startswith(wanted) or offence.startswith("[[[")


@given(body=st.binary(max_size=200))
def test_noise_has_no_place(body: bytes) -> None:
    """Whatever the bytes, locating never fails."""
    reasons: tuple[Reason, ...] = ("nul", "bad_unicode", "duplicate_key", "non_finite", "number_range", "too_deep")
    for reason in reasons:
        assert isinstance(locate(body, reason), str)


def test_depth_without_bottom_has_no_place() -> None:
    """A document too deep to be read at all is pointed at as a whole."""
    assert locate(b'{"a":' + b"[" * 100_000, "too_deep") == ""


def _places(node: Any, path: tuple[Any, ...]) -> Any:
    if isinstance(node, dict):
        for key, child in node.items():
            yield (*path, key)
            yield from _places(child, (*path, key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield (*path, index)
            yield from _places(child, (*path, index))


def _with(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    if isinstance(node, dict):
        return {key: _with(child, path[1:], value) if key == path[0] else child for key, child in node.items()}
    return [_with(child, path[1:], value) if index == path[0] else child for index, child in enumerate(node)]


def _texts(node: Any) -> Any:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for key, child in node.items():
            yield key
            yield from _texts(child)
    elif isinstance(node, list):
        for child in node:
            yield from _texts(child)


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
