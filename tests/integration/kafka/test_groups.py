"""What holds when several members share a group, or claim to be the same one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coordinator.errors import ConfigurationError, Unavailable
from coordinator.kafka import Publisher, Subscriber
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


async def test_a_rebalance_loses_nothing(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """While members come and go under load, each record is delivered to somebody; per partition offsets have no gap."""
    topic = await new_topic(kafka.bootstrap_servers, 6)
    delivered: dict[int, set[int]] = {partition: set() for partition in range(6)}
    stop = asyncio.Event()

    async def drive(subscriber: Subscriber) -> None:
        while not stop.is_set():
            try:
                polled = await subscriber.poll(max_records=50, timeout_ms=50)
            except Unavailable:
                continue
            for record in records(polled):
                delivered[record.partition].add(record.offset)
            await subscriber.commit({p: subscriber.position(p) or 0 for p in subscriber.ready})

    async def load() -> None:
        for start in range(0, 3000, 60):
            await publish(publisher, outgoing(topic, 60, partitions=6, start=start))
            await asyncio.sleep(0.02)

    first = await join(topic, request_timeout_ms=1000)
    drives = [asyncio.create_task(drive(first))]
    loading = asyncio.create_task(load())
    listener = Recorder()
    second = await join(topic, listener, request_timeout_ms=1000)
    drives.append(asyncio.create_task(drive(second)))
    await eventually(lambda: len(second.ready) == 3 and len(first.ready) == 3)
    third = await join(topic)
    drives.append(asyncio.create_task(drive(third)))
    await eventually(lambda: len(third.ready) == 2 and len(first.ready) == 2)
    await second.stop()
    await eventually(lambda: len(first.ready) + len(third.ready) == 6)
    await loading
    await eventually(lambda: all(delivered[p] == set(range(500)) for p in range(6)))
    stop.set()
    await asyncio.gather(*drives, return_exceptions=True)
    assert listener.events[-1][0] == "revoked"


async def test_a_slow_farewell_does_not_break_the_group(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """on_revoked may take longer than a request: the newcomer waits, then both get their share and every record."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    await publish(publisher, outgoing(topic, 10, partitions=2))

    class Slow(Recorder):
        async def on_revoked(self, partitions: set[int]) -> None:
            await asyncio.sleep(2.0)
            await first.commit(dict.fromkeys(partitions, 3))
            await super().on_revoked(partitions)

    slow = Slow()
    first = await join(topic, slow, request_timeout_ms=1000)
    await collect(first, has(10))
    second = await join(topic, request_timeout_ms=1000)
    polled: list[Any] = []

    async def drive(subscriber: Subscriber) -> None:
        while len(records(polled)) < 4:
            polled.extend(await subscriber.poll(timeout_ms=50))

    await asyncio.gather(drive(first), drive(second))
    assert sorted(values(polled)) == [b"v6", b"v7", b"v8", b"v9"]
    assert len(first.ready) == len(second.ready) == 1
    assert slow.events[2] == ("revoked", {0, 1})


async def test_a_claim_that_comes_too_late_is_nobodys_fault(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """An on_assigned whose partitions are taken away while it runs is followed by on_revoked; its error is dropped."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    await publish(publisher, outgoing(topic, 4, partitions=2))
    slow = asyncio.Event()

    async def claim(partitions: set[int]) -> None:
        if listener.count("assigned") == 1:
            await slow.wait()
        for partition in partitions:
            first.seek(partition, 0)

    listener = Recorder(claim)
    first = await join(topic, listener)
    await eventually(lambda: listener.count("assigned") == 1)
    second = await join(topic)
    await eventually(lambda: first.assigned == frozenset())
    slow.set()
    await eventually(lambda: len(first.ready) == 1 and len(second.ready) == 1)
    assert len(values(await collect(first, has(2)))) == 2
    assert [name for name, _ in listener.events] == ["assigned", "revoked", "assigned", "claimed"]


async def test_a_static_member_returns_to_its_partitions_at_once(
    kafka: Broker, publisher: Publisher, join: Join
) -> None:
    """A member with an instance id that is stopped and started within its session needs no rebalance of the others."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    stays = Recorder()
    first = await join(topic, stays, instance_id="a")
    second = await join(topic, instance_id="b")
    polling = asyncio.create_task(collect(first, has(10**6)))
    await eventually(lambda: len(first.ready) == 1 and len(second.ready) == 1)
    before = stays.count("revoked")
    await second.stop()
    again = await join(topic, instance_id="b")
    await eventually(lambda: len(again.ready) == 1, timeout_s=5)
    assert stays.count("revoked") == before
    polling.cancel()


async def test_two_processes_with_one_instance_id_do_not_fight(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """The older of two members with the same instance id ends with a sentence; the newer one goes on undisturbed."""
    topic = await new_topic(kafka.bootstrap_servers)
    older = await join(topic, instance_id="same")
    await eventually(lambda: older.ready == {0})
    listener = Recorder()
    newer = await join(topic, listener, instance_id="same")
    await eventually(lambda: newer.ready == {0})
    with pytest.raises(ConfigurationError, match=r"duplicate instance id.*same"):
        await collect(older, has(1), timeout_s=10)
    with pytest.raises(ConfigurationError, match="duplicate instance id"):
        await older.poll(timeout_ms=50)
    await publish(publisher, outgoing(topic, 3))
    assert values(await collect(newer, has(3))) == [b"v0", b"v1", b"v2"]
    assert listener.count("assigned") == 1


async def test_a_member_that_is_in_doubt_about_itself_joins_again(
    kafka: Broker, publisher: Publisher, join: Join
) -> None:
    """A static member that has lost its member id without being displaced is no duplicate: it joins again."""
    topic = await new_topic(kafka.bootstrap_servers)
    listener = Recorder()
    subscriber = await join(topic, listener, instance_id="sleepy")
    await eventually(lambda: subscriber.ready == {0})
    assert subscriber._reader is not None
    subscriber._reader.consumer._coordinator.reset_generation()  # what it does on several errors
    await publish(publisher, outgoing(topic, 1))
    assert values(await collect(subscriber, has(1))) == [b"v0"]
