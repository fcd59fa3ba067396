"""What an API key looks like: `saga_<id>_<secret>`, which people and secret scanners recognise.

The id is public; the secret is 256 random bits and a checksum over all, so that a token that was cut or misspelt is
known as such without a look at the database. Only the SHA-256 of the whole token is ever kept.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import zlib

ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
PREFIX = "saga_"

_TOKEN = re.compile(r"(saga_([0-9a-f]{8})_)([A-Za-z0-9_-]{48})", re.ASCII)
_SECRET_BYTES = 32
_CHECK_BYTES = 4


def new_token() -> str:
    """A token that nobody has had before."""
    head = f"{PREFIX}{secrets.token_hex(4)}_"
    secret = secrets.token_bytes(_SECRET_BYTES)
    return head + base64.urlsafe_b64encode(secret + _check(head, secret)).decode()


def id_of(token: str) -> str | None:
    """The id of the key that a token is for; None for what is no token of ours."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    raw = base64.urlsafe_b64decode(found[3])
    secret, check = raw[:_SECRET_BYTES], raw[_SECRET_BYTES:]
    return found[2] if check == _check(found[1], secret) else None


def hash_of(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def matches(token: str, kept: bytes) -> bool:
    """Whether a token is the one that was kept; takes as long whether it is or not."""
    return hmac.compare_digest(hash_of(token), kept)


def _check(head: str, secret: bytes) -> bytes:
    return zlib.crc32(secret, zlib.crc32(head.encode())).to_bytes(_CHECK_BYTES)
