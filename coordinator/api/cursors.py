"""Keyset cursors: where a page ended, and of which list; opaque to clients, and refused for any other list.

They are sealed with the installation's secret: whoever makes one up, or changes one, is told so.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import msgspec

from coordinator.api.problems import Fault, RequestRefused

_VERSION = b"\x02"
_SEAL_BYTES = 16
_LENGTH_MAX = 1_000


class Cursors:
    """Writes and reads cursors; all processes of an installation have the same secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def write(self, kind: str, chosen: msgspec.Struct, place: bytes) -> str:
        """The cursor behind a place in a list: of this kind, with what was chosen of it."""
        head = _VERSION + place
        return base64.urlsafe_b64encode(head + self._seal(kind, chosen, head)).rstrip(b"=").decode()

    def read(self, kind: str, chosen: msgspec.Struct, cursor: str) -> bytes:
        """The place behind which the next page begins; raises RequestRefused (400) for what `write` did not make."""
        raw = _decoded(cursor)
        head, seal = raw[:-_SEAL_BYTES], raw[-_SEAL_BYTES:]
        sound = head[:1] == _VERSION and hmac.compare_digest(seal, self._seal(kind, chosen, head))
        # The same bytes have several spellings in base64; only ours is taken.
        if not sound or self.write(kind, chosen, head[1:]) != cursor:
            detail = "this is no cursor of this list; begin again without it, and keep the other parameters as they are"
            raise RequestRefused(400, "bad-cursor", f"cursor: {detail}", [Fault(detail, parameter="cursor")])
        return head[1:]

    def _seal(self, kind: str, chosen: msgspec.Struct, head: bytes) -> bytes:
        said = msgspec.json.encode((kind, chosen), order="deterministic")
        return hmac.digest(self._secret, len(said).to_bytes(4, "big") + said + head, hashlib.sha256)[:_SEAL_BYTES]


def _decoded(cursor: str) -> bytes:
    if len(cursor) > _LENGTH_MAX:
        return b""
    try:
        return base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return b""
