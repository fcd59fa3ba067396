"""Keyset cursors of any list, each tied to its kind and filter; a cursor of another list is refused."""

from __future__ import annotations

import base64
import binascii
import hashlib

import msgspec

from coordinator.api.problems import Fault, RequestRefused

_VERSION = b"\x01"
_SEAL_BYTES = 8
_LENGTH_MAX = 1_000


def write(kind: str, chosen: msgspec.Struct, place: bytes) -> str:
    """The cursor behind a place in a list: of this kind, with what was chosen of it."""
    head = _VERSION + place
    return base64.urlsafe_b64encode(head + _seal(kind, chosen, head)).rstrip(b"=").decode()


def read(kind: str, chosen: msgspec.Struct, cursor: str) -> bytes:
    """The place behind which the next page begins; raises RequestRefused (400) for what `write` did not make."""
    try:
        text = cursor[:_LENGTH_MAX].encode("ascii")
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    head, seal = raw[:-_SEAL_BYTES], raw[-_SEAL_BYTES:]
    # The same bytes have several spellings in base64; only ours is taken.
    if head[:1] != _VERSION or seal != _seal(kind, chosen, head) or write(kind, chosen, head[1:]) != cursor:
        detail = "this is no cursor of this list; begin again without it, and keep the other parameters as they are"
        raise RequestRefused(400, "bad-cursor", f"cursor: {detail}", [Fault(detail, parameter="cursor")])
    return head[1:]


def _seal(kind: str, chosen: msgspec.Struct, head: bytes) -> bytes:
    """Tie a place to its list; this notices mistakes, it keeps no secret (a place in a list is none)."""
    said = msgspec.json.encode((kind, chosen))
    return hashlib.sha256(len(said).to_bytes(4, "big") + said + head).digest()[:_SEAL_BYTES]
