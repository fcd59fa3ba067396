"""The composition root: settings in, a running coordinator out.

    role engine  owns partitions and moves sagas; listens on the metrics port only
    role api     answers the REST API; writes sagas and publishes what it commits
    role all     both, in one process

Every role answers /metrics /livez /readyz on the metrics port. The ports open first, so that a coordinator that waits
for Postgres or Kafka can say so (/readyz is red); what is missing is waited for, not failed on.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Final

import structlog

from coordinator.api.access import Mode
from coordinator.api.health import log_days_check, migrations_check, publisher_check
from coordinator.api.listening import serve
from coordinator.api.metrics import create_metrics_app
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.relay import Relay
from coordinator.engine.topology import Topology
from coordinator.errors import Unavailable
from coordinator.kafka.publisher import Publisher
from coordinator.kafka.topics import cluster_id, partition_counts
from coordinator.parts import topic_specs
from coordinator.process.api_side import ApiSide
from coordinator.process.connections import Connections
from coordinator.process.engine_side import EngineSide
from coordinator.process.patience import Stopped
from coordinator.process.shared import Role, Shared
from coordinator.services.versions import Versions
from coordinator.settings import Settings
from coordinator.store.migrations import is_current
from coordinator.store.replicas import Replicas
from coordinator.store.roles import standing

log = structlog.get_logger()

STOP_S: Final = 20.0
LEAVE_S: Final = 5.0
_MEANING: Final = {
    Mode.REQUIRED: "nobody is served without a valid API key or access token",
    Mode.LOOPBACK: "this machine is served without a token until the first key is made",
    Mode.INSECURE: "EVERYBODY WHO REACHES THIS PORT IS AN ADMINISTRATOR (SAGA_API__INSECURE)",
}


class Coordinator:
    """One process: builds its parts when what they need answers, runs them, and stops them in order."""

    def __init__(self, settings: Settings, role: Role) -> None:
        self._shared = Shared(settings, role)
        self._api = ApiSide(self._shared)
        self._engine = EngineSide(self._shared)

    def stop(self) -> None:
        """Ask the coordinator to end in order; `run` returns when it has."""
        self._shared.stopping.set()
        self._api.stop()
        self._engine.stop()

    async def run(self) -> None:
        """Work until `stop`; raises ConfigurationError when a setting makes going on pointless."""
        self._say_mode()
        tasks = self._listen()
        tasks.append(asyncio.create_task(self._work(), name="work"))
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self.stop()
        await asyncio.wait(tasks, timeout=STOP_S)
        for task in done:
            task.result()

    def _say_mode(self) -> None:
        mode = self._shared.mode
        if mode is not None:
            say = log.warning if mode is Mode.INSECURE else log.info
            say("api_authentication", mode=mode, meaning=_MEANING[mode])

    def _listen(self) -> list[asyncio.Task[None]]:
        """Open the ports of this role."""
        shared, settings = self._shared, self._shared.settings
        listening = []
        if shared.role != "engine":
            authenticated = shared.mode is Mode.REQUIRED
            serving = serve(self._api.front, settings.api, shared.stopping, authenticated=authenticated)
            http = asyncio.create_task(serving, name="http")
            http.add_done_callback(lambda _: self._api.answered.set())
            listening.append(http)
        app = create_metrics_app(shared.metrics.registry, shared.checks, settings.metrics.token)
        metrics = serve(app, settings.metrics, shared.stopping, name="metrics")
        return [*listening, asyncio.create_task(metrics, name="metrics")]

    async def _work(self) -> None:
        shared, settings = self._shared, self._shared.settings
        bus = Publisher(settings.kafka.bootstrap_servers, f"saga-{settings.instance}", security=shared.security)
        replicas = Replicas(shared.store, shared.identity)
        versions = Versions(replicas, shared.registry, shared.clock, observed=shared.choreographies.contents)
        beside: asyncio.Task[None] | None = None
        try:
            connected = await self._connect(bus, versions)
            beside = asyncio.create_task(versions.run(shared.stopping))
            shared.checks += [migrations_check(shared.reads), log_days_check(shared.reads), publisher_check(bus)]
            shared.patience.over()
            await self._serve(connected)
        except Stopped:
            log.info("stopped_while_waiting", what=shared.patience.reason)
        finally:
            await bus.stop()
            if beside is not None:
                await self._leave(versions, beside)
            if shared.tracing is not None:
                await shared.tracing.stop()
            await shared.reads.stop()
            await self._api.close()
            await shared.store.stop()

    async def _connect(self, bus: Publisher, versions: Versions) -> Connections:
        """Wait for everything that there must be."""
        shared, until = self._shared, self._shared.patience.until
        await until("Postgres", shared.store.start)
        await until("the migrations", self._migrated)
        await until("Postgres", self._warn_of_might)
        topology = await until("the topics", self._topology)
        kafka = shared.settings.kafka.bootstrap_servers
        cluster = await until("Kafka", lambda: cluster_id(kafka, security=shared.security))
        await until("Kafka", bus.start)
        await until("its definitions", versions.register)
        shared.choreographies.bind(shared.registry.ids)
        commands = {topology.commands(name): name for name in shared.registry.participants}
        shared.metrics.expect(shared.role, topology.counts[topology.replies], commands)
        return Connections(bus, topology, cluster)

    async def _serve(self, connected: Connections) -> None:
        shared, api = self._shared, partial(self._api.serve, connected)
        if shared.role == "api":
            relay = Relay(connected.bus, shared.store, shared.clock, count=shared.metrics.count_commands)
            await api(relay, DatabaseClock(shared.clock))
        else:
            await self._engine.serve(connected, api if shared.role == "all" else None)

    async def _leave(self, versions: Versions, beside: asyncio.Task[None]) -> None:
        """Count no longer as a live replica; when Postgres is away the heartbeat runs out by itself."""
        self._shared.stopping.set()
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await beside
                await versions.leave()

    async def _migrated(self) -> None:
        if not await self._shared.store.run(is_current):
            raise Unavailable("the database lacks migrations: run `saga migrate`")

    async def _warn_of_might(self) -> None:
        """Say so when the database would let this process change what is in the audit."""
        found = await self._shared.store.run(standing)
        if found.is_mighty:
            advice = "let SAGA_DATABASE__URL name a role of its own, and SAGA_DATABASE__MIGRATION_URL the owner"
            log.warning("runs_as_owner_of_the_database", role=found.role, advice=advice)

    async def _topology(self) -> Topology:
        shared, settings = self._shared, self._shared.settings
        specs = topic_specs(settings, shared.registry.participants, shared.choreographies.sources)
        names = [spec.name for spec in specs]
        counts = await partition_counts(settings.kafka.bootstrap_servers, names, security=shared.security)
        missing = sorted(set(names) - set(counts))
        if missing:
            raise Unavailable(f"topics are missing: {', '.join(missing)}; run `saga topics`")
        return Topology(settings.topic_prefix, counts)
