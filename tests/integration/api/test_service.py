"""The service against a real Postgres and a real Kafka, with connections that break at the worst moment."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from coordinator.engine.breaker import PROBES
from coordinator.errors import Unavailable
from coordinator.services.sagas import KeyConflict, Started, StartRequest
from coordinator.services.verbs import VerbRefused
from coordinator.store.batch import Batch
from coordinator.store.postgres import Committed, Contended, KeyTaken
from deploy.local.stack import LocalStack
from tests.integration.api.office import Commit, Office
from tests.integration.api.server import order


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


@pytest.mark.parametrize("contended", [True, False])
async def test_a_start_that_lands_late_is_ours(office: Office, contended: bool) -> None:
    """A statement that was given up for lost commits under the next one, which is refused: we hear 'created'."""
    unheard: list[Batch] = []

    async def late(commit: Commit, batch: Batch) -> Committed:
        if not unheard:
            unheard.append(batch)
            raise Unavailable("the connection was lost")
        office.store.around = None
        await commit(unheard[0])
        if contended:
            raise Contended("the key is locked")
        return await commit(batch)

    before = await office.sagas()
    office.store.around = late
    started = await office.service.start(_request())
    assert started.created
    assert await office.sagas() == before + 1


async def test_a_start_that_is_refused_spends_no_room(office: Office) -> None:
    """Somebody else took a key of our group: whoever was not asked for anything has as much room as before."""
    await office.service.start(_request())  # from here on the database's time is known
    flow = office.service._flow
    flow.own({0, 1}, 2)
    flow.timed_out(["inventory"] * 20, 0)

    async def faster(_commit: Commit, _batch: Batch) -> Committed:
        office.store.around = None
        raise KeyTaken("by the test")

    office.store.around = faster
    assert (await office.service.start(_request())).created
    assert flow.room("inventory") == PROBES - 1


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
    with pytest.raises(VerbRefused):
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
