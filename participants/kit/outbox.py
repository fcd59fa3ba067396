"""Committed replies until Kafka has them: publish, hold back, sweep up what was left behind, delete.

A row is held by this process from its commit until its deletion; the sweeper leaves held rows alone. Rows that nobody
holds are those of a crashed process or of a failed publication. No cursor survives a sweep: ids commit out of order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import asyncpg
import structlog

from participants.kit.database import Database
from participants.kit.faults import crash
from participants.kit.publisher import Publisher
from participants.kit.replies import Outgoing, headers_from_text
from participants.kit.statements import statement

log = structlog.get_logger()

# Another process of the group publishes its own rows within milliseconds; older ones have nobody.
ORPHAN_SECONDS: Final = 5.0
SWEEP_MAX: Final = 500
# A topic or partition that still does not exist after so many sweeps (half an hour) is a mistake in the command.
TRIES_MAX: Final = 1_000


class Outbox:
    """The share of the outbox table that is in the hands of this process."""

    def __init__(self, publisher: Publisher, database: Database, publications_max: int) -> None:
        self._publisher = publisher
        self._database = database
        self._slots = asyncio.Semaphore(publications_max)
        self._held: set[int] = set()
        self._acknowledged: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    async def send(self, outgoing: Sequence[Outgoing], phase: str | None = None) -> asyncio.Task[None]:
        """Start publishing committed replies; waits only while too many publications are on their way.

        The task ends when Kafka has answered, or has not and the rows are left to the sweeper.
        """
        self._held.update(one.id for one in outgoing)
        now: list[Outgoing] = []
        for one in outgoing:
            if one.delay > 0:
                self._hold_back(one)
            else:
                now.append(one)
        await self._slots.acquire()
        task = asyncio.create_task(self._publish(now, phase))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def take_acknowledged(self) -> list[int]:
        """Hand over ids to delete; `forget` them when that is committed."""
        taken, self._acknowledged = self._acknowledged, []
        return taken

    def forget(self, ids: Iterable[int]) -> None:
        """Let go of rows that are deleted."""
        self._held.difference_update(ids)

    async def delete_acknowledged(self) -> None:
        """Delete alone, when no batch comes along to do it on the way."""
        if ids := self.take_acknowledged():
            try:
                async with self._database.connection() as connection:
                    await connection.execute(statement("acknowledge"), ids)
            except BaseException:
                self._acknowledged += ids
                raise
            self.forget(ids)

    async def sweep(self, older_than_s: float = ORPHAN_SECONDS) -> int:
        """Publish rows that should have left and that nobody holds; returns how many."""
        swept = 0
        while True:
            async with self._database.connection() as connection:
                rows = await connection.fetch(statement("sweep"), list(self._held), older_than_s, TRIES_MAX, SWEEP_MAX)
            orphans = [_outgoing(row) for row in rows]
            if orphans:
                log.info("replies_swept_up", count=len(orphans))
                await (await self.send(orphans))
            swept += len(orphans)
            if len(orphans) < SWEEP_MAX:
                return swept

    async def adopt(self) -> None:
        """Take over what an earlier process of this participant left: publish what is due, hold back what is late."""
        await self.sweep(0.0)
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement("late"), list(self._held))
        await self.send([_outgoing(row, row["delay"]) for row in rows])

    async def drain(self, seconds: float) -> None:
        """Wait for publications on their way; rows of those that take longer stay for the sweeper."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def close(self, seconds: float) -> None:
        """Drain, and leave what is held back to the next process."""
        for timer in self._timers:
            timer.cancel()
        await self.drain(seconds)

    def _hold_back(self, one: Outgoing) -> None:
        delay, one.delay = one.delay, 0.0

        def release() -> None:
            self._timers.discard(timer)
            task = asyncio.create_task(self._release(one))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        timer = asyncio.get_running_loop().call_later(delay, release)
        self._timers.add(timer)

    async def _release(self, one: Outgoing) -> None:
        await self._slots.acquire()
        await self._publish([one], None)

    async def _publish(self, outgoing: Sequence[Outgoing], phase: str | None) -> None:
        acknowledged: list[int] = []
        try:
            if outgoing:
                acknowledged = await self._publisher.publish(outgoing)
            if phase == "after_publish":
                crash()
        finally:
            self._slots.release()
            self._acknowledged += acknowledged
            self._held.difference_update({one.id for one in outgoing}.difference(acknowledged))


def _outgoing(row: asyncpg.Record, delay: float = 0.0) -> Outgoing:
    return Outgoing(
        id=row["id"],
        topic=row["topic"],
        partition=row["part"],
        key=row["key"],
        headers=headers_from_text(row["headers"]),
        value=row["value"],
        copies=row["copies"],
        delay=delay,
    )
