"""What holds while the broker is frozen, killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from coordinator.errors import Unavailable
from coordinator.kafka import Publisher, Record
from deploy.local.broker import Broker
from tests.integration.kafka.helpers import (
    Join,
    Recorder,
    collect,
    eventually,
    has,
    new_topic,
    outgoing,
    publish,
    records,
    values,
)


@pytest.fixture
def kafka(own_kafka: Broker) -> Broker:
    """Give a broker that may be harmed."""
    return own_kafka


async def test_a_frozen_broker_is_reported_in_time(kafka: Broker, join: Join) -> None:
    """While the broker is frozen, publish() and stop() end in their time, and say that nothing is known."""
    topic = await new_topic(kafka.bootstrap_servers)
    publisher = Publisher(kafka.bootstrap_servers, "frozen", ack_timeout_s=1.0)
    await publisher.start()
    await publish(publisher, outgoing(topic, 1))
    kafka.pause()
    try:
        began = time.monotonic()
        result = await publisher.publish(outgoing(topic, 3, start=1))
        assert time.monotonic() - began < 2.0
        assert result.failed == [1, 2, 3]
        assert result.acknowledged == []
        assert "acknowledge" in (result.error or "")
        assert not publisher.healthy
        began = time.monotonic()
        await publisher.stop(2.0)
        assert time.monotonic() - began < 3.0
    finally:
        kafka.resume()


async def test_a_killed_broker_leaves_no_false_acknowledgement(kafka: Broker, join: Join) -> None:
    """Across a kill -9 of the broker acknowledgements are true, nothing is sent late, and publishing goes on."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    publisher = Publisher(kafka.bootstrap_servers, "killed", ack_timeout_s=2.0)
    await publisher.start()
    acknowledged: list[int] = []
    failed: list[int] = []
    down = asyncio.Event()

    async def send_for_ever() -> None:
        start = 0
        while not down.is_set() or publisher.healthy:
            result = await publisher.publish(outgoing(topic, 10, partitions=2, start=start))
            acknowledged.extend(result.acknowledged)  # type: ignore[arg-type]
            failed.extend(result.failed)  # type: ignore[arg-type]
            start += 10
            await asyncio.sleep(0.001)

    senders = asyncio.create_task(send_for_ever())
    await eventually(lambda: len(acknowledged) > 500)
    await asyncio.to_thread(kafka.kill)
    down.set()
    await senders
    sent_while_down = await publisher.publish(outgoing(topic, 2, partitions=2, start=1_000_000))
    assert sent_while_down.failed == [1_000_000, 1_000_001]
    await asyncio.to_thread(kafka.start)
    await eventually(lambda: publisher.healthy)
    await publish(publisher, outgoing(topic, 2, partitions=2, start=2_000_000))
    await publisher.stop()
    subscriber = await join(topic)
    polled = await collect(subscriber, lambda polled: b"v2000000" in values(polled) and b"v2000001" in values(polled))
    stored = values(polled)
    assert failed
    assert {b"v%d" % n for n in acknowledged} <= set(stored)
    assert b"v1000000" not in stored
    assert len(stored) == len(set(stored))


async def test_commits_and_questions_are_bounded(kafka: Broker, join: Join) -> None:
    """While the broker is frozen, commit() answers False and questions raise Unavailable, in their time."""
    topic = await new_topic(kafka.bootstrap_servers)
    subscriber = await join(topic)
    await eventually(lambda: subscriber.ready == {0})
    kafka.pause()
    try:
        began = time.monotonic()
        assert not await subscriber.commit({0: 0}, timeout_s=0.3)
        with pytest.raises(Unavailable):
            await subscriber.end_offsets([0], timeout_s=0.3)
        with pytest.raises(Unavailable):
            await subscriber.committed([0], timeout_s=0.3)
        assert (await subscriber.poll(timeout_ms=100)) == []
        assert time.monotonic() - began < 2.0
        assert subscriber.counts.commits_failed == 1
        began = time.monotonic()
        await subscriber.stop(2.0)
        assert time.monotonic() - began < 5.0
    finally:
        kafka.resume()


async def test_a_killed_broker_is_survived(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """After a kill -9 and restart of the broker reading goes on where it was, without a rebuild."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    await publish(publisher, outgoing(topic, 10, partitions=2))
    subscriber = await join(topic)
    await collect(subscriber, has(10))
    assert await subscriber.commit({0: 5, 1: 5})
    await asyncio.to_thread(kafka.kill)
    with pytest.raises(Unavailable):
        await subscriber.end_offsets([0], timeout_s=0.5)
    await asyncio.to_thread(kafka.start)
    fresh = Publisher(kafka.bootstrap_servers, "fresh")
    await fresh.start()
    await publish(fresh, outgoing(topic, 10, partitions=2, start=10))
    await fresh.stop()
    polled = await collect(subscriber, has(10))
    assert sorted(values(polled)) == sorted(b"v%d" % n for n in range(10, 20))
    assert subscriber.counts.rebuilds == 0


class Shared:
    """What all members of a group have stored together, and one sender's acknowledgements."""

    def __init__(self, topic: str, partitions: int) -> None:
        self.topic = topic
        self.reached = dict.fromkeys(range(partitions), 0)
        self.stored: set[bytes] = set()
        self.acknowledged: set[bytes] = set()
        self.is_over = asyncio.Event()

    async def send(self, publisher: Publisher) -> None:
        """Publish until it is over."""
        start = 0
        while not self.is_over.is_set():
            result = await publisher.publish(outgoing(self.topic, 20, partitions=len(self.reached), start=start))
            self.acknowledged.update(f"v{number}".encode() for number in result.acknowledged)
            start += 20
            await asyncio.sleep(0.1 if result.failed else 0.01)

    async def read(self, join: Join, instance_id: str) -> None:
        """Be a member: start where the group has stopped, insist on every offset, store each value once."""

        async def claim(partitions: set[int]) -> None:
            for partition in partitions:
                subscriber.seek(partition, self.reached[partition])

        subscriber = await join(self.topic, Recorder(claim), instance_id=instance_id)
        while True:
            with contextlib.suppress(Unavailable):
                for record in records(await subscriber.poll(max_records=50, timeout_ms=50)):
                    self.store(record)

    def store(self, record: Record) -> None:
        """Take one record; a jump over an offset is what must never happen."""
        assert record.offset <= self.reached[record.partition]
        if record.offset == self.reached[record.partition]:
            self.stored.add(record.value or b"")
            self.reached[record.partition] += 1

    async def goes_on(self) -> None:
        """Wait until a good number of new messages is acknowledged."""
        enough = len(self.acknowledged) + 200
        await eventually(lambda: len(self.acknowledged) > enough, timeout_s=60)


async def test_no_offset_is_skipped_whatever_the_broker_does(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """While the broker is frozen, killed and restarted, two members see each offset in order and all that was sent."""
    shared = Shared(await new_topic(kafka.bootstrap_servers, 4), 4)
    sender = asyncio.create_task(shared.send(publisher))
    readers = [asyncio.create_task(shared.read(join, f"member-{number}")) for number in range(2)]
    for harm, mend in ((kafka.pause, kafka.resume), (kafka.kill, kafka.start), (kafka.stop, kafka.start)):
        await shared.goes_on()
        await asyncio.to_thread(harm)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(mend)
    await shared.goes_on()
    shared.is_over.set()
    await sender
    await eventually(lambda: shared.acknowledged <= shared.stored or any(reader.done() for reader in readers))
    for reader in readers:
        reader.cancel()
    ends = await asyncio.gather(*readers, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 2
    assert shared.acknowledged <= shared.stored
