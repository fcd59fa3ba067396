"""Lifecycle events that may be missing on Kafka are published again, and the durable mark waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from coordinator.engine.lifecycle import MARGIN_MS, PAGE, Lifecycle
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.kafka.batches import Published
from coordinator.kafka.records import Outgoing
from sagas import definitions

NOW_MS = 1_795_440_497_196
SAGA = "01932a7c-0000-7000-8000-{:012x}"


class Bus:
    """Keeps what is published; `down` makes it fail."""

    healthy = True

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.down = False

    async def rebuild(self) -> None:
        raise AssertionError("nothing is stuck here")

    async def publish(self, messages: Sequence[Outgoing]) -> Published:
        if self.down:
            return Published([], [message.token for message in messages], [], "by the test")
        self.sent += messages
        return Published([message.token for message in messages], [], [], None)


class Log:
    """A log of so many transitions, one millisecond apart, of which each page is asked for by itself."""

    def __init__(self, count: int) -> None:
        self.asked: list[tuple[list[int], list[int]]] = []
        self.rows = [
            {
                "saga_id": SAGA.format(number),
                "version": 1,
                "part": 0,
                "event": "SagaStarted",
                "step_name": None,
                "status": "started",
                "at": datetime.fromtimestamp((NOW_MS + number) / 1000, UTC),
                "at_ms": NOW_MS + number,
                "definition_id": 1,
                "business_key": f"order-{number}",
            }
            for number in range(count)
        ]

    async def fetch(self, name: str, *arguments: Any) -> list[Any]:
        assert name == "log_since"
        parts, since_ms, at, saga_id, _, limit, until_ms = arguments
        self.asked.append((parts, since_ms))
        left = [row for row in self.rows if (row["at"], row["saga_id"]) > (at, saga_id) and row["at_ms"] < until_ms]
        return left[:limit]


class Clock:
    """Stands still."""

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody waits {seconds} s here")


def lifecycle(bus: Bus, log: Log) -> Lifecycle:
    registry = Registry(definitions)
    registry.bind({("OrderFulfillment", 1): 1})
    return Lifecycle(bus, Clock(), Topology("saga.", {"saga.events": 8}), registry, log)


async def test_a_long_log_is_repeated_page_by_page() -> None:
    """However much is owed, a page is read at a time, and every event is published once."""
    bus, log = Bus(), Log(2 * PAGE + 1)
    events = lifecycle(bus, log)
    events.claimed({0: NOW_MS})
    await events.settle([0], NOW_MS + 60_000)
    assert [record.key.decode() for record in bus.sent] == [row["saga_id"] for row in log.rows]
    assert len(log.asked) == 4


async def test_each_partition_is_read_since_its_own_mark() -> None:
    """One partition that was idle for a month does not make all others be read since then."""
    log = Log(1)
    events = lifecycle(Bus(), log)
    events.claimed({0: NOW_MS - 30 * 86_400_000, 1: NOW_MS})
    await events.settle([0, 1], NOW_MS + 60_000)
    assert log.asked[0] == ([0, 1], [NOW_MS - 30 * 86_400_000 - MARGIN_MS, NOW_MS - MARGIN_MS])


async def test_the_mark_waits_for_what_is_owed() -> None:
    """Events that Kafka did not take stay owed, and the mark stays before them until it has."""
    bus, log = Bus(), Log(3)
    events = lifecycle(bus, log)
    events.claimed({0: NOW_MS})
    bus.down = True
    await events.settle([0], NOW_MS + 60_000)
    assert events.through_ms <= NOW_MS
    bus.down = False
    await events.settle([0], NOW_MS + 60_000)
    assert len(bus.sent) == 3
    asked = len(log.asked)
    await events.settle([0], NOW_MS + 60_000)
    assert len(log.asked) == asked


@pytest.mark.parametrize("gave_up", [False, True])
async def test_a_batch_of_unknown_outcome_owes_its_events(gave_up: bool) -> None:
    """They are read from the log, unless the partition has another owner by then, who owes them."""
    bus, log = Bus(), Log(1)
    events = lifecycle(bus, log)
    events.unsure([0])
    if gave_up:
        events.gave_up([0])
    await events.settle([0], NOW_MS + 60_000)
    assert len(bus.sent) == (0 if gave_up else 1)
