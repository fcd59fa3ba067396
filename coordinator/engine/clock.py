"""The database's clock between statements, and saga ids made from it.

Each statement answers with the database's time; between statements the offset to the monotonic clock stands in.
When the database's clock steps by more than two seconds, timers rest until it has been steady for a while: a
jump must not fire or lose a timeout (design section 3, rule 14).
"""

from __future__ import annotations

import structlog

from coordinator.engine.ports import Chance, Clock

log = structlog.get_logger()

STEP_MAX_MS = 2_000
STEADY_AFTER_S = 5.0


class DatabaseClock:
    """Milliseconds of the database's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ms: int | None = None
        self._stepped_at: float | None = None
        self.steps = 0

    def observe(self, now_ms: int) -> None:
        """Take the time that a statement has just answered with."""
        offset_ms = now_ms - self._monotonic_ms()
        if self._offset_ms is not None and abs(offset_ms - self._offset_ms) > STEP_MAX_MS:
            self.steps += 1
            log.error("clock_stepped", by_ms=offset_ms - self._offset_ms, alert=True)
            self._stepped_at = self._clock.monotonic()
        self._offset_ms = offset_ms

    def now_ms(self) -> int:
        """The database's time now, as far as we know."""
        return self._monotonic_ms() + (self._offset_ms or 0)

    @property
    def steady(self) -> bool:
        """Whether the clock is known and has not stepped lately."""
        if self._offset_ms is None:
            return False
        return self._stepped_at is None or self._clock.monotonic() - self._stepped_at > STEADY_AFTER_S

    def _monotonic_ms(self) -> int:
        return int(self._clock.monotonic() * 1000)


def new_saga_id(now_ms: int, chance: Chance) -> str:
    """A version 7 UUID (RFC 9562): its order is that of creation, so inserts stay at the end of the indexes."""
    return _uuid7(now_ms, chance.bits(12), chance.bits(62))


def first_saga_id(at_ms: int) -> str:
    """The smallest id that a saga begun at a moment can have."""
    return _uuid7(max(0, at_ms), 0, 0)


def _uuid7(at_ms: int, high: int, low: int) -> str:
    bits = (at_ms & 0xFFFFFFFFFFFF) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
