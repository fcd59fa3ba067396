"""A log in memory, and a clock whose pauses are short."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from coordinator.errors import Unavailable
from coordinator.store.tailing import Entry, LogTail, Place


class Log(LogTail):
    """A log in memory; the horizon is where the test puts it."""

    def __init__(self) -> None:
        super().__init__("")
        self.entries: list[Entry] = []
        self.end = Place(1_000)
        self.questions = 0
        self.is_away = False
        self.narrowed: list[tuple[Sequence[str] | None, Sequence[str] | None]] = []

    def add(
        self, saga_id: str, version: int, status: str = "pending", definition: str = "Order", size: int = 0
    ) -> None:
        """Add an entry and complete the log up to it."""
        at_us = self.end.at_us
        self.entries.append(Entry(Place(at_us, saga_id, version), definition, "x" * size, None, status, ""))
        self.end = Place(at_us + 1)

    async def horizon(self) -> Place:
        """Answer the end."""
        self.questions += 1
        if self.is_away:
            raise Unavailable("away")
        return self.end

    async def between(
        self,
        after: Place,
        before: Place,
        limit: int,
        saga_ids: Sequence[str] | None = None,
        definitions: Sequence[str] | None = None,
    ) -> list[Entry]:
        """Answer entries in their order."""
        self.narrowed.append((saga_ids, definitions))
        return [entry for entry in sorted(self.entries, key=lambda one: one.place) if after < entry.place < before][
            :limit
        ]

    async def summarize(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""


class Clock:
    """A clock whose pauses are over at once."""

    def monotonic(self) -> float:
        """Seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Let others work."""
        await asyncio.sleep(seconds / 1000)
