"""The worker lets held sagas queue and issues what is next; what is lost or left over on the way does no harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from coordinator.engine.queues import LEFT_OVER_MAX
from coordinator.errors import Unavailable
from coordinator.store.postgres import Hold
from sagas import definitions
from tests.unit.engine.test_worker import NOW_MS, Bench, SlowStore, _row

FIRST, SECOND = definitions[0].participants[:2]


class QueueStore(SlowStore):
    """A store with queues; `away` makes it unreachable for them."""

    def __init__(self) -> None:
        super().__init__()
        self.go.set()
        self.queue: list[Hold] = []
        self.asked: list[int] = []
        self.away = False

    async def hold(self, holds: Sequence[Hold]) -> list[str]:
        if self.away:
            raise Unavailable("by the test")
        self.queue += holds
        return [hold.participant for hold in holds]

    async def held(self, participant: str, parts: Sequence[int], limit: int) -> list[str]:
        assert list(parts) == [0]
        self.asked.append(limit)
        return sorted(hold.saga_id for hold in self.queue if hold.participant == participant)[:limit]

    async def release(
        self, participant: str, saga_ids: Sequence[str], before_ms: int, epochs: Mapping[int, int]
    ) -> int:
        assert before_ms >= NOW_MS
        assert epochs == {0: 1}
        before = len(self.queue)
        self.queue = [one for one in self.queue if one.participant != participant or one.saga_id not in saga_ids]
        return before - len(self.queue)


class Held(Bench):
    """A worker with sagas whose second step is held."""

    def __init__(self) -> None:
        self.queues = QueueStore()
        super().__init__(self.queues)

    async def start_sagas(self, count: int) -> None:
        """Start sagas, let the second participant fall silent, and answer the first step."""
        await self.take([self.start(str(number)) for number in range(count)])
        self.flow.timed_out([SECOND] * 20, NOW_MS)
        first = [message for message in self.bus.sent if message.topic == f"saga.{FIRST}.commands"]
        await self.take([self.reply(command) for command in first])

    async def take(self, records: list[object]) -> None:
        """Let records arrive, and wait until what follows is done."""
        await self.worker.handle([(0, records)])  # type: ignore[list-item]  # as the inbox gives them
        await self.worker.land()
        await self.relay.drain(5)

    def remember(self) -> None:
        """Let the store know the sagas as they are in memory now."""
        self.queues.saved = [_row(active.saga) for active in self.cache.all()]

    def issued(self) -> int:
        """How many commands the second participant was sent."""
        return sum(message.topic == f"saga.{SECOND}.commands" for message in self.bus.sent)


async def test_held_sagas_queue_and_leave_memory() -> None:
    """Nothing is issued; each is in its queue at the version that was decided, without a deadline."""
    bench = Held()
    await bench.start_sagas(3)
    versions = {active.id: active.saga.version for active in bench.cache.all()}
    await bench.worker._hold_back()
    assert bench.issued() == 0
    assert {hold.saga_id: hold.version for hold in bench.queues.queue} == versions
    assert {(hold.participant, hold.deadline_ms) for hold in bench.queues.queue} == {(SECOND, None)}
    assert bench.cache.all() == []


async def test_those_that_are_next_are_issued_and_leave_the_queue() -> None:
    """As many as there is room for, oldest first; the others stay where they are."""
    bench = Held()
    await bench.start_sagas(5)
    bench.remember()
    await bench.worker._hold_back()
    oldest = sorted(hold.saga_id for hold in bench.queues.queue)[:2]
    bench.flow.heard([SECOND], NOW_MS)
    bench.flow.counted({}, NOW_MS, inherited=False)
    await bench.worker._release(SECOND, 2)
    await bench.relay.drain(5)
    sent = [message.key.decode() for message in bench.bus.sent if message.topic == f"saga.{SECOND}.commands"]
    assert sorted(sent) == oldest
    assert not set(oldest) & {hold.saga_id for hold in bench.queues.queue}
    assert len(bench.queues.queue) == 3


async def test_without_room_they_keep_their_places() -> None:
    """The breaker has opened again in between: nothing is issued, nobody leaves, nothing stays in memory."""
    bench = Held()
    await bench.start_sagas(3)
    bench.remember()
    await bench.worker._hold_back()
    await bench.worker._release(SECOND, 3)
    assert bench.issued() == 0
    assert len(bench.queues.queue) == 3
    assert bench.cache.all() == []


async def test_a_release_that_loses_its_row_keeps_its_place() -> None:
    """Somebody else has written the saga: it stays in the queue and is looked at again."""
    bench = Held()
    await bench.start_sagas(1)
    bench.remember()
    await bench.worker._hold_back()
    bench.flow.heard([SECOND], NOW_MS)
    bench.queues.refuse = 1
    await bench.worker._release(SECOND, 1)
    assert bench.issued() == 0
    assert len(bench.queues.queue) == 1


async def test_what_is_left_over_in_a_queue_is_cleared_away() -> None:
    """Sagas that are held no longer go, and the next look is wide: thousands of them hold up nobody."""
    bench = Held()
    bench.queues.queue = [Hold(f"01932a7c-0000-7000-8000-{number:012}", 1, SECOND, 0, None) for number in range(10)]
    for _ in range(3):
        await bench.worker._release(SECOND, 2)
    assert bench.queues.asked == [2, LEFT_OVER_MAX, LEFT_OVER_MAX]
    assert bench.queues.queue == []


async def test_a_saga_that_does_not_reach_its_queue_stays_where_timers_find_it() -> None:
    """Postgres is away for a moment: the saga's row wakes at once, and it is held again."""
    bench = Held()
    await bench.start_sagas(1)
    [active] = bench.cache.all()
    bench.queues.away = True
    with pytest.raises(Unavailable):
        await bench.worker._hold_back()
    assert bench.cache.all() == [active]
    bench.queues.away = False
    bench.let_through([active])
    await bench.worker._fire([active])
    await bench.worker._hold_back()
    assert [hold.saga_id for hold in bench.queues.queue] == [active.id]
