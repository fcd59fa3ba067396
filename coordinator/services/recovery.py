"""The recovery worker: sends dead letters again that waiting may cure, each after its durable pause.

    claim (a lease) -> publish to the partition it came from, as it came -> mark

A letter's clock is its row: whoever dies here, at whatever moment, leaves it to be claimed again. At worst a record is
published twice, which the saga takes for the duplicate that it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any, cast

import structlog

from coordinator.engine.ports import Bus
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.errors import Unavailable
from coordinator.observability.metrics import Metrics
from coordinator.saga.definition import Retry
from coordinator.services.letter_records import redriven_record
from coordinator.store.postgres import PostgresStore

log = structlog.get_logger()

PAUSE_S = 1.0
LETTERS_MAX = 100  # per pass; at worst 25 MB
LEASE_MS = 30_000  # longer than a publication can take

_MILLISECOND = timedelta(milliseconds=1)


class Recovery:
    """One pass per call of `run_once`; `owned` answers the partitions of the reply topic that this process owns."""

    def __init__(
        self,
        store: PostgresStore,
        bus: Bus,
        topology: Topology,
        registry: Registry,
        metrics: Metrics,
        owned: Callable[[], Collection[int]],
        recovery: Retry,
    ) -> None:
        self._store = store
        self._bus = bus
        self._topology = topology
        self._registry = registry
        self._metrics = metrics
        self._owned = owned
        self._unknown_again_ms = recovery.base // _MILLISECOND

    async def run(self, stopping: asyncio.Event) -> None:
        """Send what is due until the process stops; nothing that goes wrong here ends it, or the engine beside it."""
        while not stopping.is_set():
            sent = 0
            try:
                sent = await self.run_once()
            except Unavailable as error:
                log.info("recovery_postponed", reason=str(error))
            except Exception:
                log.exception("recovery_failed", alert=True)
            if sent < LETTERS_MAX:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), PAUSE_S)

    async def run_once(self) -> int:
        """Send the letters that are due; answers how many were claimed. Raises Unavailable."""
        parts = list(self._owned())
        if not parts:
            return 0
        rows = await self._store.fetch(
            "claim_dead_letters",
            parts,
            self._topology.counts[self._topology.replies],
            self._registry.known_ids,
            LETTERS_MAX,
            LEASE_MS,
            self._unknown_again_ms,
            self._topology.replies,
        )
        if rows:
            sent = await send_again(self._store, self._bus, self._topology, rows)
            self._metrics.redriven.labels("recovery").inc(sent)
        return len(rows)


async def send_again(store: PostgresStore, bus: Bus, topology: Topology, rows: Sequence[Any]) -> int:
    """Publish claimed letters and mark those that Kafka has; answers how many. Raises Unavailable.

    What is not acknowledged keeps its lease, and is sent again when that ends.
    """
    result = await bus.publish([redriven_record(topology, row) for row in rows])
    for token, why in result.refused:
        letter_id, try_ = cast("tuple[int, int]", token)
        log.error("dead_letter_not_sendable", letter_id=letter_id, reason=why, alert=True)
        await store.fetch("reopen_dead_letter", letter_id, try_, f"Kafka does not take it: {why}")
    done = cast("list[tuple[int, int]]", result.acknowledged)
    if done:
        await store.fetch("mark_redriven", *zip(*sorted(done), strict=True))
    if result.failed:
        log.info("dead_letters_sent_later", letters=len(result.failed), reason=result.error)
    for letter_id, try_ in done:
        log.info("dead_letter_redriven", letter_id=letter_id, tries=try_)
    return len(done)
