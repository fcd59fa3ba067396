"""How one participant does of late: what came of its actions, and how long they took.

Counted in slots of half a minute, of which the latest ten are looked at. Latencies are kept by their size only, each
eighth of a power of two by itself: off by at most an eighth, small, and addable over processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

SLOT_MS: Final = 30_000
SLOTS: Final = 10
WINDOW_S: Final = SLOT_MS * SLOTS // 1000

_EXACT: Final = 8  # milliseconds below which each has a size of its own


class Recent(msgspec.Struct, frozen=True):
    """What came of actions of late: replies, the failures among them, timeouts, and replies by size of latency."""

    replies: int = 0
    failures: int = 0
    timeouts: int = 0
    latencies: dict[int, int] = {}


class _Slot:
    __slots__ = ("failures", "latencies", "number", "replies", "timeouts")

    def __init__(self, number: int) -> None:
        self.number = number
        self.replies = self.failures = self.timeouts = 0
        self.latencies: dict[int, int] = {}


class Pulse:
    """One participant's, as this process sees it; moments are the database's milliseconds."""

    def __init__(self) -> None:
        self._slots: list[_Slot] = []

    def answered(self, now_ms: int, latencies: Sequence[int | None], *, failed: bool) -> None:
        """So many actions were answered, one for each latency; that is None where it cannot be told."""
        slot = self._slot(now_ms)
        slot.replies += len(latencies)
        if failed:
            slot.failures += len(latencies)
        sizes = slot.latencies
        for latency_ms in latencies:
            if latency_ms is not None:
                size = size_of(latency_ms)
                sizes[size] = sizes.get(size, 0) + 1

    def timed_out(self, now_ms: int) -> None:
        """An action was not answered in time."""
        self._slot(now_ms).timeouts += 1

    def recent(self, now_ms: int) -> Recent:
        """What came of actions of late."""
        oldest = now_ms // SLOT_MS - SLOTS
        return added(
            Recent(slot.replies, slot.failures, slot.timeouts, slot.latencies)
            for slot in self._slots
            if slot.number > oldest
        )

    def _slot(self, now_ms: int) -> _Slot:
        number = now_ms // SLOT_MS
        if not self._slots or self._slots[-1].number < number:  # a clock that goes back fills the latest slot
            self._slots = [*self._slots[-SLOTS:], _Slot(number)]
        return self._slots[-1]


def added(parts: Iterable[Recent]) -> Recent:
    """Several of these as one."""
    replies = failures = timeouts = 0
    latencies: Counter[int] = Counter()
    for part in parts:
        replies += part.replies
        failures += part.failures
        timeouts += part.timeouts
        latencies.update(part.latencies)
    return Recent(replies, failures, timeouts, dict(latencies))


def quantile_ms(latencies: Mapping[int, int], share: float) -> int | None:
    """The latency that this share of all replies did not exceed, rounded up to its size; None when there are none."""
    wanted = share * sum(latencies.values())
    passed = 0
    for size in sorted(latencies):
        passed += latencies[size]
        if passed >= wanted:
            return _largest(size)
    return None


def size_of(latency_ms: int) -> int:
    """The size of a latency: growing with it, and the same for what differs by less than an eighth."""
    if latency_ms < _EXACT:
        return max(0, latency_ms)
    power = latency_ms.bit_length() - 3
    return (power << 3) + (latency_ms >> (power - 1)) - _EXACT


def _largest(size: int) -> int:
    """The largest latency of a size, in milliseconds."""
    if size < _EXACT:
        return size
    power, eighth = divmod(size, 8)
    return ((eighth + 9) << (power - 1)) - 1
