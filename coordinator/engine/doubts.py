"""Statements of which it was not heard whether they were committed: counted once the log says that they were."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from coordinator.engine.ports import Clock
from coordinator.store.batch import Batch

DOUBTS_MAX = 1_000
ASK_AFTER_S = 1.0  # the statement may still run
FORGET_AFTER_S = 60.0  # no statement runs for so long

Entry = tuple[str, int, bytes]
"""An entry of the log: saga id, version, data."""


class LogReader(Protocol):
    """Reads the log; see store.postgres for what the call promises."""

    async def logged(self, sagas: Sequence[tuple[str, int]]) -> list[Entry]: ...  # noqa: D102


class _Doubt(msgspec.Struct, frozen=True):
    """`count` is called with nothing when the entry is found, for then all of its statement is there."""

    at: float
    entry: Entry
    count: Callable[[], None]


class Doubts:
    """What may have happened and is not counted yet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: deque[_Doubt] = deque(maxlen=DOUBTS_MAX)

    def add(self, batch: Batch, count: Callable[[], None]) -> None:
        """Remember a statement; one that moves no saga counts nothing."""
        if batch.logs:
            saga_id, version, *_, data = batch.logs[0]
            self._open.append(_Doubt(self._clock.monotonic(), (saga_id, version, data), count))

    async def settle(self, reader: LogReader) -> None:
        """Count what the log has, and forget what it will not have any more. Raises Unavailable."""
        now = self._clock.monotonic()
        asked = [doubt for doubt in self._open if now - doubt.at >= ASK_AFTER_S]
        if not asked:
            return
        there = set(await reader.logged([doubt.entry[:2] for doubt in asked]))
        for doubt in asked:
            found = doubt.entry in there
            if not found and now - doubt.at < FORGET_AFTER_S:
                continue
            try:
                self._open.remove(doubt)
            except ValueError:  # meanwhile somebody else has settled it, or newer ones have pushed it out
                continue
            if found:
                doubt.count()
