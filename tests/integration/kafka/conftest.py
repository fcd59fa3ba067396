"""The brokers of these tests, and clients that are stopped when a test ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from coordinator.kafka import Listener, Publisher, Subscriber
from deploy.local.broker import Broker
from deploy.local.choice import Unavailable
from deploy.local.kafka_jvm import start_on_jvm
from deploy.local.places import RunDirectory
from deploy.local.processes import Processes
from deploy.local.stack import LocalStack
from tests.integration.kafka.helpers import Join, Recorder


@pytest.fixture
def kafka(real_kafka: LocalStack) -> Broker:
    """Give a real Kafka that others use, too: not to be stopped. Some modules replace it by `own_kafka`."""
    return real_kafka.kafka


@pytest.fixture(scope="session")
def own_home() -> Iterator[RunDirectory]:
    """Give the directory of the Kafka that only these tests use."""
    run = RunDirectory()
    yield run
    run.close()


@pytest.fixture(scope="session")
def own_kafka(own_home: RunDirectory) -> Iterator[Broker]:
    """Give a real Kafka that may be killed, frozen and damaged."""
    with Processes(own_home) as processes:
        try:
            broker = start_on_jvm(own_home, processes, print)
        except Unavailable as error:
            pytest.skip(f"needs a Kafka of its own on the JVM: {error}")
        yield broker
        broker.close()


@pytest.fixture
def logs(own_kafka: Broker, own_home: RunDirectory) -> Path:
    """Give the folder of the own Kafka's partitions."""
    return own_home.path / "data" / "kafka" / "logs"


@pytest.fixture
async def publisher(kafka: Broker) -> AsyncIterator[Publisher]:
    """Give a publisher that is connected."""
    publisher = Publisher(kafka.bootstrap_servers, "tests", ack_timeout_s=5.0)
    await publisher.start()
    yield publisher
    await publisher.stop()


@pytest.fixture
async def join(kafka: Broker) -> AsyncIterator[Join]:
    """Give a function that makes subscribers; all of them are stopped in the end."""
    joined: list[Subscriber] = []

    async def make(
        topic: str, listener: Listener | None = None, *, group: str | None = None, **settings: object
    ) -> Subscriber:
        defaults: dict[str, object] = {
            "session_timeout_ms": 6000,
            "heartbeat_ms": 300,
            "request_timeout_ms": 3000,
        }
        subscriber = Subscriber(
            kafka.bootstrap_servers,
            topic,
            group or f"g-{topic}",
            "tests",
            **(defaults | settings),  # type: ignore[arg-type]
        )
        joined.append(subscriber)
        await subscriber.start(listener or Recorder())
        return subscriber

    yield make
    await asyncio.gather(*(subscriber.stop(5.0) for subscriber in joined))
