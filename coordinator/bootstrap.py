"""The composition root: settings in, a running coordinator out. The only place that wires the parts.

    role engine  owns partitions and moves sagas; listens on the metrics port only
    role api     answers the REST API; writes sagas and publishes what it commits
    role all     both, in one process

Every role answers /metrics /livez /readyz on the metrics port. The ports open first, so that a coordinator that waits
for Postgres or Kafka can say so (/readyz is red); what is missing is waited for, not failed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, TypeVar

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from coordinator.api.access import Mode
from coordinator.api.app import ApiParts, create_app, create_waiting_app
from coordinator.api.cursors import Cursors
from coordinator.api.health import Check, database_check, log_days_check, migrations_check, publisher_check
from coordinator.api.listening import serve
from coordinator.api.metrics import create_metrics_app
from coordinator.api.streams import written
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
from coordinator.kafka.again import read_again
from coordinator.kafka.lags import lags
from coordinator.kafka.publisher import Publisher
from coordinator.kafka.subscriber import Subscriber
from coordinator.kafka.topics import cluster_id, partition_counts
from coordinator.observability.metrics import Metrics
from coordinator.observability.tracing import start_tracing
from coordinator.parts import SystemChance, SystemClock, authenticator, flow, mode, recovery, security, topic_specs
from coordinator.services.auditing import Auditing
from coordinator.services.batch_acts import BatchActs
from coordinator.services.batch_operations import BatchOperations
from coordinator.services.batch_worker import BatchWorker
from coordinator.services.gauges import Gauges
from coordinator.services.incidents import IncidentService
from coordinator.services.keyring import KeyRing
from coordinator.services.keys import Keys
from coordinator.services.letters import LetterService
from coordinator.services.participants import ParticipantService
from coordinator.services.publishing import Publishing
from coordinator.services.pulses import Pulses
from coordinator.services.recovery import Recovery
from coordinator.services.sagas import SagaService
from coordinator.services.tail import Tail
from coordinator.services.upkeep import Upkeep
from coordinator.services.versions import Versions
from coordinator.settings import Settings
from coordinator.store.answers import KeptAnswers
from coordinator.store.batches import BatchStore
from coordinator.store.keys import KeyStore
from coordinator.store.letters import LetterReads
from coordinator.store.migrations import is_current
from coordinator.store.postgres import PostgresStore
from coordinator.store.reads import SagaReads
from coordinator.store.replicas import Replicas
from coordinator.store.roles import standing
from coordinator.store.tailing import LogTail

log = structlog.get_logger()

Role = Literal["api", "engine", "all"]
RETRY_S = 0.5
SAY_EVERY = 10  # tries between two lines that say what is waited for
STOP_S = 20.0
_MEANING = {
    Mode.REQUIRED: "nobody is served without a valid API key or access token",
    Mode.LOOPBACK: "this machine is served without a token until the first key is made",
    Mode.INSECURE: "EVERYBODY WHO REACHES THIS PORT IS AN ADMINISTRATOR (SAGA_API__INSECURE)",
}
T = TypeVar("T")


class Coordinator:
    """One process: builds its parts when what they need answers, runs them, and stops them in order."""

    def __init__(self, settings: Settings, role: Role) -> None:
        self._mode = None if role == "engine" else mode(settings)
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
        self._tracing = start_tracing(settings.tracing, settings.instance)
        self._clock = SystemClock()
        self._auditing = Auditing(self._api_store, self._clock)
        self._chance = SystemChance()
        self._tail = Tail(LogTail(url), self._clock, settings.streams, written)
        self._stopping = asyncio.Event()
        self._answered = asyncio.Event()
        self._engine: Engine | None = None
        self._waiting_for: str | None = "starting"
        self._checks: list[Check] = [("started", self._has_started), database_check(self._reads)]
        self._missing = "its start"
        # What answers until everything is there.
        self._front = Front(create_waiting_app(self._metrics.registry, self._checks, lambda: self._missing, self._mode))

    def stop(self) -> None:
        """Ask the coordinator to end in order; `run` returns when it has."""
        self._stopping.set()
        self._tail.stop()
        if self._engine is not None:
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

    def _listen(self) -> list[asyncio.Task[None]]:
        """Open the ports of this role."""
        settings, stop = self._settings, self._stopping
        listening = []
        if self._role != "engine":
            authenticated = self._mode is Mode.REQUIRED
            serving = serve(self._front, settings.api, stop, authenticated=authenticated)
            http = asyncio.create_task(serving, name="http")
            http.add_done_callback(lambda _: self._answered.set())
            listening.append(http)
        app = create_metrics_app(self._metrics.registry, self._checks, settings.metrics.token)
        metrics = serve(app, settings.metrics, stop, name="metrics")
        return [*listening, asyncio.create_task(metrics, name="metrics")]

    async def _work(self) -> None:
        bootstrap = self._settings.kafka.bootstrap_servers
        bus = Publisher(bootstrap, f"saga-{self._settings.instance}", security=self._security)
        replicas = Replicas(self._store, self._identity)
        versions = Versions(replicas, self._registry, self._clock, observed=self._choreographies.contents)
        beside: asyncio.Task[None] | None = None
        try:
            await self._patiently("Postgres", self._store.start)
            await self._patiently("the migrations", self._migrated)
            await self._patiently("Postgres", self._warn_of_might)
            topology = await self._patiently("the topics", self._topology)
            cluster = await self._patiently("Kafka", lambda: cluster_id(bootstrap, security=self._security))
            await self._patiently("Kafka", bus.start)
            await self._patiently("its definitions", versions.register)
            self._choreographies.bind(self._registry.ids)
            beside = asyncio.create_task(versions.run(self._stopping))
            self._checks += [migrations_check(self._reads), log_days_check(self._reads), publisher_check(bus)]
            commands = {topology.commands(name): name for name in self._registry.participants}
            self._metrics.expect(self._role, topology.counts[topology.replies], commands)
            self._waiting_for = None
            if self._role == "api":
                relay = Relay(bus, self._store, self._clock, count=self._metrics.count_commands)
                await self._serve_api(bus, topology, cluster, relay, DatabaseClock(self._clock))
            else:
                await self._serve_engine(bus, topology, cluster)
        except _Stopped:
            log.info("stopped_while_waiting", what=self._waiting_for)
        finally:
            await bus.stop()
            if beside is not None:
                await self._leave(versions, beside)
            if self._tracing is not None:
                await self._tracing.stop()
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

    async def _serve_api(
        self, bus: Publisher, topology: Topology, cluster: str, relay: Relay, now: DatabaseClock
    ) -> None:
        """Answer the REST API until the end."""
        settings = self._settings
        cursors = Cursors(await self._patiently("the installation's secret", self._cursor_secret))
        lifecycle = self._lifecycle(bus, topology)
        observer = Observer(
            self._metrics,
            self._clock,
            lifecycle,
            log_transitions=settings.log.transitions,
            tracing=self._tracing,
        )
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
        kept = KeyStore(self._api_store)
        ring = KeyRing(kept, self._clock)
        batches = BatchStore(self._bulk_store, self._reads)
        self._front.app = create_app(
            ApiParts(
                service=service,
                replays=Replays(self._api_store, self._reads, self._choreographies, self._clock),
                choreographies=self._choreographies,
                incidents=IncidentService(self._api_store, self._reads, service),
                letters=self._letters(bus, topology, cluster),
                reads=self._reads,
                registry=self._registry,
                participants=self._participants(topology, now),
                metrics=self._metrics.registry,
                checks=self._checks,
                limits=settings.api,
                cursors=cursors,
                authenticator=authenticator(settings, ring),
                refusals=self._auditing,
                keys=Keys(kept),
                ring=ring,
                tail=self._tail,
                streams=settings.streams,
                tracing=self._tracing,
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
        recording = asyncio.create_task(self._auditing.run(self._answered), name="refusals")
        # What a request in hand commits while we stop is published and acknowledged, too.
        await service.run(self._answered)
        await asyncio.gather(worker, recording)
        if lifecycle is not None:
            await lifecycle.drain(STOP_S / 4)

    async def _cursor_secret(self) -> bytes:
        """The secret of the settings, else that of the installation: all its processes read each other's cursors."""
        given = self._settings.api.cursor_secret
        return given.get_secret_value().encode() if given is not None else await self._reads.secret()

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
            tracing=self._tracing,
        )
        engine = self._engine = Engine(self._store, bus, inbox, self._clock, self._chance, parts)
        self._checks.append(("partitions", lambda: _owns(engine)))
        upkeep = Upkeep(
            self._store,
            bus,
            topology,
            self._metrics,
            lambda: 0 in engine.ownership.owned,
            settings.database.log_retention_days,
        )
        gauges = Gauges(
            self._reads,
            self._registry,
            self._metrics,
            self._clock,
            lambda: 0 in engine.ownership.owned,
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
        pulses = Pulses(self._store, self._flow, engine.now, self._identity)
        beside = [asyncio.create_task(chores.run(self._stopping)) for chores in (upkeep, gauges, worker, pulses)]
        if self._choreographies.sources:
            observer = self._observer(bus, topology, cluster, engine.now)
            self._checks.append(("choreographies", observer.check))
            beside.append(asyncio.create_task(observer.run(self._stopping)))
        if self._role == "all":
            beside.append(asyncio.create_task(self._serve_api(bus, topology, cluster, engine.relay, engine.now)))
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
        recorder = Recorder(
            *(store, self._choreographies, metrics, clock, now, self._chance, cluster),
            log_transitions=self._settings.log.transitions,
        )
        return ChoreographyObserver(store, bus, topics, self._choreographies, recorder, metrics, clock)

    def _letters(self, bus: Publisher, topology: Topology, cluster: str) -> LetterService:
        return LetterService(
            self._api_store,
            LetterReads(self._reads),
            bus,
            topology,
            self._registry,
            self._metrics,
            cluster,
            partial(read_again, self._settings.kafka.bootstrap_servers, security=self._security),
        )

    def _participants(self, topology: Topology, now: DatabaseClock) -> ParticipantService:
        kafka = self._settings.kafka
        ask = partial(lags, kafka.bootstrap_servers, counts=topology.counts, security=self._security)
        group = kafka.participant_group
        return ParticipantService(self._reads, self._flow, topology, self._clock, now, self._identity, group, ask)

    def _lifecycle(self, bus: Publisher, topology: Topology) -> Lifecycle | None:
        if not self._settings.events.enabled:
            return None
        return Lifecycle(bus, self._clock, topology, self._registry, self._store)

    async def _migrated(self) -> None:
        if not await self._store.run(is_current):
            raise Unavailable("the database lacks migrations: run `saga migrate`")

    async def _warn_of_might(self) -> None:
        """Say so when the database would let this process change what is in the audit."""
        found = await self._store.run(standing)
        if found.is_mighty:
            advice = "let SAGA_DATABASE__URL name a role of its own, and SAGA_DATABASE__MIGRATION_URL the owner"
            log.warning("runs_as_owner_of_the_database", role=found.role, advice=advice)

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

    def _say_mode(self) -> None:
        if self._mode is not None:
            say = log.warning if self._mode is Mode.INSECURE else log.info
            say("api_authentication", mode=self._mode, meaning=_MEANING[self._mode])

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
