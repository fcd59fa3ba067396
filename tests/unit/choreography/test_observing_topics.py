"""What an observer reads: which records of a topic belong to which saga, and when its topics are watched."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import msgspec

from coordinator.choreography.choreographies import Choreographies
from coordinator.choreography.observer import ChoreographyObserver, EventTopic
from coordinator.choreography.reading import EventArrival, read
from coordinator.engine.reading import BadArrival
from coordinator.kafka import Observation
from coordinator.saga.choreography import ChoreographyDefinition, ExpectedEvent
from coordinator.saga.definition import minutes
from coordinator.saga.model import SagaStatus
from coordinator.wire.cloudevents import message_headers

POINTS = ChoreographyDefinition(
    "Points",
    1,
    (
        ExpectedEvent("OrderCreated", source="shop", then=("PointsGiven",), within=minutes(1)),
        ExpectedEvent("PointsGiven", source="loyalty", ends=SagaStatus.COMPLETED),
    ),
    correlation="member_id",
)
ORDERS = replace(POINTS, name="Orders", correlation="order_id")
LATE_S = 600
CARDS = replace(POINTS, name="Cards", correlation="card_id")


class Record(msgspec.Struct):
    """A Kafka record."""

    value: bytes
    headers: list[tuple[str, bytes]]
    topic: str = "shop.events"
    partition: int = 0
    offset: int = 7
    key: bytes | None = None
    timestamp: int = 0


def test_a_choreography_takes_an_event_from_no_other() -> None:
    """Who finds no business key in a shared event has it set aside, once; the saga of whoever does goes on."""
    record = Record(b'{"order_id":"o-1"}', message_headers("OrderCreated", "i", "shop", None, 0))
    arrivals, foreign = read([(0, [record])], "shop", record.topic, Choreographies((CARDS, ORDERS, POINTS)))
    taken = [each for each in arrivals if isinstance(each, EventArrival)]
    bad = [each for each in arrivals if isinstance(each, BadArrival)]
    assert [each.key for each in taken] == [("Orders", "o-1")]
    assert [(each.offset, each.reason, each.record) for each in bad] == [(7, "schema", record)]
    assert foreign == 0


class SlowSubscriber:
    """A subscriber whose first connection takes its time, and which breaks when told to."""

    def __init__(self) -> None:
        self.may_connect = asyncio.Event()
        self.connected = asyncio.Event()
        self.rebuilt = asyncio.Event()
        self.broken: str | None = "there is no connection to Kafka"
        self.rebuilds = 0
        self.assigned = self.ready = frozenset[int]()

    async def start(self, _listener: object) -> None:
        await self.may_connect.wait()
        self.broken = None
        self.connected.set()

    async def observe(self) -> Observation:
        return Observation(positions={}, end_offsets={}, broken=self.broken)

    async def rebuild(self) -> None:
        self.rebuilds += 1
        self.broken = None
        self.rebuilt.set()

    async def poll(self, _max_records: int, _timeout_ms: int) -> list[object]:
        await asyncio.sleep(0)
        return []

    async def stop(self) -> None: ...


class SwiftClock:
    """A clock whose sleeps are over at once; `is_late` when many of them are."""

    def __init__(self) -> None:
        self.is_late = asyncio.Event()
        self._now_s = 0.0

    def monotonic(self) -> float:
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        self._now_s += seconds
        if self._now_s > LATE_S:
            self.is_late.set()
        await asyncio.sleep(0)


class Time:
    """The parts of a store and a recorder that know the time."""

    async def settle_doubts(self) -> None:
        """Everything was heard of."""

    async def now_ms(self) -> int:
        return 0

    @property
    def now(self) -> Time:
        return self

    def observe(self, now_ms: int) -> None: ...


async def test_a_topic_is_watched_when_its_first_connection_stands() -> None:
    """A connection that is still being made is nobody's stall; one that breaks afterwards is replaced."""
    subscriber, clock, stopping = SlowSubscriber(), SwiftClock(), asyncio.Event()
    topic = EventTopic("shop", "shop.events", 1, cast("Any", subscriber))
    observer = ChoreographyObserver(*cast("Any", (Time(), None, [topic], None, Time(), None, clock)))
    running = asyncio.create_task(observer.run(stopping))
    await asyncio.wait_for(clock.is_late.wait(), 5)
    assert subscriber.rebuilds == 0
    subscriber.may_connect.set()
    await asyncio.wait_for(subscriber.connected.wait(), 5)
    subscriber.broken = "the fetcher has died"
    await asyncio.wait_for(subscriber.rebuilt.wait(), 5)
    stopping.set()
    await running
