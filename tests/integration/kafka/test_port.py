"""What the engine may expect of Kafka's clients, asked of the real ones and of the simulator's: they answer alike."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from coordinator.engine.ports import Bus, GroupInbox
from coordinator.errors import Unavailable
from coordinator.kafka import Polled, Publisher, Subscriber
from coordinator.kafka.records import OffsetReset
from deploy.local.broker import Broker as RealBroker
from tests.integration.kafka.helpers import Recorder, new_topic, outgoing, records
from tests.simulation.broker import Broker, Group
from tests.simulation.faults import RATES, Faults
from tests.simulation.kafka import SimulatedBus, SimulatedInbox
from tests.simulation.process import Life

PARTITIONS = 4
WAIT_S = 30.0


class Port:
    """A producer, a topic, and members of the group that reads it."""

    def __init__(self, bus: Bus, topic: str, join: Callable[[], GroupInbox]) -> None:
        self.bus = bus
        self.topic = topic
        self._join = join
        self._members: list[GroupInbox] = []

    async def member(self, listener: Recorder) -> GroupInbox:
        """Let another member join, and wait until it owns what the group gives it."""
        inbox = self._join()
        self._members.append(inbox)
        await inbox.start(listener)
        await self.until(inbox, lambda _: listener.count("claimed") > 0)
        return inbox

    async def until(self, inbox: GroupInbox, enough: Callable[[list[Polled]], bool]) -> list[Polled]:
        """Poll, all members in turn, until what one of them got is enough."""
        got: list[Polled] = []
        async with asyncio.timeout(WAIT_S):
            while not enough(got):
                for member in self._members:
                    try:
                        polled = await member.poll(100, 50)
                    except Unavailable:
                        continue
                    if member is inbox:
                        got += polled
        return got

    async def close(self) -> None:
        """Let all members go."""
        for member in self._members:
            await member.stop()


@pytest.fixture(params=["kafka", "simulated"])
async def port(request: pytest.FixtureRequest, kafka: RealBroker, publisher: Publisher) -> AsyncIterator[Port]:
    """Give the one, and then the other."""
    if request.param == "kafka":
        topic, group = await new_topic(kafka.bootstrap_servers, PARTITIONS), f"g{secrets.token_hex(4)}"
        real = Port(publisher, topic, lambda: Subscriber(kafka.bootstrap_servers, topic, group, "tests"))
        yield real
        await real.close()
        return
    chance = random.Random(1)
    broker = Broker({"topic": PARTITIONS}, Faults(chance, without=RATES), chance)
    group_of = Group(broker, PARTITIONS)
    running = [asyncio.create_task(group_of.run()), asyncio.create_task(group_of.look_after())]

    def ignore(reset: OffsetReset) -> None:
        raise AssertionError(reset)

    simulated = Port(
        SimulatedBus(broker, Life("one")),
        "topic",
        lambda: SimulatedInbox(broker, group_of, "topic", Life("one"), ignore),
    )
    yield simulated
    await simulated.close()
    for task in running:
        task.cancel()


def offsets(polled: list[Polled]) -> dict[int, list[int]]:
    """The offsets of what was polled, by partition."""
    found: dict[int, list[int]] = {}
    for record in records(polled):
        found.setdefault(record.partition, []).append(record.offset)
    return found


def has(count: int) -> Callable[[list[Polled]], bool]:
    """Whether so many records have come."""
    return lambda polled: len(records(polled)) >= count


async def test_what_is_published_is_read_in_order(port: Port) -> None:
    """Every token is acknowledged, and each partition brings its records once, in the order of publication."""
    inbox = await port.member(Recorder())
    result = await port.bus.publish(outgoing(port.topic, 40, partitions=PARTITIONS))
    assert (sorted(map(str, result.acknowledged)), result.failed, result.refused) == (
        sorted(map(str, range(40))),
        [],
        [],
    )
    assert port.bus.healthy
    polled = await port.until(inbox, has(40))
    assert offsets(polled) == {partition: list(range(10)) for partition in range(PARTITIONS)}
    assert [record.value for record in records(polled) if record.partition == 0] == [
        b"v%d" % n for n in range(0, 40, 4)
    ]
    assert [inbox.position(partition) for partition in range(PARTITIONS)] == [10] * PARTITIONS
    assert await inbox.end_offsets(range(PARTITIONS)) == dict.fromkeys(range(PARTITIONS), 10)
    assert await inbox.beginning_offsets([1]) == {1: 0}


async def test_reading_goes_on_where_the_listener_says(port: Port) -> None:
    """A seek counts for what is delivered next, backwards, too; of a partition that is not ours it is an error."""
    inbox = await port.member(Recorder())
    await port.bus.publish(outgoing(port.topic, 8))
    await port.until(inbox, has(8))
    inbox.seek(0, 6)
    assert offsets(await port.until(inbox, has(2))) == {0: [6, 7]}
    with pytest.raises(ValueError, match="not assigned"):
        inbox.seek(99, 0)
    assert inbox.position(99) is None


async def test_nothing_comes_before_it_is_claimed(port: Port) -> None:
    """While on_assigned runs no record is delivered; then everything is, from where it has sought."""
    go = asyncio.Event()
    inbox: list[GroupInbox] = []

    async def claim(partitions: set[int]) -> None:
        await go.wait()
        inbox[0].seek(0, 1)

    await port.bus.publish(outgoing(port.topic, 3))
    listener = Recorder(claim)
    inbox.append(port._join())
    port._members.append(inbox[0])
    await inbox[0].start(listener)
    early = await port.until(inbox[0], lambda _: listener.count("assigned") > 0)
    for _ in range(3):
        early += await inbox[0].poll(100, 50)
    assert early == []
    go.set()
    assert offsets(await port.until(inbox[0], has(2))) == {0: [1, 2]}


async def test_members_share_and_replace_each_other(port: Port) -> None:
    """A second member takes partitions from the first, which hands them back before; when it goes they come back."""
    first, second = Recorder(), Recorder()
    one = await port.member(first)
    assert first.events[0] == ("assigned", set(range(PARTITIONS)))
    two = await port.member(second)
    await port.until(one, lambda _: first.count("claimed") > 1)
    assert first.events[2] == ("revoked", set(range(PARTITIONS)))
    shares = [recorder.events[-1][1] for recorder in (first, second)]
    assert sorted(shares[0] | shares[1]) == list(range(PARTITIONS))
    assert not shares[0] & shares[1]
    assert await two.commit(dict.fromkeys(shares[1], 0))
    port._members.remove(two)
    leaving: Awaitable[None] = asyncio.create_task(two.stop())
    await port.until(one, lambda _: first.events[-1] == ("claimed", set(range(PARTITIONS))))
    await leaving
    assert second.events[-1] == ("revoked", shares[1])
