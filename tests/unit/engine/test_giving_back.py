"""What a decision took of a participant's room goes back when the decision is thrown away: nobody was asked."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from coordinator.engine.breaker import PROBES, BreakerState
from coordinator.errors import Unavailable
from coordinator.kafka.records import Outgoing
from coordinator.saga import events, machine
from coordinator.saga.effects import Moved
from sagas import definitions
from tests.unit.engine.test_queues import FIRST, SECOND, Held
from tests.unit.engine.test_worker import NOW_MS, _row

LATER_MS = NOW_MS + 3_600_000


class Tried(Held):
    """A worker whose second participant has been silent and is tried again."""

    async def begin(self, count: int, held: int = 0) -> None:
        """Start sagas that wait for their first step, behind so many that are held for the second one."""
        if held:
            await self.start_sagas(held)
            self.remember()
            await self.worker._hold_back()
        else:
            self.flow.timed_out([SECOND] * 20, NOW_MS)
        if count:  # a poll brings no partition without a record
            await self.take([self.start(f"tried-{number}") for number in range(count)])
        self.queues.now_ms = LATER_MS
        self.now.observe(LATER_MS)
        assert self.room() == PROBES

    def asked(self) -> list[Outgoing]:
        """The commands of the first step, of the sagas in memory."""
        sent = [message for message in self.bus.sent if message.topic == f"saga.{FIRST}.commands"]
        return [message for message in sent if self.cache.get(message.key.decode()) is not None]

    def room(self) -> int:
        """How many probes are left."""
        self.flow.holding(self.now.now_ms())
        return self.flow.room(SECOND)

    def state(self) -> BreakerState:
        """How the breaker stands."""
        return next(state.breaker for state in self.flow.states() if state.name == SECOND)


async def test_releases_that_lose_their_rows_spend_no_probes() -> None:
    """Three releases met rows that had moved: the breaker stays half open, and the next three are issued."""
    bench = Tried()
    await bench.begin(0, held=PROBES)
    bench.queues.refuse = 1_000
    await bench.worker._release(SECOND, PROBES)
    bench.queues.refuse = 0
    assert (bench.room(), bench.issued()) == (PROBES, 0)
    bench.now.observe(LATER_MS + 3_600_000)
    assert (bench.room(), bench.state()) == (PROBES, BreakerState.HALF_OPEN)
    await bench.worker._release(SECOND, PROBES)
    await bench.relay.drain(5)
    assert (bench.room(), bench.issued()) == (0, PROBES)


async def test_a_batch_that_lost_a_row_spends_its_probes_once() -> None:
    """A batch that is decided anew asks once."""
    bench = Tried()
    await bench.begin(1)
    bench.remember()
    bench.queues.refuse = 2
    await bench.take([bench.reply(command) for command in bench.asked()])
    assert (bench.room(), bench.issued()) == (PROBES - 1, 1)


async def test_a_second_look_spends_its_probes_once() -> None:
    """One saga of a batch was moved by somebody else, so that all of it is decided twice: each step asks once."""
    bench = Tried()
    await bench.begin(2)
    first, second = bench.asked()
    moved = bench.cache.get(second.key.decode())
    assert moved is not None
    step = definitions[0].steps[0]
    event = events.StepCompleted(f"{moved.id}:1:{step.name}:action", step.name, step.participant, 1, msgspec.Raw(b"{}"))
    decision = machine.decide(definitions[0], moved.saga, event, now_ms=NOW_MS, roll=0.5)
    assert isinstance(decision, Moved)
    bench.queues.saved = [_row(decision.saga)]
    early = bench.reply(second, "create_shipment", "shipping", {"shipment_id": "s-1"})
    await bench.take([bench.reply(first), early])
    assert [row[0] for row in bench.queues.batches[-1].moves] == [first.key.decode()]
    assert bench.room() == PROBES - 1


async def test_a_second_look_that_is_not_to_be_had_spends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres is away between the two looks: the records are read again, and until then nobody was asked."""
    bench = Tried()
    await bench.begin(2)
    first, second = bench.asked()
    early = bench.reply(second, "create_shipment", "shipping", {"shipment_id": "s-1"})

    async def away(_saga_ids: object) -> list[object]:
        raise Unavailable("by the test")

    monkeypatch.setattr(bench.queues, "load", away)
    await bench.take([bench.reply(first), early])
    assert bench.room() == PROBES


async def test_what_was_decided_ahead_in_vain_spends_nothing() -> None:
    """The batch before is of unknown outcome, so that the one behind it is read again."""
    bench = Tried()
    await bench.begin(1)
    replies = [bench.reply(command) for command in bench.asked()]
    bench.queues.go.clear()
    bench.queues.began.clear()
    await bench.worker.handle([(0, [bench.start("before")])])
    behind = asyncio.create_task(bench.worker.handle([(0, replies)]))  # type: ignore[list-item]
    await bench.queues.began.wait()
    bench.queues.lose = 1
    bench.queues.go.set()
    await behind
    await bench.worker.land()
    assert bench.room() == PROBES
