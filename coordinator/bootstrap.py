"""The composition root: settings in, a running coordinator out. The only place that wires the parts.

    role engine  owns partitions and moves sagas; answers /livez /readyz /metrics
    role api     answers the REST API; writes sagas and publishes what it commits
    role all     both, in one process

The HTTP port opens first, so that a coordinator that waits for Postgres or Kafka can say so (/readyz is red); what is
missing is waited for, not failed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from coordinator.api.access import Anybody
from coordinator.api.app import ApiParts, create_app, create_health_app, create_waiting_app
from coordinator.api.health import Check, database_check, log_days_check, migrations_check, publisher_check
from coordinator.api.listening import check_exposure, serve
from coordinator.choreography.choreographies import Choreographies
from coordinator.choreography.deciding import Recorder
from coordinator.choreography.observer import ChoreographyObserver, EventTopic, warn_of_reset
from coordinator.choreography.replaying import Replays
from coordinator.definitions import load_choreographies, load_definitions
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.engine import Engine, EngineParts
from coordinator.engine.lifecycle import Lifecycle
from coordinator.engine.observer import Observer
from coordinator.engine.registry import Registry
from coordinator.engine.relay import Relay
from coordinator.engine.topology import Topology
from coordinator.errors import Unavailable
from coordinator.kafka.publisher import Publisher
from coordinator.kafka.subscriber import Subscriber
from coordinator.kafka.topics import cluster_id, partition_counts
from coordinator.observability.metrics import Metrics
from coordinator.parts import SystemChance, SystemClock, flow, recovery, security, topic_specs
from coordinator.services.batch_acts import BatchActs
from coordinator.services.batch_operations import BatchOperations
from coordinator.services.batch_worker import BatchWorker
from coordinator.services.publishing import Publishing
from coordinator.services.recovery import Recovery
from coordinator.services.sagas import SagaService
from coordinator.services.upkeep import Upkeep
from coordinator.services.versions import Versions
from coordinator.settings import Settings
from coordinator.store.answers import KeptAnswers
from coordinator.store.batches import BatchStore
from coordinator.store.migrations import is_current
from coordinator.store.postgres import PostgresStore
from coordinator.store.reads import SagaReads
from coordinator.store.replicas import Replicas

log = structlog.get_logger()

Role = Literal["api", "engine", "all"]
RETRY_S = 0.5
SAY_EVERY = 10  # tries between two lines that say what is waited for
STOP_S = 20.0
T = TypeVar("T")


class Coordinator:
    """One process: builds its parts when what they need answers, runs them, and stops them in order."""

    def __init__(self, settings: Settings, role: Role) -> None:
        check_exposure(settings.api.host, settings.api.insecure)
        url = settings.database.url.get_secret_value()
        self._settings = settings
        self._role = role
        self._identity = f"{settings.instance}:{os.getpid()}:{secrets.token_hex(4)}"
        self._registry = Registry(load_definitions(settings.definitions, settings.participants), recovery(settings))
        self._choreographies = Choreographies(load_choreographies(settings.choreographies))
        self._choreographies.check_names(self._registry.names)
        self._flow = flow(settings, self._registry)
        self._metrics = Metrics()
        self._metrics.register([*self._registry.names, *self._choreographies.names])
        self._store = PostgresStore(url)
        # The API has a session of its own: a start never queues behind the engine's batches.
        self._api_store = PostgresStore(url) if role == "all" else self._store
        # So have the kept answers and bulk work; both connect when they are first needed.
        self._kept_store = PostgresStore(url)
        self._bulk_store = PostgresStore(url)
        self._reads = SagaReads(url, settings.database.pool_max)
        self._security = security(settings)
        self._clock = SystemClock()
        self._chance = SystemChance()
        self._stopping = asyncio.Event()
        self._answered = asyncio.Event()
        self._engine: Engine | None = None
        self._waiting_for: str | None = "starting"
        self._checks: list[Check] = [("started", self._has_started), database_check(self._reads)]
        self._missing = "its start"
        self._front = Front(self._first_app())

    def stop(self) -> None:
        """Ask the coordinator to end in order; `run` returns when it has."""
        self._stopping.set()
        if self._engine is not None:
            self._engine.stop()

    async def run(self) -> None:
        """Work until `stop`; raises ConfigurationError when a setting makes going on pointless."""
        http = asyncio.create_task(serve(self._front, self._settings.api, self._stopping), name="http")
        http.add_done_callback(lambda _: self._answered.set())
        work = asyncio.create_task(self._work(), name="work")
        done, _ = await asyncio.wait((http, work), return_when=asyncio.FIRST_COMPLETED)
        self.stop()
        await asyncio.wait((http, work), timeout=STOP_S)
        for task in done:
            task.result()

    async def _work(self) -> None:
        bootstrap = self._settings.kafka.bootstrap_servers
        bus = Publisher(bootstrap, f"saga-{self._settings.instance}", security=self._security)
        replicas = Replicas(self._store, self._identity)
        versions = Versions(replicas, self._registry, self._clock, observed=self._choreographies.contents)
        beside: asyncio.Task[None] | None = None
        try:
            await self._patiently("Postgres", self._store.start)
            await self._patiently("the migrations", self._migrated)
            topology = await self._patiently("the topics", self._topology)
            cluster = await self._patiently("Kafka", lambda: cluster_id(bootstrap, security=self._security))
            await self._patiently("Kafka", bus.start)
            await self._patiently("its definitions", versions.register)
            self._choreographies.bind(self._registry.ids)
            beside = asyncio.create_task(versions.run(self._stopping))
            self._checks += [migrations_check(self._reads), log_days_check(self._reads), publisher_check(bus)]
            self._waiting_for = None
            if self._role == "api":
                relay = Relay(bus, self._store, self._clock)
                await self._serve_api(bus, topology, relay, DatabaseClock(self._clock))
            else:
                await self._serve_engine(bus, topology, cluster)
        except _Stopped:
            log.info("stopped_while_waiting", what=self._waiting_for)
        finally:
            await bus.stop()
            if beside is not None:
                await self._leave(versions, beside)
            await self._reads.stop()
            for store in (self._kept_store, self._bulk_store, self._api_store):
                await store.stop()
            await self._store.stop()

    async def _leave(self, versions: Versions, beside: asyncio.Task[None]) -> None:
        """Count no longer as a live replica; when Postgres is away the heartbeat runs out by itself."""
        self._stopping.set()
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(STOP_S / 4):
                await beside
                await versions.leave()

    async def _serve_api(self, bus: Publisher, topology: Topology, relay: Relay, now: DatabaseClock) -> None:
        """Answer the REST API until the end."""
        settings = self._settings
        lifecycle = self._lifecycle(bus, topology)
        observer = Observer(self._metrics, self._clock, lifecycle, log_transitions=settings.log.transitions)
        service = SagaService(
            self._api_store,
            self._reads,
            relay,
            self._registry,
            topology,
            self._clock,
            now,
            self._chance,
            observer,
            self._flow,
        )
        batches = BatchStore(self._bulk_store, self._reads)
        self._front.app = create_app(
            ApiParts(
                service=service,
                replays=Replays(self._api_store, self._reads, self._choreographies, self._clock),
                choreographies=self._choreographies,
                reads=self._reads,
                registry=self._registry,
                flow=self._flow,
                metrics=self._metrics.registry,
                checks=self._checks,
                limits=settings.api,
                authenticator=Anybody(),
                answers=KeptAnswers(self._kept_store),
                batches=BatchOperations(batches, self._reads, self._chance, settings.api.batch_sagas_max),
            )
        )
        acts = BatchActs(
            self._bulk_store,
            batches,
            Publishing(relay, topology),
            self._registry,
            topology,
            self._clock,
            now,
            self._chance,
            observer,
            self._flow,
        )
        worker = asyncio.create_task(BatchWorker(batches, acts, self._clock, self._identity).run(self._stopping))
        # What a request in hand commits while we stop is published and acknowledged, too.
        await service.run(self._answered)
        await worker
        if lifecycle is not None:
            await lifecycle.drain(STOP_S / 4)

    async def _serve_engine(self, bus: Publisher, topology: Topology, cluster: str) -> None:
        """Own partitions until the end; with role `all` answer the REST API too."""
        settings = self._settings
        kafka = settings.kafka
        inbox = Subscriber(
            kafka.bootstrap_servers,
            topology.replies,
            kafka.group_id,
            f"saga-{settings.instance}",
            instance_id=kafka.instance_id,
            security=self._security,
            on_reset=lambda reset: engine.ownership.on_reset(reset),  # noqa: PLW0108 - the engine is made of the inbox
        )
        parts = EngineParts(
            owner=self._identity,
            cluster_id=cluster,
            registry=self._registry,
            topology=topology,
            metrics=self._metrics,
            lifecycle=self._lifecycle(bus, topology),
            flow=self._flow,
            log_transitions=settings.log.transitions,
            recovery=recovery(settings),
        )
        engine = self._engine = Engine(self._store, bus, inbox, self._clock, self._chance, parts)
        self._checks.append(("partitions", lambda: _owns(engine)))
        upkeep = Upkeep(
            self._store,
            bus,
            topology,
            self._registry,
            self._metrics,
            lambda: 0 in engine.ownership.owned,
            settings.database.log_retention_days,
            self._choreographies.names,
        )
        await self._patiently("the log's days", upkeep.make_log_days)
        worker = Recovery(
            self._store,
            bus,
            topology,
            self._registry,
            self._metrics,
            lambda: engine.ownership.owned,
            recovery(settings),
        )
        beside = [asyncio.create_task(chores.run(self._stopping)) for chores in (upkeep, worker)]
        if self._choreographies.sources:
            observer = self._observer(bus, topology, cluster, engine.now)
            self._checks.append(("choreographies", observer.check))
            beside.append(asyncio.create_task(observer.run(self._stopping)))
        if self._role == "all":
            beside.append(asyncio.create_task(self._serve_api(bus, topology, engine.relay, engine.now)))
        if self._stopping.is_set():
            engine.stop()
        try:
            await self._patiently("the consumer group", engine.start)
            self._waiting_for = None
            await engine.run()
        finally:
            self._stopping.set()
            await asyncio.gather(*beside)

    def _observer(self, bus: Publisher, topology: Topology, cluster: str, now: DatabaseClock) -> ChoreographyObserver:
        """Read each source's events as a member of a group of its own."""
        kafka = self._settings.kafka
        topics = [
            EventTopic(
                source,
                topology.domain_events(source),
                topology.counts[topology.domain_events(source)],
                Subscriber(
                    kafka.bootstrap_servers,
                    topology.domain_events(source),
                    f"{kafka.group_id}.{source}.events",
                    f"saga-{self._settings.instance}",
                    instance_id=kafka.instance_id,
                    security=self._security,
                    on_reset=warn_of_reset,
                ),
            )
            for source in self._choreographies.sources
        ]
        store, metrics, clock = self._store, self._metrics, self._clock
        recorder = Recorder(store, self._choreographies, metrics, clock, now, self._chance, cluster)
        return ChoreographyObserver(store, bus, topics, self._choreographies, recorder, metrics, clock)

    def _lifecycle(self, bus: Publisher, topology: Topology) -> Lifecycle | None:
        if not self._settings.events.enabled:
            return None
        return Lifecycle(bus, self._clock, topology, self._registry, self._store)

    async def _migrated(self) -> None:
        if not await self._store.run(is_current):
            raise Unavailable("the database lacks migrations: run `saga migrate`")

    async def _topology(self) -> Topology:
        specs = topic_specs(self._settings, self._registry.participants, self._choreographies.sources)
        names = [spec.name for spec in specs]
        counts = await partition_counts(self._settings.kafka.bootstrap_servers, names, security=self._security)
        missing = sorted(set(names) - set(counts))
        if missing:
            raise Unavailable(f"topics are missing: {', '.join(missing)}; run `saga topics`")
        return Topology(self._settings.topic_prefix, counts)

    async def _patiently(self, what: str, action: Callable[[], Awaitable[T]]) -> T:
        """Try until it works, saying now and then what is waited for; a wrong setting ends the process."""
        tries = 0
        self._missing = what
        while not self._stopping.is_set():
            try:
                return await action()
            except Unavailable as error:
                if tries % SAY_EVERY == 0:
                    log.warning("waiting", what=what, reason=str(error))
                tries += 1
                self._waiting_for = f"waiting for {what}: {error}"
                await self._rest(RETRY_S)
        raise _Stopped

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _first_app(self) -> ASGIApp:
        """What answers until everything is there; an engine answers no more than health ever."""
        if self._role == "engine":
            return create_health_app(self._metrics.registry, self._checks)
        return create_waiting_app(self._metrics.registry, self._checks, lambda: self._missing)

    async def _has_started(self) -> str | None:
        return self._waiting_for


class _Stopped(Exception):
    """The process was told to stop while it waited for something."""


class Front:
    """The application behind the port: health only while the process waits, then all of it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the present application."""
        await self.app(scope, receive, send)


async def _owns(engine: Engine) -> str | None:
    return None if engine.ownership.owned else "no partition is owned yet"
