"""Timers in memory, the allowance for outages, and the database's clock between statements."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import msgspec

from coordinator.engine.cache import ActiveSaga
from coordinator.engine.clock import STEADY_AFTER_S, DatabaseClock, new_saga_id
from coordinator.engine.ownership import Owned
from coordinator.engine.ports import Inbox
from coordinator.engine.timers import RECOVERY_MS, Gate, Outages, Probe, Wheel
from coordinator.errors import Unavailable
from coordinator.saga.machine import begin
from coordinator.saga.model import Outcome
from sagas import definitions

HOUR = timedelta(hours=1)


class HandClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


class Dice:
    """Random bits from a fixed seed."""

    def __init__(self) -> None:
        self._random = random.Random(7)

    def roll(self) -> float:
        return self._random.random()

    def bits(self, count: int) -> int:
        return self._random.getrandbits(count)


class Ends:
    """An inbox of which only the end offsets are asked; `away` makes it unreachable."""

    def __init__(self) -> None:
        self.end = 10
        self.away = False

    async def end_offsets(self, partitions: Sequence[int], timeout_s: float = 1.0) -> dict[int, int]:
        if self.away:
            raise Unavailable(f"no broker within {timeout_s} s")
        return dict.fromkeys(partitions, self.end)

    def position(self, partition: int) -> int | None:
        del partition
        return None


def gate(clock: HandClock, ends: Ends) -> tuple[Gate, DatabaseClock]:
    now = DatabaseClock(clock)
    now.observe(5_000_000)
    inbox: Inbox = ends  # type: ignore[assignment]  # the gate asks nothing else of it
    return Gate(inbox, clock, now), now


def saga_issued_at(now_ms: int) -> ActiveSaga:
    definition = definitions[0]
    begun = begin(definition, "01932a7c-0000-7000-8000-000000000001", now_ms=now_ms)
    return ActiveSaga(begun.saga, definition, 1, 0, "order-1", None, b"{}", now_ms)


def test_the_wheel_gives_an_id_once_at_its_latest_setting() -> None:
    """A timer that was set anew does not ring at its old moment, and never twice."""
    wheel = Wheel()
    wheel.set("a", 100)
    wheel.set("b", 150)
    wheel.set("a", 300)
    assert wheel.pop(200, 10) == ["b"]
    assert wheel.pop(300, 10) == ["a"]
    assert wheel.pop(999, 10) == []


def test_the_wheel_gives_no_more_than_is_asked_for() -> None:
    """A mass expiry is taken in portions, earliest first."""
    wheel = Wheel()
    for number in range(5):
        wheel.set(str(number), number)
    assert wheel.pop(10, 2) == ["0", "1"]
    assert len(wheel) == 3


def test_an_outage_counts_only_for_commands_that_were_out() -> None:
    """A command issued well after it has its plain timeout; one issued before gets the outage and a while more."""
    outages = Outages()
    outages.add(1_000, 21_000)
    assert outages.allowance_ms(issued_ms=21_000 + RECOVERY_MS) == 0
    assert outages.allowance_ms(issued_ms=500) == 20_000 + RECOVERY_MS
    assert outages.allowance_ms(issued_ms=11_000) == 10_000 + RECOVERY_MS


async def test_the_gate_waits_until_the_partition_was_read_past_its_end_after_the_deadline() -> None:
    """An unread record could be the very reply that is missed."""
    clock, ends = HandClock(), Ends()
    the_gate, now = gate(clock, ends)
    await the_gate.ask([0], soon=False)
    due_ms = now.now_ms()
    assert the_gate.probe == Probe(due_ms, {0: 10})
    assert not the_gate.open_for(Owned(0, 1, 9), due_ms)
    assert the_gate.open_for(Owned(0, 1, 10), due_ms)
    assert not the_gate.open_for(Owned(0, 1, 10), due_ms + 1)


async def test_a_broker_that_was_away_moves_the_deadlines_of_what_was_out() -> None:
    """Twenty seconds without Kafka are twenty seconds in which nobody could answer."""
    clock, ends = HandClock(), Ends()
    the_gate, now = gate(clock, ends)
    await the_gate.ask([0], soon=False)
    active = saga_issued_at(now.now_ms())
    deadline_ms = active.saga.deadline_ms or 0
    ends.away = True
    for _ in range(20):
        clock.at += 1
        await the_gate.ask([0], soon=False)
    ends.away = False
    clock.at += 1
    await the_gate.ask([0], soon=False)
    assert the_gate.due_ms(active, deadline_ms) >= deadline_ms + 20_000


def test_who_is_asked_when_kafka_is_just_back_has_the_rest_of_the_while() -> None:
    """Participants need a moment to find the broker and their group again, whatever was sent before or after."""
    outages = Outages()
    outages.add(1_000, 21_000)
    assert outages.allowance_ms(issued_ms=21_000) == RECOVERY_MS
    assert outages.allowance_ms(issued_ms=24_000) == RECOVERY_MS - 3_000
    assert outages.allowance_ms(issued_ms=20_000) == RECOVERY_MS + 1_000


def test_no_time_counts_twice_for_outages_that_follow_each_other() -> None:
    """A broker that comes and goes puts a deadline off by the time during which it could not be met, and no more."""
    outages = Outages()
    for at_ms in (1_000, 5_000, 60_000):
        outages.add(at_ms, at_ms + 3_000)
    assert outages.allowance_ms(issued_ms=0) == (4_000 + 3_000 + RECOVERY_MS) + (3_000 + RECOVERY_MS)


async def test_an_outage_before_a_command_leaves_its_deadline_alone() -> None:
    """However long the others of its definition may take: what was sent after the outage has its plain timeout."""
    clock, ends = HandClock(), Ends()
    the_gate, now = gate(clock, ends)
    the_gate.outages.add(now.now_ms() - 30_000, now.now_ms() - RECOVERY_MS)
    active = saga_issued_at(now.now_ms())
    deadline_ms = active.saga.deadline_ms or 0
    patient = replace(active.definition.steps[1], timeout=HOUR, compensation_timeout=HOUR)
    steps = (active.definition.steps[0], patient, *active.definition.steps[2:])
    active.definition = replace(active.definition, steps=steps)
    assert the_gate.due_ms(active, deadline_ms) == deadline_ms
    the_gate.outages.add(now.now_ms() + 1_000, now.now_ms() + 5_000)
    assert the_gate.due_ms(active, deadline_ms) == deadline_ms + 4_000 + RECOVERY_MS


async def test_an_outage_does_not_make_a_pause_longer() -> None:
    """Nobody was to answer while a step backed off, so its next attempt goes out when it is due."""
    clock, ends = HandClock(), Ends()
    the_gate, now = gate(clock, ends)
    active = saga_issued_at(now.now_ms())
    deadline_ms = active.saga.deadline_ms or 0
    resting = msgspec.structs.replace(active.saga.steps[0], outcome=Outcome.BACKING_OFF)
    active.saga = msgspec.structs.replace(active.saga, steps=(resting, *active.saga.steps[1:]))
    the_gate.outages.add(now.now_ms() + 1_000, now.now_ms() + 5_000)
    assert the_gate.due_ms(active, deadline_ms) == deadline_ms


def beside(active: ActiveSaga, deadline_ms: int) -> ActiveSaga:
    """Let a second command of a saga be out, with a deadline of its own."""
    also = msgspec.structs.replace(active.saga.steps[1], outcome=Outcome.ISSUED, attempt=1, deadline_ms=deadline_ms)
    steps = (active.saga.steps[0], also, *active.saga.steps[2:])
    active.saga = msgspec.structs.replace(active.saga, steps=steps)
    return active


def test_a_gate_that_is_open_for_one_deadline_is_not_open_for_those_after_its_probe() -> None:
    """What had arrived when Kafka was asked is read: only deadlines until then count, however long Postgres takes."""
    the_gate, now = gate(HandClock(), Ends())
    active = saga_issued_at(now.now_ms())
    first_ms = active.saga.deadline_ms or 0
    active = beside(active, first_ms + 500)
    the_gate.probe = Probe(first_ms + 100, {})
    assert the_gate.counting_ms(active, first_ms) == first_ms + 100
    the_gate.probe = Probe(first_ms + 900, {})
    assert the_gate.counting_ms(active, first_ms) == first_ms + 900


def test_a_deadline_that_an_outage_has_put_off_does_not_count_with_that_of_another() -> None:
    """What was out when Kafka went has longer than what was sent when it was back, though both are due by the clock."""
    the_gate, now = gate(HandClock(), Ends())
    active = saga_issued_at(now.now_ms())
    first_ms = active.saga.deadline_ms or 0
    active = beside(active, first_ms + 500)
    patient = replace(active.definition.steps[1], timeout=HOUR)
    steps = (active.definition.steps[0], patient, *active.definition.steps[2:])
    active.definition = replace(active.definition, steps=steps)
    the_gate.outages.add(now.now_ms() - 30_000, now.now_ms() - RECOVERY_MS)
    the_gate.probe = Probe(first_ms + 900, {})
    assert the_gate.counting_ms(active, first_ms) == first_ms + 499
    the_gate.probe = Probe(first_ms + 500 + 30_000, {})
    assert the_gate.counting_ms(active, first_ms) == the_gate.probe.at_ms


async def test_an_outage_that_costs_us_our_partitions_is_an_outage_all_the_same() -> None:
    """The group may take the partitions away while Kafka is away; when they come back, no deadline passes for it."""
    clock, ends = HandClock(), Ends()
    the_gate, now = gate(clock, ends)
    await the_gate.ask([0], soon=False)
    active = saga_issued_at(now.now_ms())
    deadline_ms = active.saga.deadline_ms or 0
    ends.away = True
    clock.at += 2
    await the_gate.ask([0], soon=False)
    clock.at += 88
    the_gate.forget()
    ends.away = False
    await the_gate.ask([0], soon=False)
    assert the_gate.due_ms(active, deadline_ms) >= deadline_ms + 90_000


async def test_a_member_without_partitions_has_no_outage() -> None:
    """Not asking is no silence: hours without a partition put off no deadline."""
    clock, ends = HandClock(), Ends()
    the_gate, now = gate(clock, ends)
    await the_gate.ask([0], soon=False)
    active = saga_issued_at(now.now_ms())
    the_gate.forget()
    clock.at += 3_600
    await the_gate.ask([0], soon=False)
    assert the_gate.due_ms(active, 1_000) == 1_000


def test_a_command_that_was_sent_late_has_its_whole_time_from_then_on() -> None:
    """A restart sends what the process before it left, and the participant has it only since then."""
    the_gate, now = gate(HandClock(), Ends())
    active = saga_issued_at(now.now_ms())
    the_gate.sent_late(active.id, active.saga.version, 70_000)
    assert the_gate.due_ms(active, 1_000) == 71_000
    the_gate.sent_late(active.id, active.saga.version + 1, 70_000)
    assert the_gate.due_ms(active, 1_000) == 1_000, "that was another command of the saga"


def test_a_step_of_the_databases_clock_holds_the_timers_for_a_while() -> None:
    """A clock that jumped by a day must fire no timeout."""
    clock = HandClock()
    now = DatabaseClock(clock)
    assert not now.steady
    now.observe(1_000_000)
    assert now.steady
    now.observe(1_000_000 + 86_400_000)
    assert not now.steady
    assert now.steps == 1
    clock.at += STEADY_AFTER_S + 1
    assert now.steady


def test_saga_ids_are_version_7_uuids_in_order_of_time() -> None:
    """Inserts stay at the end of the index."""
    dice = Dice()
    ids = [new_saga_id(1_795_440_497_196 + moment, dice) for moment in range(50)]
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one) for one in ids)
