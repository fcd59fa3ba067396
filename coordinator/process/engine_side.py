"""The engine side of a process: partitions, what moves sagas, and the chores beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from coordinator.choreography.deciding import Recorder
from coordinator.choreography.observer import ChoreographyObserver, EventTopic, warn_of_reset
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.engine import Engine, EngineParts
from coordinator.engine.relay import Relay
from coordinator.kafka.subscriber import Subscriber
from coordinator.parts import recovery
from coordinator.process.connections import Connections
from coordinator.process.shared import Shared
from coordinator.services.gauges import Gauges
from coordinator.services.pulses import Pulses
from coordinator.services.recovery import Recovery
from coordinator.services.upkeep import Upkeep

Beside: TypeAlias = Callable[[Relay, DatabaseClock], Awaitable[None]]
"""What else the process does with the engine's relay and clock."""


class Chores(Protocol):
    """What runs until the process stops."""

    async def run(self, stopping: asyncio.Event) -> None: ...  # noqa: D102


class EngineSide:
    """Owns partitions and moves sagas."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._engine: Engine | None = None

    def stop(self) -> None:
        """Ask the engine to end in order."""
        if self._engine is not None:
            self._engine.stop()

    async def serve(self, connected: Connections, beside: Beside | None) -> None:
        """Work until the end, with something beside it."""
        shared = self._shared
        engine = self._engine = self._made(connected)
        shared.checks.append(("partitions", lambda: _owns(engine)))
        upkeep = self._upkeep(connected, engine)
        await shared.patience.until("the log's days", upkeep.make_log_days)
        running = [
            asyncio.create_task(chores.run(shared.stopping)) for chores in (upkeep, *self._chores(connected, engine))
        ]
        if shared.choreographies.sources:
            observer = self._observer(connected, engine.now)
            shared.checks.append(("choreographies", observer.check))
            running.append(asyncio.create_task(observer.run(shared.stopping)))
        if beside is not None:
            running.append(asyncio.ensure_future(beside(engine.relay, engine.now)))
        if shared.stopping.is_set():
            engine.stop()
        try:
            await shared.patience.until("the consumer group", engine.start)
            shared.patience.over()
            await engine.run()
        finally:
            shared.stopping.set()
            await asyncio.gather(*running)

    def _made(self, connected: Connections) -> Engine:
        shared, kafka = self._shared, self._shared.settings.kafka
        inbox = Subscriber(
            kafka.bootstrap_servers,
            connected.topology.replies,
            kafka.group_id,
            f"saga-{shared.settings.instance}",
            instance_id=kafka.instance_id,
            security=shared.security,
            on_reset=lambda reset: engine.ownership.on_reset(reset),  # noqa: PLW0108 - the engine is made of the inbox
        )
        parts = EngineParts(
            owner=shared.identity,
            cluster_id=connected.cluster,
            registry=shared.registry,
            topology=connected.topology,
            metrics=shared.metrics,
            lifecycle=shared.lifecycle(connected.bus, connected.topology),
            flow=shared.flow,
            log_transitions=shared.settings.log.transitions,
            recovery=recovery(shared.settings),
            tracing=shared.tracing,
        )
        engine = Engine(shared.store, connected.bus, inbox, shared.clock, shared.chance, parts)
        return engine

    def _upkeep(self, connected: Connections, engine: Engine) -> Upkeep:
        shared = self._shared
        return Upkeep(
            shared.store,
            connected.bus,
            connected.topology,
            shared.metrics,
            lambda: 0 in engine.ownership.owned,
            shared.settings.database.log_retention_days,
        )

    def _chores(self, connected: Connections, engine: Engine) -> list[Chores]:
        shared = self._shared
        gauges = Gauges(
            shared.reads,
            shared.registry,
            shared.metrics,
            shared.clock,
            lambda: 0 in engine.ownership.owned,
            shared.choreographies.names,
        )
        redriving = Recovery(
            shared.store,
            connected.bus,
            connected.topology,
            shared.registry,
            shared.metrics,
            lambda: engine.ownership.owned,
            recovery(shared.settings),
        )
        return [gauges, redriving, Pulses(shared.store, shared.flow, engine.now, shared.identity)]

    def _observer(self, connected: Connections, now: DatabaseClock) -> ChoreographyObserver:
        """Read each source's events as a member of a group of its own."""
        shared, topology = self._shared, connected.topology
        topics = [
            EventTopic(
                source,
                topology.domain_events(source),
                topology.counts[topology.domain_events(source)],
                self._reader(topology.domain_events(source), source),
            )
            for source in shared.choreographies.sources
        ]
        recorder = Recorder(
            shared.store,
            shared.choreographies,
            shared.metrics,
            shared.clock,
            now,
            shared.chance,
            connected.cluster,
            log_transitions=shared.settings.log.transitions,
        )
        return ChoreographyObserver(
            shared.store, connected.bus, topics, shared.choreographies, recorder, shared.metrics, shared.clock
        )

    def _reader(self, topic: str, source: str) -> Subscriber:
        shared, kafka = self._shared, self._shared.settings.kafka
        return Subscriber(
            kafka.bootstrap_servers,
            topic,
            f"{kafka.group_id}.{source}.events",
            f"saga-{shared.settings.instance}",
            instance_id=kafka.instance_id,
            security=shared.security,
            on_reset=warn_of_reset,
        )


async def _owns(engine: Engine) -> str | None:
    return None if engine.ownership.owned else "no partition is owned yet"
