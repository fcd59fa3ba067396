"""The API side of a process: everything behind the REST API, and what must be done beside it."""

from __future__ import annotations

import asyncio
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from coordinator.api.app import ApiParts, create_app, create_waiting_app
from coordinator.api.cursors import Cursors
from coordinator.api.streams import written
from coordinator.choreography.replaying import Replays
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.observer import Observer
from coordinator.engine.relay import Relay
from coordinator.kafka.again import read_again
from coordinator.kafka.lags import lags
from coordinator.parts import authenticator
from coordinator.process.connections import Connections
from coordinator.process.shared import Shared
from coordinator.services.auditing import Auditing
from coordinator.services.batch_acts import BatchActs
from coordinator.services.batch_operations import BatchOperations
from coordinator.services.batch_worker import BatchWorker
from coordinator.services.incidents import IncidentService
from coordinator.services.keyring import KeyRing
from coordinator.services.keys import Keys
from coordinator.services.letters import LetterService
from coordinator.services.participants import ParticipantService
from coordinator.services.publishing import Publishing
from coordinator.services.sagas import SagaService
from coordinator.services.tail import Tail
from coordinator.store.answers import KeptAnswers
from coordinator.store.batches import BatchStore
from coordinator.store.keys import KeyStore
from coordinator.store.letters import LetterReads
from coordinator.store.postgres import PostgresStore
from coordinator.store.tailing import LogTail

DRAIN_S = 5.0


class Front:
    """The application behind the port: health only while the process waits, then all of it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the present application."""
        await self.app(scope, receive, send)


class ApiSide:
    """Answers the REST API; `answered` is to be set when the port is closed."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        url = shared.settings.database.url.get_secret_value()
        # A session of its own: a start never queues behind the engine's batches.
        self._store = PostgresStore(url) if shared.role == "all" else shared.store
        # So have the kept answers and bulk work; both connect when they are first needed.
        self._kept_store = PostgresStore(url)
        self._bulk_store = PostgresStore(url)
        self._auditing = Auditing(self._store, shared.clock)
        self._tail = Tail(LogTail(url), shared.clock, shared.settings.streams, written)
        self.answered = asyncio.Event()
        waiting = create_waiting_app(
            shared.metrics.registry, shared.checks, lambda: shared.patience.missing, shared.mode
        )
        self.front = Front(waiting)

    def stop(self) -> None:
        """End what would keep the port open: streams."""
        self._tail.stop()

    async def close(self) -> None:
        """Give the sessions back."""
        for store in (self._kept_store, self._bulk_store, self._store):
            await store.stop()

    async def serve(self, connected: Connections, relay: Relay, now: DatabaseClock) -> None:
        """Answer until the end."""
        shared = self._shared
        cursors = Cursors(await shared.patience.until("the installation's secret", self._secret))
        lifecycle = shared.lifecycle(connected.bus, connected.topology)
        observer = shared.observer(lifecycle)
        service = self._service(connected, relay, now, observer)
        batches = BatchStore(self._bulk_store, shared.reads)
        self.front.app = create_app(self._parts(connected, service, cursors, batches, now))
        acts = self._acts(connected, relay, now, observer, batches)
        beside = [
            asyncio.create_task(BatchWorker(batches, acts, shared.clock, shared.identity).run(shared.stopping)),
            asyncio.create_task(self._auditing.run(self.answered), name="refusals"),
        ]
        # What a request in hand commits while we stop is published and acknowledged, too.
        await service.run(self.answered)
        await asyncio.gather(*beside)
        if lifecycle is not None:
            await lifecycle.drain(DRAIN_S)

    async def _secret(self) -> bytes:
        """The secret of the settings, else that of the installation: all its processes read each other's cursors."""
        given = self._shared.settings.api.cursor_secret
        return given.get_secret_value().encode() if given is not None else await self._shared.reads.secret()

    def _service(self, connected: Connections, relay: Relay, now: DatabaseClock, observer: Observer) -> SagaService:
        shared = self._shared
        return SagaService(
            self._store,
            shared.reads,
            relay,
            shared.registry,
            connected.topology,
            shared.clock,
            now,
            shared.chance,
            observer,
            shared.flow,
        )

    def _parts(
        self, connected: Connections, service: SagaService, cursors: Cursors, batches: BatchStore, now: DatabaseClock
    ) -> ApiParts:
        shared, settings = self._shared, self._shared.settings
        keys = KeyStore(self._store)
        ring = KeyRing(keys, shared.clock)
        return ApiParts(
            service=service,
            replays=Replays(self._store, shared.reads, shared.choreographies, shared.clock),
            choreographies=shared.choreographies,
            incidents=IncidentService(self._store, shared.reads, service),
            letters=self._letters(connected),
            reads=shared.reads,
            registry=shared.registry,
            participants=self._participants(connected, now),
            metrics=shared.metrics.registry,
            checks=shared.checks,
            limits=settings.api,
            cursors=cursors,
            authenticator=authenticator(settings, ring),
            refusals=self._auditing,
            keys=Keys(keys),
            ring=ring,
            tail=self._tail,
            streams=settings.streams,
            tracing=shared.tracing,
            answers=KeptAnswers(self._kept_store),
            batches=BatchOperations(batches, shared.reads, shared.chance, settings.api.batch_sagas_max),
        )

    def _acts(
        self, connected: Connections, relay: Relay, now: DatabaseClock, observer: Observer, batches: BatchStore
    ) -> BatchActs:
        shared = self._shared
        return BatchActs(
            self._bulk_store,
            batches,
            Publishing(relay, connected.topology),
            shared.registry,
            connected.topology,
            shared.clock,
            now,
            shared.chance,
            observer,
            shared.flow,
        )

    def _letters(self, connected: Connections) -> LetterService:
        shared = self._shared
        return LetterService(
            self._store,
            LetterReads(shared.reads),
            connected.bus,
            connected.topology,
            shared.registry,
            shared.metrics,
            connected.cluster,
            partial(read_again, shared.settings.kafka.bootstrap_servers, security=shared.security),
        )

    def _participants(self, connected: Connections, now: DatabaseClock) -> ParticipantService:
        shared, kafka = self._shared, self._shared.settings.kafka
        ask = partial(lags, kafka.bootstrap_servers, counts=connected.topology.counts, security=shared.security)
        return ParticipantService(
            shared.reads,
            shared.flow,
            connected.topology,
            shared.clock,
            now,
            shared.identity,
            kafka.participant_group,
            ask,
        )
