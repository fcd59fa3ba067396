"""Moments on the wire: RFC 3339 text outside, integer milliseconds since the epoch inside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_SHAPE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
PATTERN = f"^{_SHAPE.pattern}$"


@lru_cache(maxsize=4096)  # a batch has few moments and many messages
def format_ms(moment_ms: int) -> str:
    """The moment as `2025-01-31T12:00:00.000Z`; raises ValueError outside the years 1 to 9999."""
    try:
        moment = _EPOCH + moment_ms * _MILLISECOND
    except OverflowError:
        raise ValueError(f"{moment_ms} ms since the epoch is not within the years 1 to 9999") from None
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


@lru_cache(maxsize=4096)
def parse_ms(text: str) -> int:
    """Milliseconds since the epoch, further digits cut off; raises ValueError for anything not RFC 3339.

    `T` and `Z` are upper case, an offset is required, a leap second is refused.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 moment such as 2025-01-31T12:00:00.000Z")
    whole, fraction, offset = match.groups()
    try:
        whole_ms = (datetime.fromisoformat(whole + offset) - _EPOCH) // _MILLISECOND
    except OverflowError:
        raise ValueError("a moment outside the years 1 to 9999") from None
    return whole_ms + (int(fraction[1:4].ljust(3, "0")) if fraction else 0)
