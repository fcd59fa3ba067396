"""A client that stands still in silence is noticed and replaced."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from coordinator.kafka import Action, OffsetReset, Polled, Publisher, Watchdog
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
    values,
)


async def test_a_dead_fetch_task_is_noticed_and_replaced(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """When aiokafka's fetch task dies, which shows as "nothing new" for ever, the watchdog has the client rebuilt."""
    topic = await new_topic(kafka.bootstrap_servers)
    listener = Recorder()
    subscriber = await join(topic, listener)
    await publish(publisher, outgoing(topic, 5))
    await collect(subscriber, has(5))
    assert subscriber._reader is not None
    subscriber._reader.consumer._fetcher._fetch_task.cancel()
    await publish(publisher, outgoing(topic, 5, start=5))
    await eventually(lambda: subscriber.broken is not None)
    verdict = Watchdog().observe(0.0, await subscriber.observe())
    assert verdict.action is Action.REBUILD
    assert "fetch_task" in verdict.reason
    await subscriber.rebuild()
    await eventually(lambda: subscriber.ready == {0})
    subscriber.seek(0, 5)
    assert values(await collect(subscriber, has(5))) == [b"v%d" % n for n in range(5, 10)]
    assert [name for name, _ in listener.events] == ["assigned", "claimed", "revoked", "assigned", "claimed"]
    assert subscriber.broken is None
    assert subscriber.counts.rebuilds == 1


async def test_a_fetch_that_never_comes_is_made_by_hand(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """A partition that aiokafka does not fetch although it is behind is read by hand at the second look."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    subscriber = await join(topic)
    await eventually(lambda: subscriber.ready == {0, 1})
    assert subscriber._reader is not None
    subscriber._reader.consumer.pause(*subscriber._reader.consumer.assignment())  # behind our back
    await publish(publisher, outgoing(topic, 10, partitions=2))
    polled: list[Polled] = []
    while len(values(polled)) < 10:
        await subscriber.observe()
        for _ in range(3):
            polled += await subscriber.poll(timeout_ms=20)
    assert sorted(values(polled)) == sorted(b"v%d" % n for n in range(10))


async def test_a_healthy_reader_is_left_alone(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """The watchdog finds nothing wrong with a reader that has read everything."""
    topic = await new_topic(kafka.bootstrap_servers)
    await publish(publisher, outgoing(topic, 5))
    subscriber = await join(topic)
    await collect(subscriber, has(5))
    seen = await subscriber.observe()
    assert (seen.positions, seen.end_offsets, seen.broken) == ({0: 5}, {0: 5}, None)
    dog = Watchdog(stall_s=1)
    assert {dog.observe(now, seen).action for now in (0.0, 10.0, 20.0)} == {Action.OK}


async def test_messages_that_retention_has_removed_are_reported(
    kafka: Broker, publisher: Publisher, join: Join
) -> None:
    """When the wanted offset has been deleted, reading goes on at the earliest one left, and that is reported."""
    topic = await new_topic(kafka.bootstrap_servers)
    await publish(publisher, outgoing(topic, 10))
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=6)})
    await admin.close()
    resets: list[OffsetReset] = []

    async def claim(partitions: set[int]) -> None:
        subscriber.seek(0, 2)

    subscriber = await join(topic, Recorder(claim), on_reset=resets.append)
    assert values(await collect(subscriber, has(4))) == [b"v6", b"v7", b"v8", b"v9"]
    assert resets == [OffsetReset(topic, 0, 2, 6)]
