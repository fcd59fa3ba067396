"""What poll(), seek(), commit() and the listener promise, against a real broker."""

from __future__ import annotations

import asyncio
import time

import pytest

from coordinator.errors import ConfigurationError
from coordinator.kafka import OffsetReset, Publisher, Subscriber
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


async def test_a_new_group_starts_at_the_earliest_and_goes_on_after_its_commit(
    kafka: Broker, publisher: Publisher, join: Join
) -> None:
    """Without a commit reading starts at the first record; the next member starts where the last commit says."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    await publish(publisher, outgoing(topic, 20, partitions=2))
    first = await join(topic)
    assert len(records(await collect(first, has(20)))) == 20
    assert first.position(0) == 10
    assert await first.commit({0: 10, 1: 4})
    assert await first.committed([0, 1]) == {0: 10, 1: 4}
    await first.stop()
    polled = await collect(await join(topic), has(6))
    assert values(polled) == [b"v%d" % n for n in range(9, 20, 2)]


async def test_nothing_is_delivered_or_skipped_while_a_partition_is_being_claimed(
    kafka: Broker, publisher: Publisher, join: Join
) -> None:
    """A slow on_assigned holds its records back, heartbeats go on meanwhile, and afterwards all records come."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    await publish(publisher, outgoing(topic, 10, partitions=2))
    claimed = asyncio.Event()

    async def claim(partitions: set[int]) -> None:
        await claimed.wait()

    listener = Recorder(claim)
    subscriber = await join(topic, listener)
    await eventually(lambda: subscriber.assigned == {0, 1})
    longer_than_a_session_s = 7.0
    began = time.monotonic()
    while time.monotonic() - began < longer_than_a_session_s:
        assert await subscriber.poll(timeout_ms=100) == []
    assert subscriber.ready == frozenset()
    claimed.set()
    assert sorted(values(await collect(subscriber, has(10)))) == sorted(b"v%d" % n for n in range(10))
    assert listener.events == [("assigned", {0, 1}), ("claimed", {0, 1})]


async def test_the_listener_decides_where_reading_starts(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """seek() inside on_assigned is obeyed exactly, whatever had been fetched before."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    await publish(publisher, outgoing(topic, 20, partitions=2))

    async def claim(partitions: set[int]) -> None:
        await asyncio.sleep(0)
        for partition in partitions:
            subscriber.seek(partition, 7)

    subscriber = await join(topic, Recorder(claim))
    polled = await collect(subscriber, has(6))
    assert [record.offset for record in records(polled) if record.partition == 0] == [7, 8, 9]


async def test_seek_at_any_moment_is_obeyed(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """Between a fetch and its delivery seek() wins: the next record is the one that was asked for."""
    topic = await new_topic(kafka.bootstrap_servers)
    await publish(publisher, outgoing(topic, 50))
    subscriber = await join(topic)
    await collect(subscriber, has(1))
    for offset in (3, 40, 0, 49, 12):
        fetching = asyncio.create_task(subscriber.poll(timeout_ms=200))
        await asyncio.sleep(0)
        subscriber.seek(0, offset)
        await fetching
        polled = await collect(subscriber, has(1))
        assert records(polled)[0].offset == offset
    with pytest.raises(ValueError, match="not assigned"):
        subscriber.seek(5, 0)


async def test_what_a_listener_raises_is_raised_by_poll(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """An exception of on_assigned is not swallowed: poll() raises it, and delivers nothing of those partitions."""
    topic = await new_topic(kafka.bootstrap_servers)
    await publish(publisher, outgoing(topic, 1))

    async def claim(partitions: set[int]) -> None:
        raise RuntimeError("the claim failed")

    listener = Recorder(claim)
    subscriber = await join(topic, listener)
    with pytest.raises(RuntimeError, match="the claim failed"):
        await collect(subscriber, has(1))
    assert await subscriber.poll(timeout_ms=100) == []
    listener._claim = None
    await subscriber.rebuild()
    assert values(await collect(subscriber, has(1))) == [b"v0"]


async def test_a_cancelled_poll_costs_nothing(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """Cancelling poll() loses no record and does not spoil the client."""
    topic = await new_topic(kafka.bootstrap_servers)
    subscriber = await join(topic)
    await eventually(lambda: subscriber.ready == {0})
    seen: list[bytes] = []
    for n in range(20):
        polling = asyncio.create_task(subscriber.poll(timeout_ms=1000))
        await asyncio.sleep(0.001 * n)
        if n % 5 == 0:
            await publish(publisher, outgoing(topic, 1, start=n))
        polling.cancel()
        await asyncio.wait([polling])
        seen += [] if polling.cancelled() else values(polling.result())
    seen += values(await collect(subscriber, lambda polled: b"v15" in seen + values(polled)))
    assert seen == [b"v0", b"v5", b"v10", b"v15"]


async def test_an_offset_beyond_the_end_restarts_at_the_earliest(
    kafka: Broker, publisher: Publisher, join: Join
) -> None:
    """An offset that is not in the log leads to the earliest record and is reported, never to a silent jump."""
    topic = await new_topic(kafka.bootstrap_servers)
    await publish(publisher, outgoing(topic, 5))
    resets: list[OffsetReset] = []

    async def claim(partitions: set[int]) -> None:
        subscriber.seek(0, 1000)

    subscriber = await join(topic, Recorder(claim), on_reset=resets.append)
    assert values(await collect(subscriber, has(5))) == [b"v%d" % n for n in range(5)]
    assert resets == [OffsetReset(topic, 0, 1000, 0)]
    assert subscriber.counts.resets == 1


async def test_paused_partitions_stay_paused_across_a_rebalance(
    kafka: Broker, publisher: Publisher, join: Join
) -> None:
    """pause() holds records back, also when the partitions come anew, until resume()."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    subscriber = await join(topic)
    await eventually(lambda: subscriber.ready == {0, 1})
    subscriber.pause(0)
    await publish(publisher, outgoing(topic, 10, partitions=2))
    assert {r.partition for r in records(await collect(subscriber, has(5)))} == {1}
    await subscriber.rebuild()
    await eventually(lambda: subscriber.ready == {0, 1})
    assert {r.partition for r in records(await collect(subscriber, has(5)))} == {1}
    subscriber.resume(0)
    assert values(await collect(subscriber, has(5)), 0) == [b"v0", b"v2", b"v4", b"v6", b"v8"]


async def test_a_commit_for_a_partition_of_somebody_else_is_left_out(kafka: Broker, join: Join) -> None:
    """commit() stores what is ours and says False when that was not all."""
    topic = await new_topic(kafka.bootstrap_servers)
    subscriber = await join(topic)
    await eventually(lambda: subscriber.ready == {0})
    assert not await subscriber.commit({0: 0, 9: 5})
    assert await subscriber.committed([0]) == {0: 0}


async def test_a_missing_topic_is_a_wrong_setting(kafka: Broker) -> None:
    """Subscribing to a topic that does not exist says so, and does not create it."""
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="does not exist"):
            await Subscriber(kafka.bootstrap_servers, "absent", "g", "tests").start(Recorder(), timeout_s=0.5)


async def test_two_connections_at_once_are_one_member(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """Whoever comes second to connect finds that it is done: no forgotten member keeps partitions that nobody reads."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    listener = Recorder()
    subscriber = await join(topic, listener)
    await asyncio.gather(subscriber.rebuild(), subscriber.start(listener))
    await publish(publisher, outgoing(topic, 20, partitions=2))
    assert len(records(await collect(subscriber, has(20)))) == 20
    assert subscriber.assigned == {0, 1}
