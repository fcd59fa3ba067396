"""The slow chores of an engine process: dead letters to their topic, days for the log, tallies folded.

Chores that must run once per installation are done by the owner of partition 0; doing one twice does no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import structlog

from coordinator.engine.ports import Bus
from coordinator.engine.topology import Topology
from coordinator.errors import Unavailable
from coordinator.kafka.records import Outgoing
from coordinator.observability.metrics import Metrics
from coordinator.services.letter_records import dead_letter_record
from coordinator.store.postgres import PostgresStore

log = structlog.get_logger()

PAUSE_S = 2.0
LETTERS_MAX = 200  # per pass; usually far below 13 MB, at worst 50 MB
KEYS_MAX = 10_000  # forgotten per ten seconds: three times what the fastest clients bring
LOG_DAYS_AHEAD = 14
# Passes at which sagas are counted anew: after two minutes and an hour, then daily. While a release is rolled out,
# processes of the one before may move sagas without counting them.
RECOUNT_AT, RECOUNT_EVERY = (60, 1_860), 43_200


class Upkeep:
    """One pass per call of `run_once`; `is_first` says whether this process owns partition 0."""

    def __init__(
        self,
        store: PostgresStore,
        bus: Bus,
        topology: Topology,
        metrics: Metrics,
        is_first: Callable[[], bool],
        log_retention_days: int,
    ) -> None:
        self._store = store
        self._bus = bus
        self._topology = topology
        self._metrics = metrics
        self._is_first = is_first
        self._log_retention_days = log_retention_days
        self._passes = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep things up until the process stops; nothing that goes wrong here ends it, or the engine beside it."""
        while not stopping.is_set():
            published = 0
            try:
                published = await self.run_once()
            except Unavailable as error:
                log.info("upkeep_postponed", reason=str(error))
            except Exception:
                log.exception("upkeep_failed", alert=True)
            if not published:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), PAUSE_S)

    async def run_once(self) -> int:
        """Do what is due; answers how many dead letters were published. Raises Unavailable."""
        if self._passes % 1800 == 0:  # at start, then about hourly
            await self.make_log_days()
        if self._passes % 1800 == 60 and self._is_first():  # two minutes later, when partitions have found their owners
            await self._drop_log_days()
        if self._passes % RECOUNT_EVERY in RECOUNT_AT and self._is_first():
            await self._store.recount()
        if self._passes % 5 == 0:
            await self._show()
            await self._fold_tally()
            if self._is_first():
                await self._store.fetch("drop_answers", KEYS_MAX)
                await self._store.fetch("drop_batch_operations")
        self._passes += 1
        return await self._publish_letters() if self._is_first() else 0

    async def make_log_days(self) -> None:
        """Make the log's days ahead; without one for today no transition can be written. Raises Unavailable."""
        made = await self._store.fetch("ensure_log_days", LOG_DAYS_AHEAD)
        if made[0][0]:
            log.info("log_days_made", days=made[0][0])

    async def _drop_log_days(self) -> None:
        try:
            dropped = await self._store.drop_log_days(self._log_retention_days)
        except Unavailable as error:  # a backup may hold the log for hours: that stops no other chore
            log.info("log_days_kept", reason=str(error))
            return
        if dropped:
            log.info("log_days_dropped", tables=dropped)

    async def _fold_tally(self) -> None:
        """Keep counting sagas cheap: a sum over few rows."""
        if self._is_first():
            await self._store.fetch("fold_tally")

    async def _publish_letters(self) -> int:
        rows = await self._store.fetch("unpublished_dead_letters", LETTERS_MAX)
        if not rows:
            return 0
        records: list[Outgoing] = [dead_letter_record(self._topology, row) for row in rows]
        result = await self._bus.publish(records)
        # A letter that the topic will never take (too large) stays in the table, which is where it is read.
        done: list[Any] = [*result.acknowledged, *(token for token, _ in result.refused)]
        await self._store.fetch("mark_dead_letters", done)
        return len(done)

    async def _show(self) -> None:
        days = await self._store.fetch("log_days_ahead")
        self._metrics.log_days_ahead.set(days[0]["days"])
