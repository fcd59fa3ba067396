"""What publish() promises, against a real broker."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.errors import Unavailable
from coordinator.kafka import Outgoing, Publisher
from deploy.local.broker import Broker
from tests.integration.kafka.helpers import (
    Join,
    collect,
    has,
    new_topic,
    outgoing,
    publish,
    values,
)


async def test_everything_acknowledged_is_in_the_log(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """Messages that are acknowledged can be read, in the order given, with key and headers."""
    topic = await new_topic(kafka.bootstrap_servers, 4)
    await publish(publisher, outgoing(topic, 400, partitions=4))
    polled = await collect(await join(topic), has(400))
    for partition in range(4):
        assert values(polled, partition) == [b"v%d" % n for n in range(partition, 400, 4)]


async def test_a_call_over_several_new_topics_waits_for_all_of_them(kafka: Broker, publisher: Publisher) -> None:
    """Looking up one topic while another has answered already neither fails messages nor costs the producer."""
    topics = [await new_topic(kafka.bootstrap_servers) for _ in range(5)]
    messages = [message for topic in topics for message in outgoing(topic, 1)]
    result = await publisher.publish(messages)
    assert len(result.acknowledged) == len(topics)
    assert result.failed == []
    assert publisher.rebuilds == 0


async def test_a_full_batch_loses_no_record(kafka: Broker, join: Join) -> None:
    """Records that do not fit into a batch any more go into the next one, not nowhere."""
    topic = await new_topic(kafka.bootstrap_servers)
    publisher = Publisher(kafka.bootstrap_servers, "small", max_batch_bytes=2000)
    await publisher.start()
    await publish(publisher, outgoing(topic, 1000))
    await publisher.stop()
    polled = await collect(await join(topic), has(1000))
    assert values(polled) == [b"v%d" % n for n in range(1000)]


async def test_a_record_that_can_never_go_is_refused_alone(kafka: Broker, publisher: Publisher) -> None:
    """A record larger than a batch, or one that is no record at all, is refused; those around it are published."""
    topic = await new_topic(kafka.bootstrap_servers)
    messages = outgoing(topic, 5)
    messages[1].value = b"x" * 600_000
    messages[3].value = "text"  # type: ignore[assignment]
    result = await publisher.publish(messages)
    assert result.acknowledged == [0, 2, 4]
    assert [token for token, _ in result.refused] == [1, 3]
    assert result.refused[0][1] == "too_large"
    assert result.failed == []


async def test_a_topic_that_takes_less_gets_less(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """A topic's own lower limit splits batches, refuses only what is too large, and spoils no sequence."""
    topic = await new_topic(kafka.bootstrap_servers, max_message_bytes="3000")
    messages = outgoing(topic, 100)
    messages[50].value = b"x" * 5000
    result = await publisher.publish(messages)
    assert result.refused == [(50, "too_large")]
    assert sorted(result.acknowledged) == [n for n in range(100) if n != 50]  # type: ignore[type-var]
    await publish(publisher, outgoing(topic, 100, start=100))
    assert publisher.rebuilds > 0
    assert publisher.healthy
    polled = await collect(await join(topic), has(199))
    assert sorted(set(values(polled))) == sorted(b"v%d" % n for n in range(200) if n != 50)


async def test_concurrent_calls_keep_their_order(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """Calls made one after the other without waiting are stored in that order, per partition."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    calls = [publish(publisher, outgoing(topic, 20, partitions=2, start=20 * call)) for call in range(50)]
    await asyncio.gather(*calls)
    polled = await collect(await join(topic), has(1000))
    for partition in range(2):
        assert values(polled, partition) == [b"v%d" % n for n in range(partition, 1000, 2)]


async def test_topics_that_are_met_for_the_first_time(kafka: Broker, publisher: Publisher) -> None:
    """One call may name several topics not seen before: answers that come while the next is looked up are kept."""
    topics = [await new_topic(kafka.bootstrap_servers) for _ in range(4)]
    messages = [Outgoing(topic, 0, b"k", b"v", [], topic) for topic in topics]
    result = await publisher.publish(messages)
    assert sorted(result.acknowledged, key=str) == sorted(topics)
    assert result.error is None


async def test_an_unknown_place_fails_and_is_not_created(kafka: Broker, publisher: Publisher) -> None:
    """A message for a topic or partition that does not exist fails with its name; the others are published."""
    topic = await new_topic(kafka.bootstrap_servers)
    result = await publisher.publish(
        [Outgoing("missing", 0, b"k", b"v", [], "a"), Outgoing(topic, 7, b"k", b"v", [], "b"), *outgoing(topic, 1)]
    )
    assert result.failed == ["a", "b"]
    assert result.acknowledged == [0]
    assert result.error == "missing-0 does not exist"


async def test_bytes_in_flight_are_bounded(kafka: Broker) -> None:
    """What Kafka has not acknowledged never exceeds the limit; callers wait instead."""
    topic = await new_topic(kafka.bootstrap_servers)
    publisher = Publisher(kafka.bootstrap_servers, "bounded", max_batch_bytes=20_000, max_in_flight_bytes=40_000)
    await publisher.start()
    seen: list[int] = []

    async def send(call: int) -> None:
        await publish(publisher, [Outgoing(topic, 0, b"", b"x" * 9_000, [], (call, n)) for n in range(5)])
        seen.append(publisher.in_flight_bytes)

    calls = [asyncio.create_task(send(call)) for call in range(20)]
    while not all(call.done() for call in calls):
        seen.append(publisher.in_flight_bytes)
        await asyncio.sleep(0)
    await asyncio.gather(*calls)
    await publisher.stop()
    assert 20_000 < max(seen) <= 40_000
    assert publisher.in_flight_bytes == 0


async def test_no_broker_at_all_is_said_so() -> None:
    """start() without a broker ends in its time with Unavailable."""
    publisher = Publisher("127.0.0.1:1", "lonely")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await publisher.start(timeout_s=0.5)
    result = await publisher.publish(outgoing("t", 1))
    assert result.failed == [0]
