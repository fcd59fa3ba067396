"""The hash that tells whether two start requests mean the same: SHA-256 of the canonical JSON (RFC 8785)."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
import rfc8785

from coordinator.errors import InvalidInput


def hash_input(value: dict[str, Any]) -> bytes:
    """32 bytes that are equal for equal inputs, however they were written.

    Raises InvalidInput where RFC 8785 has no canonical form: for integers that doubles cannot hold.
    """
    text = msgspec.json.encode(value, order="sorted")
    if not _is_canonical(text):
        try:
            text = rfc8785.dumps(value)
        except rfc8785.CanonicalizationError as error:
            raise InvalidInput(f"the input has no canonical form: {error}", "/input") from None
    return hashlib.sha256(text).digest()


def _is_canonical(text: bytes) -> bool:
    """Whether sorted, compact JSON is what RFC 8785 asks for: so it is without escapes, fractions and huge integers."""
    if not text.isascii() or b"\\" in text:
        return False
    try:
        _PLAIN.decode(text)
    except msgspec.DecodeError:
        return False
    return True


def _plain(levels: int) -> Any:
    scalar = None | bool | str | Annotated[int, msgspec.Meta(gt=-(2**53), lt=2**53)]
    node: Any = scalar
    for _ in range(levels):
        node = scalar | list[node] | dict[str, node]
    return node


_PLAIN: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_plain(6))
