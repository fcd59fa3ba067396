"""Keyset cursors: where a page ended, and of which list; opaque to clients, and refused for any other list."""

from __future__ import annotations

import base64
import binascii
import hashlib
from uuid import UUID

import msgspec

from coordinator.api.problems import Fault, RequestRefused

_VERSION = b"\x01"
_SEAL_BYTES = 8
_LENGTH = 1 + 16 + _SEAL_BYTES


def write(chosen: msgspec.Struct, last_id: str) -> str:
    """The cursor behind an id in the list that `chosen` describes."""
    place = _VERSION + UUID(last_id).bytes
    return base64.urlsafe_b64encode(place + _seal(chosen, place)).rstrip(b"=").decode()


def read(chosen: msgspec.Struct, cursor: str) -> str:
    """The id behind which the next page begins; raises RequestRefused (400) for a cursor that `write` did not make."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"==", altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    place, seal = raw[:-_SEAL_BYTES], raw[-_SEAL_BYTES:]
    # The same bytes have several spellings in base64; only ours is taken.
    if len(raw) != _LENGTH or seal != _seal(chosen, place) or write(chosen, str(UUID(bytes=place[1:]))) != cursor:
        detail = "this is no cursor of this list; begin again without it, and keep the other parameters as they are"
        raise RequestRefused(400, "bad-cursor", f"cursor: {detail}", [Fault(detail, parameter="cursor")])
    return str(UUID(bytes=place[1:]))


def _seal(chosen: msgspec.Struct, place: bytes) -> bytes:
    """Tie a place to its list; this notices mistakes, it keeps no secret (a place in a list is none)."""
    return hashlib.sha256(msgspec.json.encode(chosen) + place).digest()[:_SEAL_BYTES]
