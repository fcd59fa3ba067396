"""The service against a real Postgres and a real Kafka, with connections that break at the worst moment."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from coordinator.engine.clock import DatabaseClock
from coordinator.engine.flow import Flow
from coordinator.engine.observer import Observer
from coordinator.engine.registry import Registry
from coordinator.engine.relay import Relay
from coordinator.engine.topology import Topology
from coordinator.errors import Unavailable
from coordinator.kafka import Publisher
from coordinator.observability.metrics import Metrics
from coordinator.services.sagas import KeyConflict, RetryRefused, SagaService, Started, StartRequest
from coordinator.settings import FlowSettings
from coordinator.store.batch import Batch
from coordinator.store.migrations import migrate
from coordinator.store.postgres import Committed, PostgresStore
from coordinator.store.reads import SagaReads
from deploy.local.stack import LocalStack
from sagas import definitions
from tests.integration.api.server import order

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
    """A service with everything it needs, over a database and topics of its own."""

    def __init__(self, url: str, topology: Topology, publisher: Publisher) -> None:
        self.url = url
        self.topology = topology
        self.store = BreakableStore(url)
        self.reads = SagaReads(url, 4)
        self.registry = Registry(definitions)
        self.relay = Relay(publisher, self.store, SystemClock())
        observer = Observer(Metrics(), SystemClock(), None, log_transitions=False)
        self.service = SagaService(
            self.store,
            self.reads,
            self.relay,
            self.registry,
            topology,
            SystemClock(),
            DatabaseClock(SystemClock()),
            SystemChance(),
            observer,
            Flow(FlowSettings(), self.registry.participants),
        )

    async def open(self) -> None:
        """Connect and register the definitions."""
        await self.store.start()
        self.registry.bind(await self.store.register_definitions(self.registry.keys))

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
        """Ask the database directly."""
        return await self.store._side.run(lambda connection: connection.fetch(query, *arguments))


@pytest.fixture(scope="module")
async def offices(stack: LocalStack) -> AsyncIterator[Callable[[], Any]]:
    """Give a maker of services that share one database and one set of topics."""
    mark = secrets.token_hex(4)
    database = f"service_{mark}"
    url = await asyncio.to_thread(stack.create_database, database)
    await migrate(url)
    prefix = f"svc{mark}."
    counts = {f"{prefix}{name}": 2 for name in ("replies", "events", "dlq")}
    counts |= {f"{prefix}{name}.commands": 2 for name in ("inventory", "payment", "shipping", "notification")}
    await asyncio.to_thread(stack.create_topics, counts)
    publisher = Publisher(stack.kafka.bootstrap_servers, prefix)
    await publisher.start()

    @asynccontextmanager
    async def make() -> AsyncIterator[Office]:
        office = Office(url, Topology(prefix, counts), publisher)
        await office.open()
        try:
            yield office
        finally:
            await office.close()

    yield make
    await publisher.stop()
    await asyncio.to_thread(stack.postgres.drop_database, database)


@pytest.fixture
async def office(offices: Callable[[], Any]) -> AsyncIterator[Office]:
    """Give one service."""
    async with offices() as made:
        yield made


async def test_a_start_whose_answer_was_lost_is_found(office: Office) -> None:
    """The statement committed and the connection broke: the caller still hears 'created', of one saga."""
    office.store.around = _fails_once(after=True)
    before = await office.sagas()
    started = await office.service.start(_request())
    assert started.created
    assert await office.sagas() == before + 1
    assert started.saga.id in await office.reads.summaries([started.saga.id])


async def test_a_start_that_never_arrived_is_repeated(office: Office) -> None:
    """The connection broke before the statement: the next try begins the saga."""
    office.store.around = _fails_once(after=False)
    assert (await office.service.start(_request())).created


async def test_a_start_is_refused_while_postgres_stays_away(office: Office) -> None:
    """After a few tries the caller hears that it is not known, and the same request later gives the one saga."""

    async def away(commit: Commit, batch: Batch) -> Committed:
        raise Unavailable("gone")

    request = _request()
    office.store.around = away
    with pytest.raises(Unavailable):
        await office.service.start(request)
    office.store.around = None
    assert (await office.service.start(request)).created


async def test_starts_at_once_share_statements(office: Office) -> None:
    """Three hundred concurrent starts need a handful of statements, and each caller gets its own saga."""
    requests = [_request() for _ in range(300)]
    started = await asyncio.gather(*(office.service.start(request) for request in requests))
    assert office.store.commits <= 10
    assert [each.saga.business_key for each in started] == [request.input["order_id"] for request in requests]
    assert all(each.created for each in started)


async def test_two_processes_that_want_the_same_keys_begin_each_once(offices: Callable[[], Any]) -> None:
    """Services with sessions of their own race for two hundred keys: each key has one creator and one saga."""
    requests = [_request() for _ in range(200)]
    async with offices() as one, offices() as two:
        answers = await asyncio.gather(
            one.service.start_many(requests),
            two.service.start_many(list(reversed(requests))),
            *(office.service.start(request) for office in (one, two) for request in requests[::20]),
        )
        wholes, singles = answers[:2], answers[2:]
        everything = [*wholes[0], *wholes[1], *singles]
        assert all(isinstance(each, Started) for each in everything)
        assert sum(each.created for each in everything) == 200
        assert len({each.saga.id for each in everything}) == 200


async def test_the_same_key_with_two_inputs_in_one_group_has_one_winner(office: Office) -> None:
    """Of concurrent requests that contradict each other one is created, the other hears which saga has the key."""
    first, second = _request(), _request()
    second = StartRequest(
        first.definition, None, {**second.input, "order_id": first.input["order_id"], "amount_cents": 1}
    )
    answers = await asyncio.gather(office.service.start(first), office.service.start(second), return_exceptions=True)
    [winner] = [answer for answer in answers if isinstance(answer, Started)]
    [loser] = [answer for answer in answers if isinstance(answer, KeyConflict)]
    assert loser.members == {"saga_id": winner.saga.id}


async def test_whoever_commits_publishes_and_tells_the_owner(office: Office, stack: LocalStack) -> None:
    """After a start the first command and a SagaTouched hint are on Kafka, and the outbox is empty."""
    saga = (await office.service.start(_request())).saga
    record = await _find(stack, f"{office.topology.prefix}inventory.commands", saga.id)
    assert dict(record.headers)["ce_type"] == b"ReserveItems"
    hint = await _find(stack, office.topology.replies, saga.id)
    assert dict(hint.headers)["ce_type"] == b"SagaTouched"
    await office.relay.drain(5)
    await office.relay.flush()
    assert await office.unsent(saga.id) == 0


async def test_a_retry_whose_answer_was_lost_happened_once(office: Office) -> None:
    """The retry committed and the connection broke: the operator hears of success, and it is audited once."""
    saga = (await office.service.start(_request())).saga
    await office.suspend(saga.id)
    office.store.around = _fails_once(after=True)
    after = await office.service.retry(saga.id, 2, "ada", "the answer was lost")
    assert after.version == 3
    assert await office.audits(saga.id) == 1


async def test_a_retry_of_somebody_else_is_not_taken_for_ours(office: Office) -> None:
    """Our connection broke before our retry and another one was faster: we hear that the saga goes on already."""
    saga = (await office.service.start(_request())).saga
    await office.suspend(saga.id)

    async def overtaken(commit: Commit, batch: Batch) -> Committed:
        office.store.around = None
        await office.service.retry(saga.id, 2, "bob", "I was faster")
        raise Unavailable("gone")

    office.store.around = overtaken
    with pytest.raises(RetryRefused):
        await office.service.retry(saga.id, 2, "ada", "too late")
    assert await office.audits(saga.id) == 1


def _fails_once(*, after: bool) -> Callable[[Commit, Batch], Awaitable[Committed]]:
    """A commit that breaks the first time, after or before it has happened."""
    left = [1]

    async def around(commit: Commit, batch: Batch) -> Committed:
        broken = left and left.pop()
        if broken and after:
            await commit(batch)
        if broken:
            raise Unavailable("the connection was lost")
        return await commit(batch)

    return around


def _request() -> StartRequest:
    body = order(f"order-{secrets.token_hex(8)}")
    return StartRequest(body["definition"], None, body["input"])


async def _find(stack: LocalStack, topic: str, saga_id: str) -> Any:
    """The first record of a saga in a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka.bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in (0, 1)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async with asyncio.timeout(20):
            async for record in consumer:
                if record.key == saga_id.encode():
                    return record
    finally:
        await consumer.stop()
    raise AssertionError
