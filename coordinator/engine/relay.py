"""The relay: hands committed messages to Kafka from memory and remembers what Kafka has acknowledged.

Delivery is at least once. An outbox row is deleted only after its acknowledgement, with the next batch or, when
none comes, by itself. A message whose fate is unknown stays in the outbox; the sweeper sends it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from coordinator.engine.lane import Lane
from coordinator.engine.ports import Bus, Clock, Store
from coordinator.errors import Unavailable
from coordinator.kafka.batches import Published
from coordinator.kafka.records import Outgoing
from coordinator.store.batch import Token

log = structlog.get_logger()

IN_FLIGHT_MAX = 50_000  # messages; beyond it the batch loop waits instead of consuming
FLUSH_MAX = 5_000  # acknowledged rows that one statement deletes
LATE_MS = 100  # an acknowledgement later than this pushes the deadline of its command


class Relay:
    """Publishes outbox messages of this process; `on_late(token, ms)` hears of slow acknowledgements.

    `count` gets the topics of what is handed over.
    `in_flight` counts the messages that Kafka has not acknowledged yet.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        clock: Clock,
        on_late: Callable[[Token, int], None] | None = None,
        count: Callable[[list[str]], None] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_late = on_late
        self._count = count
        self._groups: dict[int, tuple[float, list[Token]]] = {}
        self._number = 0
        self.in_flight = 0
        self._acknowledged: list[Token] = []
        self._deleting: set[Token] = set()
        self._lane = Lane(bus, clock, self._heard)
        self._room = asyncio.Event()
        self._room.set()
        self.published = 0
        self.failed = 0

    def hand_over(self, records: Sequence[Outgoing]) -> None:
        """Publish records whose outbox rows are committed; returns at once."""
        if not records:
            return
        tokens = [record.token for record in records if isinstance(record.token, Token)]
        self._number += 1
        self._groups[self._number] = (self._clock.monotonic(), tokens)
        self.in_flight += len(tokens)
        if self.in_flight > IN_FLIGHT_MAX:
            self._room.clear()
        self._lane.put(records, self._number)
        if self._count is not None:
            self._count([record.topic for record in records])

    async def room(self) -> None:
        """Wait until Kafka has taken enough of what is in flight."""
        await self._room.wait()

    def take_acknowledged(self) -> list[Token]:
        """The rows that the next batch statement may delete; give them back with `return_acknowledged`."""
        taken = self._acknowledged[:FLUSH_MAX]
        del self._acknowledged[:FLUSH_MAX]
        self._deleting.update(taken)
        return taken

    def deleted(self, tokens: Sequence[Token]) -> None:
        """The statement that deletes these rows is committed."""
        self._deleting.difference_update(tokens)

    def return_acknowledged(self, tokens: Sequence[Token]) -> None:
        """The statement that should have deleted these rows was not, or not surely, committed."""
        self._deleting.difference_update(tokens)
        self._acknowledged += tokens

    async def flush(self) -> int:
        """Delete acknowledged rows without a batch; answers how many."""
        count = 0
        while tokens := self.take_acknowledged():
            try:
                await self._store.acknowledge(tokens)
            except BaseException:  # cancelled, too: otherwise the rows would be sent again after a restart
                self.return_acknowledged(tokens)
                raise
            self.deleted(tokens)
            count += len(tokens)
        return count

    def known(self) -> set[Token]:
        """Rows that are on their way or on Kafka already, so that the sweeper leaves them alone."""
        on_their_way = (token for _, tokens in self._groups.values() for token in tokens)
        return {*on_their_way, *self._deleting, *self._acknowledged}

    @property
    def oldest_in_flight_s(self) -> float:
        """For how long the oldest message that Kafka has not acknowledged has waited."""
        if not self._groups:
            return 0.0
        return self._clock.monotonic() - next(iter(self._groups.values()))[0]

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is in flight, for so long at most."""
        await self._lane.drain(timeout_s)

    def _heard(self, numbers: list[int], result: Published) -> None:
        groups = [self._groups.pop(number) for number in numbers]
        self.in_flight -= sum(len(tokens) for _, tokens in groups)
        late_ms = int((self._clock.monotonic() - groups[0][0]) * 1000)
        acknowledged = [token for token in result.acknowledged if isinstance(token, Token)]
        self._acknowledged += acknowledged
        self.published += len(acknowledged)
        if late_ms > LATE_MS and self._on_late is not None:
            for token in acknowledged:
                self._on_late(token, late_ms)
        for refused, reason in result.refused:
            log.error("message_refused", token=refused, reason=reason, alert=True)
        if result.failed:
            self.failed += len(result.failed)
            log.warning("publish_unconfirmed", messages=len(result.failed), reason=result.error)
        if self.in_flight <= IN_FLIGHT_MAX:
            self._room.set()


async def flush_quietly(relay: Relay) -> None:
    """Flush, leaving the rows for later when Postgres is away."""
    try:
        await relay.flush()
    except Unavailable as error:
        log.info("flush_postponed", reason=str(error))
