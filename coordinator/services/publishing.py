"""Whoever commits publishes: what a process does after its own commits, besides the engine (design section 7)."""

from __future__ import annotations

import structlog

from coordinator.engine.draft import Draft
from coordinator.engine.messages import touched_record
from coordinator.engine.relay import Relay
from coordinator.engine.topology import Topology

log = structlog.get_logger()

IN_FLIGHT_MAX = 20_000  # while Kafka is away the outbox holds the messages; memory need not


class Publishing:
    """Hands the messages of committed drafts to Kafka, with a hint to each saga's owner."""

    def __init__(self, relay: Relay, topology: Topology) -> None:
        self._relay = relay
        self._topology = topology

    def committed(self, draft: Draft, now_ms: int) -> None:
        """Publish a draft that is durable; returns at once. What is not published here, the sweeper sends."""
        if self._relay.in_flight > IN_FLIGHT_MAX:
            log.warning("publication_left_to_the_sweeper", sagas=len(draft.saga_ids))
            return
        hints = [
            touched_record(self._topology, saga.id, active.part, saga.version, now_ms)
            for saga, active in {t.saga.id: (t.saga, t.active) for t in draft.transitions}.values()
        ]
        self._relay.hand_over([*draft.records, *hints])
