"""Keyset cursors of the lists of incidents and dead letters: where a page ended, and of which list."""

from __future__ import annotations

import base64
import binascii
import hashlib

import msgspec

from coordinator.api.problems import Fault, RequestRefused

_SEAL_BYTES = 8


def write(kind: str, chosen: msgspec.Struct, place: bytes) -> str:
    """The cursor behind a place in the list of a filter."""
    return base64.urlsafe_b64encode(place + _seal(kind, chosen, place)).rstrip(b"=").decode()


def read(kind: str, chosen: msgspec.Struct, cursor: str) -> bytes:
    """The place behind which the next page begins; raises RequestRefused (400) for what `write` did not make."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"==", altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    place, seal = raw[:-_SEAL_BYTES], raw[-_SEAL_BYTES:]
    # The same bytes have several spellings in base64; only ours is taken.
    if not place or seal != _seal(kind, chosen, place) or write(kind, chosen, place) != cursor:
        detail = "this is no cursor of this list; begin again without it, and keep the other parameters as they are"
        raise RequestRefused(400, "bad-cursor", f"cursor: {detail}", [Fault(detail, parameter="cursor")])
    return place


def _seal(kind: str, chosen: msgspec.Struct, place: bytes) -> bytes:
    """Tie a place to its list; this notices mistakes, it keeps no secret (a place in a list is none)."""
    return hashlib.sha256(kind.encode() + msgspec.json.encode(chosen) + place).digest()[:_SEAL_BYTES]
