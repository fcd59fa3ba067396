"""The sweeper: sends what is committed and, for all we know, not on Kafka.

A whole sweep reads the whole outbox of its partitions, page by page: rows become visible out of order, so no
position may survive a sweep. In between, only sagas that began in the last seconds are looked at, where a process
that died right after its commit leaves its rows: passing the index entries of everything that was sent and deleted
costs more the busier the coordinator is. The sweeper skips what this process has on its way, and waits while Kafka
is unreachable. Sending twice is harmless; an outbox row goes only after an acknowledgement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from coordinator.engine.clock import DatabaseClock, first_saga_id
from coordinator.engine.messages import unsent_record
from coordinator.engine.ports import Bus, Clock, Store
from coordinator.engine.relay import Relay
from coordinator.engine.topology import Topology
from coordinator.store.batch import Token
from coordinator.store.postgres import UnsentMessage

log = structlog.get_logger()

PAGE = 500
GRACE_MS = 1_000  # younger rows are still in the hands of the process that wrote them
WHOLE_EVERY_S = 5.0
LATELY_MS = 10_000
FIRST = Token("00000000-0000-0000-0000-000000000000", 0, 0)


class Sweeper:
    """Re-sends outbox rows of partitions."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        relay: Relay,
        topology: Topology,
        clock: Clock,
        now: DatabaseClock,
        on_late: Callable[[Token, int], None],
    ) -> None:
        self._store = store
        self._bus = bus
        self._relay = relay
        self._topology = topology
        self._clock = clock
        self._now = now
        self._on_late = on_late
        self._next_whole = 0.0
        self._failed_then = 0
        self.swept = 0

    async def sweep_now_and_then(self, parts: Iterable[int], now_ms: int) -> int | None:
        """Sweep whole every few seconds and after a failed publication, otherwise only what began lately."""
        failed = self._relay.failed
        if self._clock.monotonic() >= self._next_whole or failed != self._failed_then:
            self._next_whole = self._clock.monotonic() + WHOLE_EVERY_S
            self._failed_then = failed
            return await self.sweep(parts)
        return await self.sweep(parts, after=Token(first_saga_id(now_ms - LATELY_MS), 0, 0))

    async def sweep(self, parts: Iterable[int], grace_ms: int = GRACE_MS, after: Token = FIRST) -> int | None:
        """Send rows older than `grace_ms`; answers when the oldest was written (ms), None when there was none.

        Raises Unavailable.
        """
        wanted = sorted(parts)
        sent, written_ms = 0, list[int]()
        while wanted:
            known = self._relay.known()
            page = await self._store.unsent(wanted, grace_ms, after, PAGE)
            if not page:
                break
            after = page[-1].token
            # A batch may have been committed and handed over between the two looks.
            known |= self._relay.known()
            lost = [row for row in page if row.token not in known]
            if not lost:
                continue
            result = await self._bus.publish([unsent_record(self._topology, row) for row in lost])
            refused = {token for token, _ in result.refused}
            written_ms += [row.created_ms for row in lost if row.token not in refused]
            tokens = [token for token in result.acknowledged if isinstance(token, Token)]
            self._tell_lateness(lost, set(tokens))
            await self._store.acknowledge(tokens)
            sent += len(tokens)
            if result.failed:
                log.warning("sweep_cut_short", reason=result.error)
                break
        if sent:
            self.swept += sent
            log.info("outbox_swept", messages=sent, partitions=wanted)
        return min(written_ms, default=None)

    def _tell_lateness(self, rows: Iterable[UnsentMessage], sent: set[Token]) -> None:
        """A participant has had these commands only since now: their deadlines count from here."""
        now_ms = self._now.now_ms()
        for row in rows:
            if row.token in sent:
                self._on_late(row.token, max(0, now_ms - row.created_ms))

    async def sweep_all(self, parts: Iterable[int]) -> None:
        """Send everything of partitions that have just become ours, before their first batch."""
        await self.sweep(parts, grace_ms=0)
