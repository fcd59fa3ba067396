"""Lifecycle events on `saga.events`: one per transition, for read models and audit.

They are published from memory after the commit. The fallback is the saga log behind a durable mark: `through_ms` is
the moment up to which every event is known to be on Kafka; it is stored with each batch, and a new owner publishes
again what the log holds since then. Consumers see an event at least once, under the same id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from coordinator.engine.draft import Transitioned
from coordinator.engine.lane import Lane
from coordinator.engine.ports import Bus, Clock
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.kafka.batches import Published
from coordinator.kafka.records import Outgoing
from coordinator.wire.cloudevents import event_headers, transition_id
from coordinator.wire.messages import Transitioned as TransitionedEvent
from coordinator.wire.rfc3339 import format_ms
from coordinator.wire.strict_json import encode

log = structlog.get_logger()

MARGIN_MS = 2_000  # statements that began earlier may commit this much later
PAGE = 1_000  # events per publication while catching up


class LogReader(Protocol):
    """The statement that reads the log since a moment."""

    async def fetch(self, name: str, *arguments: Any) -> Sequence[Any]:
        """Run a statement of store/queries by its name."""
        ...


class Lifecycle:
    """Publishes transitions; failed ones hold the mark back."""

    def __init__(self, bus: Bus, clock: Clock, topology: Topology, registry: Registry, log_reader: LogReader) -> None:
        self._bus = bus
        self._topology = topology
        self._registry = registry
        self._log_reader = log_reader
        self._pending: dict[int, int] = {}
        self._number = 0
        self._acknowledged_ms = 0
        self._lane = Lane(bus, clock, self._heard)
        self._failed: set[int] = set()
        self._claimed: dict[int, int] = {}
        self._owed: dict[int, int] = {}

    @property
    def through_ms(self) -> int:
        """Up to when every event of this process is on Kafka; 0 when that is not known."""
        behind = [*self._pending.values(), *self._owed.values()]
        return max(0, (min(behind) if behind else self._acknowledged_ms) - MARGIN_MS)

    def claimed(self, marks: Mapping[int, int]) -> None:
        """Partitions became ours, with the durable marks of their owners before us: what came after is owed."""
        self._claimed.update(marks)
        self._owed.update(marks)

    def unsure(self, parts: Iterable[int]) -> None:
        """A batch of these partitions may have been committed without our hearing of it: its events are owed."""
        through_ms = self.through_ms
        for part in parts:
            since_ms = max(through_ms, self._claimed.get(part, 0))
            self._owed[part] = min(since_ms, self._owed.get(part, since_ms))

    def gave_up(self, parts: Iterable[int]) -> None:
        """Partitions are not ours any more: whoever has them now owes their events."""
        for part in parts:
            self._owed.pop(part, None)

    async def settle(self, parts: Iterable[int], now_ms: int, also_since_ms: int | None = None) -> None:
        """Publish again what may be missing of partitions: what is owed, what failed, and all since a moment.

        What is committed from now on is published as it comes. Raises Unavailable.
        """
        since = [moment for moment in (also_since_ms, self.failed_since_ms) if moment is not None]
        marks = dict.fromkeys(parts, min(since)) if since else {}
        for part, owed_ms in self._owed.items():
            marks[part] = min(owed_ms, marks.get(part, owed_ms))
        if marks:
            await self._catch_up(marks, now_ms)

    def publish(self, transitions: Sequence[Transitioned], at_ms: int) -> None:
        """Send the events of a committed batch; returns at once."""
        if not transitions:
            return
        at = format_ms(at_ms)
        records = [
            self._record(
                t.saga.id,
                t.active.part,
                t.saga.definition,
                t.saga.definition_version,
                t.active.business_key,
                t.saga.version,
                t.event,
                t.step_name,
                t.saga.status,
                at,
                at_ms,
                t.active.traceparent,
            )
            for t in transitions
        ]
        self._number += 1
        self._pending[self._number] = at_ms
        self._lane.put(records, self._number)

    @property
    def failed_since_ms(self) -> int | None:
        """The moment of the earliest batch whose events may not have reached Kafka; None when all have."""
        return min((self._pending[number] for number in self._failed), default=None)

    async def _catch_up(self, marks: dict[int, int], now_ms: int) -> None:
        """Publish again what the log holds, in each partition since its mark; what then still is owed stays owed."""
        settled, owed = set(self._failed), dict(self._owed)
        since_ms = [max(0, mark - MARGIN_MS) for mark in marks.values()]
        behind: tuple[Any, ...] = (datetime.fromtimestamp(0, UTC), "00000000-0000-0000-0000-000000000000", 0)
        repeated = 0
        while rows := await self._log_reader.fetch("log_since", list(marks), since_ms, *behind, PAGE, now_ms):
            result = await self._bus.publish([self._logged_record(row) for row in rows])
            if result.failed:
                log.warning("catching_up_cut_short", reason=result.error)
                return
            behind = (rows[-1]["at"], rows[-1]["saga_id"], rows[-1]["version"])
            repeated += len(rows)
        for number in settled:
            self._acknowledged_ms = max(self._acknowledged_ms, self._pending.pop(number))
        self._failed -= settled
        self._owed = {part: mark for part, mark in self._owed.items() if owed.get(part) != mark}
        if repeated:
            log.info("lifecycle_events_repeated", events=repeated, partitions=sorted(marks))

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is on its way, for so long at most."""
        await self._lane.drain(timeout_s)

    def _heard(self, numbers: list[int], result: Published) -> None:
        if result.failed:
            # The mark stays before these batches until `settle` has read them from the log.
            self._failed.update(numbers)
            log.warning("lifecycle_events_unconfirmed", events=len(result.failed), reason=result.error)
            return
        for number in numbers:
            self._acknowledged_ms = max(self._acknowledged_ms, self._pending.pop(number))

    def _logged_record(self, row: Any) -> Outgoing:
        name, version = self._registry.label_of_id(row["definition_id"])
        return self._record(
            row["saga_id"],
            row["part"],
            name,
            version,
            row["business_key"],
            row["version"],
            row["event"],
            row["step_name"],
            row["status"],
            format_ms(row["at_ms"]),
            row["at_ms"],
            None,
        )

    def _record(
        self,
        saga_id: str,
        part: int,
        definition: str,
        definition_version: int,
        business_key: str,
        saga_version: int,
        event: str,
        step_name: str | None,
        status: str,
        at: str,
        at_ms: int,
        traceparent: str | None,
    ) -> Outgoing:
        topic = self._topology.events
        body = encode(
            TransitionedEvent(
                saga_id,
                definition,
                definition_version,
                business_key,
                saga_version,
                event,
                step_name,
                status,
                at,
            )
        )
        identity = transition_id(saga_id, saga_version)
        headers = event_headers(TransitionedEvent.ce_type, identity, saga_id, at_ms, traceparent)
        return Outgoing(topic, self._topology.partition(topic, part), saga_id.encode(), body, headers)
