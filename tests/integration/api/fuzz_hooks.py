"""What schemathesis does before it sends a made-up request to a running coordinator."""

from __future__ import annotations

import secrets
from typing import Any

import schemathesis

KEY = "Idempotency-Key"
KEY_MAX = 255


@schemathesis.hook  # type: ignore[untyped-decorator, unused-ignore]
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Give each request a key of its own: it makes up the same one for many, and hears that it was used."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return  # a bad request that is edited is taken for a good one
    given = (case.headers or {}).get(KEY)
    if isinstance(given, str) and 1 <= len(given) <= KEY_MAX and given.isascii() and given.isprintable():
        # As long as it was, but never so short that two could be the same.
        case.headers[KEY] = secrets.token_hex(KEY_MAX)[: max(len(given), 16)]
