"""A lane keeps the order of its groups, joins what waits, and says what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from coordinator.engine.lane import AT_ONCE_MAX, Lane
from coordinator.kafka.batches import Published
from coordinator.kafka.records import Outgoing


class Clock:
    """The loop's own clock."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SlowBus:
    """Publishes when it is let."""

    healthy = True

    def __init__(self) -> None:
        self.groups: list[list[object]] = []
        self.go = asyncio.Event()

    async def rebuild(self) -> None:
        raise AssertionError("nothing is stuck here")

    async def publish(self, messages: Sequence[Outgoing]) -> Published:
        tokens = [message.token for message in messages]
        self.groups.append(tokens)
        await self.go.wait()
        return Published(tokens, [], [], None)


def record(token: int) -> Outgoing:
    return Outgoing("topic", 0, b"key", b"{}", [], token)


async def test_groups_that_wait_leave_together_and_in_order() -> None:
    """Ten groups cost three publications: two on their way, and one of all that came meanwhile."""
    bus, heard = SlowBus(), list[int]()
    lane = Lane[int](bus, Clock(), lambda contexts, _: heard.extend(contexts))
    for number in range(10):
        lane.put([record(number)], number)
        await asyncio.sleep(0)
    assert len(bus.groups) == AT_ONCE_MAX
    bus.go.set()
    await lane.drain(5)
    assert [token for group in bus.groups for token in group] == list(range(10))
    assert len(bus.groups) == AT_ONCE_MAX + 1
    assert heard == list(range(10))


class BrokenBus(SlowBus):
    """Raises instead of answering."""

    async def publish(self, messages: Sequence[Outgoing]) -> Published:
        raise RuntimeError(f"{len(messages)} messages met a bug")


async def test_a_publication_that_breaks_off_has_failed() -> None:
    """What is not known to be on Kafka is not left on its way for ever: the sweeper must be able to send it."""
    failed: list[object] = []
    lane = Lane[int](BrokenBus(), Clock(), lambda _, result: failed.extend(result.failed))
    lane.put([record(1), record(2)], 0)
    await lane.drain(5)
    assert failed == [1, 2]
