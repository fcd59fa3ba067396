"""What works on the in-memory broker, which the demo uses where there is neither Java nor Docker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coordinator.errors import ConfigurationError
from coordinator.kafka import Publisher, TopicSpec, ensure_topics
from deploy.local.broker import Broker
from deploy.local.choice import Unavailable
from deploy.local.kafka_memory import start_in_memory
from deploy.local.places import RunDirectory
from deploy.local.processes import Processes
from tests.integration.kafka.helpers import Join, collect, eventually, has, outgoing, publish, values


@pytest.fixture(scope="module")
def memory() -> Iterator[Broker]:
    """Give an in-memory broker of our own."""
    run = RunDirectory()
    with Processes(run) as processes:
        try:
            broker = start_in_memory(processes)
        except Unavailable as error:
            pytest.skip(f"needs the in-memory broker: {error}")
        yield broker
        broker.close()
    run.close()


@pytest.fixture
def kafka(memory: Broker) -> Broker:
    """Give the in-memory broker to publisher and join."""
    return memory


async def test_topics_that_are_there_are_enough(kafka: Broker, topic_prefix: str) -> None:
    """A broker that cannot create topics is fine as long as none is missing, and says what to do when one is."""
    name = f"{topic_prefix}a"
    kafka.create_topics({name: 3})
    assert await ensure_topics(kafka.bootstrap_servers, [TopicSpec(name, 2)]) == {name: 3}
    with pytest.raises(ConfigurationError, match=f"by hand: {topic_prefix}missing"):
        await ensure_topics(kafka.bootstrap_servers, [TopicSpec(f"{topic_prefix}missing", 1)])


async def test_one_member_reads_what_is_published(
    kafka: Broker, topic_prefix: str, publisher: Publisher, join: Join
) -> None:
    """Publishing, reading, committing and going on work with a single member."""
    topic = f"{topic_prefix}b"
    kafka.create_topics({topic: 2})
    settings = {"session_timeout_ms": 4000, "request_timeout_ms": 10_000}  # it rebalances that slowly
    first = await join(topic, **settings)
    await eventually(lambda: first.ready == {0, 1})
    await publish(publisher, outgoing(topic, 20, partitions=2))
    assert len(values(await collect(first, has(20)))) == 20
    assert await first.end_offsets([0, 1]) == {0: 10, 1: 10}
    assert await first.commit({0: 10, 1: 8})
    await first.stop()
    again = await join(topic, **settings)
    assert values(await collect(again, has(2))) == [b"v17", b"v19"]
