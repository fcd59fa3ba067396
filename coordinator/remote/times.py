"""Moments as people read and write them: local or UTC, and spans like 2h."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from coordinator.remote.refusals import misused

_SPAN = re.compile(r"([0-9]{1,6})(s|m|h|d)", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Times:
    """Writes moments in one zone; `fine` adds milliseconds."""

    def __init__(self, *, utc: bool, fine: bool = False) -> None:
        self._utc = utc
        self._fine = fine

    def show(self, text: str | None) -> str:
        """A moment of the API (RFC 3339), or what it says where it is none."""
        if text is None:
            return "-"
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return text
        if moment.tzinfo is None:
            return text
        shown = moment.astimezone(UTC) if self._utc else moment.astimezone()
        fraction = f".{shown.microsecond // 1000:03d}" if self._fine else ""
        return shown.strftime("%Y-%m-%d %H:%M:%S") + fraction + ("Z" if self._utc else "")


def seconds_of(given: str | None, option: str) -> float | None:
    """How long a span is that a person gives, such as 90s or 10m; raises Refusal."""
    if given is None:
        return None
    match = _SPAN.fullmatch(given)
    if match is None or int(match[1]) == 0:
        raise misused(f"{option} {given}: write a span such as 90s, 10m or 2h")
    return float(int(match[1]) * _SECONDS[match[2]])


def moment_of(given: str | None, *, ahead: bool = False) -> str | None:
    """What a person gives as a moment, as RFC 3339: as it is, or a span ago (`ahead`: from now); raises Refusal."""
    if given is None:
        return None
    now = datetime.now(UTC)
    if match := _SPAN.fullmatch(given):
        length = timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        return _written(now + length if ahead else now - length)
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise misused(f"{given!r} is no moment: write 2026-05-01T12:00:00Z, or a span such as 2h") from None
    return _written(moment if moment.tzinfo is not None else moment.astimezone())


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
