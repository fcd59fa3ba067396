"""What the sides of a coordinator process share, made once from its settings."""

from __future__ import annotations

import asyncio
import os
import secrets
from typing import Literal

from coordinator.api.health import Check, database_check
from coordinator.choreography.choreographies import Choreographies
from coordinator.definitions import load_choreographies, load_definitions
from coordinator.engine.lifecycle import Lifecycle
from coordinator.engine.observer import Observer
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.kafka.publisher import Publisher
from coordinator.observability.metrics import Metrics
from coordinator.observability.tracing import start_tracing
from coordinator.parts import SystemChance, SystemClock, flow, mode, recovery, security
from coordinator.process.patience import Patience
from coordinator.settings import Settings
from coordinator.store.postgres import PostgresStore
from coordinator.store.reads import SagaReads

Role = Literal["api", "engine", "all"]


class Shared:
    """The parts that both sides need; raises ConfigurationError or DefinitionError where the settings cannot work."""

    def __init__(self, settings: Settings, role: Role) -> None:
        self.mode = None if role == "engine" else mode(settings)
        url = settings.database.url.get_secret_value()
        self.settings = settings
        self.role = role
        self.identity = f"{settings.instance}:{os.getpid()}:{secrets.token_hex(4)}"
        self.registry = Registry(load_definitions(settings.definitions, settings.participants), recovery(settings))
        self.choreographies = Choreographies(load_choreographies(settings.choreographies))
        self.choreographies.check_names(self.registry.names)
        self.flow = flow(settings, self.registry)
        self.metrics = Metrics()
        self.metrics.register([*self.registry.names, *self.choreographies.names])
        self.store = PostgresStore(url)
        self.reads = SagaReads(url, settings.database.pool_max)
        self.security = security(settings)
        self.tracing = start_tracing(settings.tracing, settings.instance)
        self.clock = SystemClock()
        self.chance = SystemChance()
        self.stopping = asyncio.Event()
        self.patience = Patience(self.stopping)
        self.checks: list[Check] = [("started", self._has_started), database_check(self.reads)]

    def lifecycle(self, bus: Publisher, topology: Topology) -> Lifecycle | None:
        """What publishes lifecycle events; None where nobody wants them."""
        if not self.settings.events.enabled:
            return None
        return Lifecycle(bus, self.clock, topology, self.registry, self.store)

    def observer(self, lifecycle: Lifecycle | None) -> Observer:
        """What tells the outside of transitions."""
        transitions = self.settings.log.transitions
        return Observer(self.metrics, self.clock, lifecycle, log_transitions=transitions, tracing=self.tracing)

    async def _has_started(self) -> str | None:
        return self.patience.reason
