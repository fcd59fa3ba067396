"""Creating and counting topics."""

from __future__ import annotations

import time

import pytest
from aiokafka import AIOKafkaProducer

from coordinator.errors import ConfigurationError, Unavailable
from coordinator.kafka import TopicSpec, cluster_id, ensure_topics, partition_counts
from coordinator.parts import topic_specs
from coordinator.settings import Settings
from deploy.local.broker import Broker

HOUR_MS = 3_600_000


async def test_topics_are_created_once(kafka: Broker, topic_prefix: str) -> None:
    """ensure_topics() creates what is missing, leaves alone what is there, and returns what there really is."""
    first, second = f"{topic_prefix}a", f"{topic_prefix}b"
    servers = kafka.bootstrap_servers
    assert await ensure_topics(servers, [TopicSpec(first, 3)]) == {first: 3}
    specs = [TopicSpec(first, 2), TopicSpec(second, 1, configs={"retention.ms": "1000"})]
    assert await ensure_topics(servers, specs) == {first: 3, second: 1}
    assert await partition_counts(servers, [second, first]) == {first: 3, second: 1}


async def test_too_few_partitions_are_a_wrong_setting(kafka: Broker, topic_prefix: str) -> None:
    """A topic with fewer partitions than wanted is refused with both numbers."""
    name = f"{topic_prefix}few"
    await ensure_topics(kafka.bootstrap_servers, [TopicSpec(name, 2)])
    with pytest.raises(ConfigurationError, match=f"{name} has 2 partitions, the settings ask for 5"):
        await ensure_topics(kafka.bootstrap_servers, [TopicSpec(name, 5)])


async def test_what_the_broker_refuses_is_said_in_its_words(kafka: Broker, topic_prefix: str) -> None:
    """More replicas than brokers, or an unknown setting, is a wrong setting of ours, with the broker's reason."""
    with pytest.raises(ConfigurationError, match="replicat"):
        await ensure_topics(kafka.bootstrap_servers, [TopicSpec(f"{topic_prefix}r", 1, replication=3)])
    with pytest.raises(ConfigurationError, match=r"no\.such\.thing"):
        await ensure_topics(kafka.bootstrap_servers, [TopicSpec(f"{topic_prefix}c", 1, configs={"no.such.thing": "1"})])


@pytest.mark.parametrize("wrong_by_ms", [25 * HOUR_MS, -25 * 365 * 24 * HOUR_MS], ids=["tomorrow", "long ago"])
async def test_our_topics_go_by_the_clock_of_the_broker(kafka: Broker, topic_prefix: str, wrong_by_ms: int) -> None:
    """A sender whose clock is wrong is heard all the same, and its record is no older and no younger than others."""
    specs = topic_specs(Settings(topic_prefix=topic_prefix), [])
    await ensure_topics(kafka.bootstrap_servers, specs)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    await producer.start()
    try:
        for spec in specs:
            now_ms = int(time.time() * 1000)
            sent = await producer.send_and_wait(spec.name, b"{}", timestamp_ms=now_ms + wrong_by_ms)
            assert abs(sent.timestamp - now_ms) < HOUR_MS
    finally:
        await producer.stop()


async def test_counting_never_creates(kafka: Broker, topic_prefix: str) -> None:
    """Topics that do not exist are left out of the answer, and still do not exist afterwards."""
    for _ in range(2):
        assert await partition_counts(kafka.bootstrap_servers, [f"{topic_prefix}none"]) == {}


async def test_a_cluster_has_one_name(kafka: Broker) -> None:
    """cluster_id() is the same for every question."""
    names = {await cluster_id(kafka.bootstrap_servers) for _ in range(2)}
    assert len(names) == 1
    assert len(names.pop()) > 10


async def test_no_broker_is_said_so() -> None:
    """Without a broker every question ends in its time with Unavailable and the address."""
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await partition_counts("127.0.0.1:1", ["t"], timeout_s=0.5)
