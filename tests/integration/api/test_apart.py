"""API and engine as different processes: whoever commits publishes, and what it cannot publish the engine does."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import secrets
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.processes import Child, http_ok
from deploy.local.stack import LocalStack
from tests.integration.api.bad_requests import SAGAS
from tests.integration.api.server import RUN, STARTED, Api, order, start_api

STARTS = 100
PAUSE_S = 0.04


@pytest.fixture
async def apart(real_kafka: LocalStack) -> AsyncIterator[tuple[Api, LocalStack]]:
    """Give an API process of this test's own."""
    mark = secrets.token_hex(4)
    api = await asyncio.to_thread(start_api, real_kafka, f"apart-{mark}", f"apart_{mark}", f"apart{mark}.")
    yield api, real_kafka
    await asyncio.to_thread(api.child.stop)
    await asyncio.to_thread(real_kafka.postgres.drop_database, f"apart_{mark}")


async def test_the_first_command_follows_the_answer_within_a_tenth_of_a_second(apart: tuple[Api, LocalStack]) -> None:
    """Of a hundred starts without any engine, 99 commands are with a consumer at most 100 ms after the answer."""
    api, stack = apart
    answered: dict[str, float] = {}

    def start_all() -> None:
        for number in range(STARTS + 10):
            saga = api.post(SAGAS, order(f"prompt-{number}")).json
            answered[saga["id"]] = time.monotonic()
            time.sleep(PAUSE_S)

    arrived: dict[str, float] = {}
    async with _commands(api, stack) as consumer:
        starting = asyncio.create_task(asyncio.to_thread(start_all))
        async with asyncio.timeout(60):
            while not starting.done() or len(arrived) < len(answered):
                batches = await consumer.getmany(timeout_ms=100)
                now = time.monotonic()
                for record in itertools.chain.from_iterable(batches.values()):
                    arrived.setdefault(record.key.decode(), now)
    # The first ones warm up connections.
    delays = sorted(arrived[saga_id] - answered[saga_id] for saga_id in list(answered)[10:])
    assert delays[int(STARTS * 0.99) - 1] <= 0.1, delays[-5:]


async def test_what_a_killed_api_has_committed_is_sent_all_the_same(apart: tuple[Api, LocalStack]) -> None:
    """The API is killed amid a burst of starts; an engine then sends the command of every committed saga."""
    api, stack = apart
    burst = asyncio.create_task(asyncio.to_thread(_start_until_it_dies, api))
    await asyncio.to_thread(_wait_for_sagas, api, 40)
    await asyncio.to_thread(api.child.kill)
    await burst
    committed = {str(row["id"]) for row in await asyncio.to_thread(api.fetch, "SELECT id FROM saga")}
    engine = await asyncio.to_thread(_start_engine, stack, api)
    sent: set[str] = set()
    async with _commands(api, stack) as consumer, asyncio.timeout(60):
        while not committed <= sent:
            batches = await consumer.getmany(timeout_ms=200)
            sent |= {record.key.decode() for record in itertools.chain.from_iterable(batches.values())}
    assert sent == committed

    def outbox_is_empty() -> bool:
        return not api.fetch("SELECT 1 FROM outbox LIMIT 1")

    await asyncio.to_thread(engine.wait_until, outbox_is_empty, timeout_s=20, what="done with the outbox")
    await asyncio.to_thread(engine.stop)


async def test_an_engine_hears_of_a_saga_that_another_process_began(apart: tuple[Api, LocalStack]) -> None:
    """The owner of the partition takes up a saga that the API wrote, and knows its timer, within seconds."""
    api, stack = apart
    engine = await asyncio.to_thread(_start_engine, stack, api)
    url = engine.wait_for_line(STARTED, timeout_s=30)[1]
    await asyncio.to_thread(api.post, SAGAS, order("heard"))
    other = Api(engine, url, api.environment)

    def held() -> bool:
        return b"saga_active_in_memory 1.0" in other.metrics().body

    await asyncio.to_thread(engine.wait_until, held, timeout_s=20, what="holding the saga")
    await asyncio.to_thread(engine.stop)


def _start_engine(stack: LocalStack, api: Api) -> Child:
    """Start a process of role `engine` beside an API process."""
    mark = secrets.token_hex(3)
    environment = {**api.environment, "SAGA_INSTANCE": f"engine-{mark}"}
    engine = stack.processes.python(f"engine-{mark}", *RUN, "serve", "--role", "engine", environment=environment)
    url = engine.wait_for_line(STARTED, timeout_s=30)[1]
    engine.wait_until(http_ok(f"{url}/readyz"), timeout_s=60, what="ready")
    return engine


def _start_until_it_dies(api: Api) -> None:
    dead = threading.Event()
    numbers = itertools.count()

    def start() -> None:
        while not dead.is_set():
            try:
                api.post(SAGAS, order(f"burst-{next(numbers)}"))
            except (OSError, http.client.HTTPException):
                dead.set()

    with ThreadPoolExecutor(8) as threads:
        for _ in range(8):
            threads.submit(start)


def _wait_for_sagas(api: Api, count: int) -> None:
    def enough() -> bool:
        return bool(api.fetch("SELECT count(*) >= $1 AS enough FROM saga", count)[0]["enough"])

    api.child.wait_until(enough, timeout_s=20, what=f"at {count} sagas")


@asynccontextmanager
async def _commands(api: Api, stack: LocalStack) -> AsyncIterator[AIOKafkaConsumer]:
    """Give a consumer of the first participant's commands, from the beginning of the topic."""
    topic = f"{api.environment['SAGA_TOPIC_PREFIX']}inventory.commands"
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.kafka.bootstrap_servers, enable_auto_commit=False, fetch_max_wait_ms=20
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in (0, 1)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        yield consumer
    finally:
        await consumer.stop()
