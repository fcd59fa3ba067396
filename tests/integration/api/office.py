"""A service with everything it needs, over a real database and real topics, whose connections a test may break."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from coordinator.engine.clock import DatabaseClock
from coordinator.engine.flow import Flow
from coordinator.engine.observer import Observer
from coordinator.engine.registry import Registry
from coordinator.engine.relay import Relay
from coordinator.engine.topology import Topology
from coordinator.kafka import Publisher
from coordinator.observability.metrics import Metrics
from coordinator.saga.definition import SagaDefinition
from coordinator.services.sagas import SagaService
from coordinator.settings import FlowSettings
from coordinator.store.batch import Batch
from coordinator.store.migrations import migrate
from coordinator.store.postgres import Committed, PostgresStore
from coordinator.store.reads import SagaReads
from coordinator.store.replicas import Replicas
from deploy.local.stack import LocalStack
from sagas import definitions

Commit = Callable[[Batch], Awaitable[Committed]]


class BreakableStore(PostgresStore):
    """The real store, whose commits go through `around`: a test puts the fault there."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.commits = 0
        self.around: Callable[[Commit, Batch], Awaitable[Committed]] | None = None

    async def commit(self, batch: Batch) -> Committed:
        """Commit, or what the test makes of it."""
        self.commits += 1
        if self.around is None:
            return await super().commit(batch)
        return await self.around(super().commit, batch)


class SystemClock:
    """The real clock."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class SystemChance:
    """Real dice."""

    def roll(self) -> float:
        """A number in [0, 1)."""
        return random.random()

    def bits(self, count: int) -> int:
        """So many random bits."""
        return random.getrandbits(count)


class Office:
    """A service with everything it needs, over a database and topics of its own, as the role of `url`."""

    def __init__(
        self,
        url: str,
        topology: Topology,
        publisher: Publisher,
        known: tuple[SagaDefinition, ...] = definitions,
        flow: FlowSettings | None = None,
    ) -> None:
        self.url = url
        self.topology = topology
        self.store = BreakableStore(url)
        self.reads = SagaReads(url, 4)
        self.registry = Registry(known)
        self.bus = publisher
        self.relay = Relay(publisher, self.store, SystemClock())
        self.metrics = Metrics()
        self.metrics.register(self.registry.names)
        self.observer = Observer(self.metrics, SystemClock(), None, log_transitions=False)
        self.service = SagaService(
            self.store,
            self.reads,
            self.relay,
            self.registry,
            topology,
            SystemClock(),
            DatabaseClock(SystemClock()),
            SystemChance(),
            self.observer,
            Flow(flow or FlowSettings(), self.registry.participants),
        )

    async def open(self) -> None:
        """Connect and register the definitions."""
        await self.store.start()
        self.registry.bind((await Replicas(self.store, "office").register(self.registry.contents)).ids)

    async def close(self) -> None:
        """Disconnect."""
        await self.relay.drain(5)
        await self.store.stop()
        await self.reads.stop()

    async def audits(self, saga_id: str) -> int:
        """How often somebody acted on a saga."""
        rows = await self.ask("SELECT count(*) AS rows FROM audit_log WHERE saga_id = $1", saga_id)
        return int(rows[0]["rows"])

    async def unsent(self, saga_id: str) -> int:
        """How many messages of a saga are in the outbox."""
        rows = await self.ask("SELECT count(*) AS rows FROM outbox WHERE saga_id = $1", saga_id)
        return int(rows[0]["rows"])

    async def sagas(self) -> int:
        """How many sagas there are."""
        return int((await self.ask("SELECT count(*) AS rows FROM saga"))[0]["rows"])

    async def suspend(self, saga_id: str) -> None:
        """Make a saga suspended, at version 2."""
        await self.ask(
            "UPDATE saga SET status = 'suspended', version = 2, wake_at = NULL, deadline = NULL WHERE id = $1", saga_id
        )

    async def ask(self, query: str, *arguments: Any) -> Any:
        """Ask the database directly, as the service could."""
        return await self.store._side.run(lambda connection: connection.fetch(query, *arguments))


@asynccontextmanager
async def open_offices(stack: LocalStack) -> AsyncIterator[Callable[[], Any]]:
    """Give a maker of services that share one database and one set of topics."""
    mark = secrets.token_hex(4)
    database = f"service_{mark}"
    url = await asyncio.to_thread(stack.create_database, database)
    application_url = stack.application_url(url)
    await migrate(url, application_url)
    prefix = f"svc{mark}."
    counts = {f"{prefix}{name}": 2 for name in ("replies", "events", "dlq")}
    counts |= {f"{prefix}{name}.commands": 2 for name in Registry(definitions).participants}
    await asyncio.to_thread(stack.create_topics, counts)
    publisher = Publisher(stack.kafka.bootstrap_servers, prefix)
    await publisher.start()

    @asynccontextmanager
    async def make(flow: FlowSettings | None = None) -> AsyncIterator[Office]:
        office = Office(application_url, Topology(prefix, counts), publisher, flow=flow)
        await office.open()
        try:
            yield office
        finally:
            await office.close()

    yield make
    await publisher.stop()
    await asyncio.to_thread(stack.postgres.drop_database, database)
