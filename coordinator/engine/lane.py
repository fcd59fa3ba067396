"""A lane to Kafka: groups of records leave in order, and what waits leaves together.

The client has one request on its way per broker, so many small groups would queue behind each other; a group that
waits is joined with those that come after it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from coordinator.engine.ports import Bus, Clock
from coordinator.kafka.batches import Published
from coordinator.kafka.records import Outgoing

AT_ONCE_MAX = 2  # groups on their way: one on the wire, one right behind it

C = TypeVar("C")


class Lane(Generic[C]):
    """Publishes groups; `landed(contexts, result)` hears what became of those that left together."""

    def __init__(self, bus: Bus, clock: Clock, landed: Callable[[list[C], Published], None]) -> None:
        self._bus = bus
        self._clock = clock
        self._landed = landed
        self._waiting: list[tuple[Sequence[Outgoing], C]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, records: Sequence[Outgoing], context: C) -> None:
        """Publish a group; returns at once."""
        self._waiting.append((records, context))
        self._launch()

    async def drain(self, timeout_s: float) -> None:
        """Wait until everything has landed, for so long at most."""
        until = self._clock.monotonic() + timeout_s
        while self._tasks and self._clock.monotonic() < until:
            await asyncio.wait(self._tasks, timeout=until - self._clock.monotonic())

    def _launch(self) -> None:
        if self._waiting and len(self._tasks) < AT_ONCE_MAX:
            groups, self._waiting = self._waiting, []
            # Groups of several requests leave together, so in no request's context.
            task = asyncio.create_task(self._publish(groups), context=contextvars.Context())
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._launch()

    async def _publish(self, groups: list[tuple[Sequence[Outgoing], C]]) -> None:
        records = [record for group, _ in groups for record in group] if len(groups) > 1 else groups[0][0]
        result = Published([], [record.token for record in records], [], "it was not tried to the end")
        try:
            result = await self._bus.publish(records)
        finally:  # what is not known to be on Kafka must not stay on its way for ever, or no sweep would send it
            self._landed([context for _, context in groups], result)
