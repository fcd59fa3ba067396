"""Flow control says who takes nothing new at present, and forgets no slot."""

from __future__ import annotations

from typing import Any

import msgspec

from coordinator.engine.breaker import BreakerState
from coordinator.engine.cache import ActiveSaga
from coordinator.engine.flow import Flow
from coordinator.engine.slots import DOUBTFUL_AFTER_MS, held_steps
from coordinator.saga import events
from coordinator.saga.effects import IssueCommand, Moved
from coordinator.saga.machine import begin, decide, due
from coordinator.saga.model import Direction, SagaStatus, Undo
from coordinator.settings import FlowSettings
from sagas import definitions

ORDER = definitions[0]
NAMES = ORDER.participants
FIRST, SECOND = NAMES[:2]
PARTS = frozenset(range(4))
NOW_MS = 1_795_440_497_196


def flow(**settings: Any) -> Flow:
    """Flow control that owns all of four partitions."""
    made = Flow(FlowSettings(**settings), NAMES)
    made.own(PARTS, len(PARTS))
    return made


def started(flow: Flow, number: int = 1, part: int = 0) -> ActiveSaga:
    """Begin a saga as the engine does."""
    held = flow.holding(NOW_MS)
    moved = begin(ORDER, f"01932a7c-0000-7000-8000-{number:012}", now_ms=NOW_MS, held=held)
    active = ActiveSaga(moved.saga, ORDER, 1, part, f"order-{number}", None, b"{}", NOW_MS)
    if held:
        flow.moved(active, moved)
    return active


def move(flow: Flow, active: ActiveSaga, event: events.Event) -> Moved:
    """Let something happen to a saga, as the engine does."""
    held = flow.holding(NOW_MS)
    decision = decide(ORDER, active.saga, event, now_ms=NOW_MS, roll=0.5, held=held)
    assert isinstance(decision, Moved)
    if held:
        flow.moved(active, decision)
    active.saga = decision.saga
    return decision


def answer(active: ActiveSaga, position: int) -> events.StepCompleted:
    """The success of a step."""
    step = ORDER.steps[position]
    return events.StepCompleted(f"{active.id}:1:{step.name}:action", step.name, step.participant, 1, msgspec.Raw(b"{}"))


def silence(flow: Flow, name: str = SECOND) -> None:
    """Open the breaker of a participant."""
    flow.timed_out([name] * 20, NOW_MS)


def test_without_limits_and_troubles_nobody_is_even_asked() -> None:
    """The hot path pays nothing: there is no container to look into."""
    assert flow().holding(NOW_MS) == ()


def test_a_step_whose_participant_is_silent_waits_without_a_timeout() -> None:
    """It is not issued, no timeout runs, and however often it is asked again nothing comes of it but waiting."""
    control = flow()
    active = started(control)
    silence(control)
    decision = move(control, active, answer(active, 0))
    assert decision.effects == ()
    assert held_steps(active.saga.status, active.saga.steps) == (1,)
    for hour in range(1, 24):
        control.timed_out([SECOND], NOW_MS)
        [timer] = due(ORDER, active.saga, now_ms=NOW_MS + hour * 3_600_000)
        held = control.holding(NOW_MS)
        assert not isinstance(decide(ORDER, active.saga, timer, now_ms=NOW_MS, roll=0.5, held=held), Moved)
    assert active.saga.status is SagaStatus.PENDING


def test_compensations_are_never_held() -> None:
    """The first participant is silent and at its limit: what it did is undone all the same."""
    control = flow(participants={FIRST: 1})
    active = started(control)
    move(control, active, answer(active, 0))
    silence(control, FIRST)
    step = ORDER.steps[1]
    refused = events.StepFailed(
        f"{active.id}:1:{step.name}:action", step.name, step.participant, 1, events.Failure("no", "no")
    )
    decision = move(control, active, refused)
    assert decision.effects == (IssueCommand(0, Direction.COMPENSATION, 1),)
    assert active.saga.steps[0].undo is Undo.ISSUED


def test_further_attempts_are_never_held() -> None:
    """A step that was issued keeps its timeouts and its budget, whatever its participant's breaker says."""
    control = flow()
    active = started(control)
    silence(control, FIRST)
    move(control, active, events.DeadlinePassed(ORDER.steps[0].name, Direction.ACTION, 1))
    decision = move(control, active, events.BackoffElapsed(ORDER.steps[0].name, Direction.ACTION, 1))
    assert decision.effects == (IssueCommand(0, Direction.ACTION, 2),)


def test_no_more_are_in_flight_than_the_limit() -> None:
    """The one beyond it waits, until a slot is free."""
    control = flow(participants={FIRST: 2})
    actives = [started(control, number) for number in range(1, 4)]
    assert [held_steps(active.saga.status, active.saga.steps) for active in actives] == [(), (), (0,)]
    assert state(control, FIRST).in_flight == 2
    move(control, actives[0], answer(actives[0], 0))
    assert state(control, FIRST).in_flight == 1
    decision = move(control, actives[2], events.BackoffElapsed(ORDER.steps[0].name, Direction.ACTION, 0))
    assert decision.effects == (IssueCommand(0, Direction.ACTION, 1),)


def test_a_slot_is_taken_once_however_often_its_saga_is_seen() -> None:
    """A batch that is decided twice, or a saga that is read again, counts once."""
    control = flow(participants={FIRST: 2})
    active = started(control)
    for _ in range(5):
        control.look(active)
    assert state(control, FIRST).in_flight == 1


def test_no_slot_is_lost_for_good() -> None:
    """What was counted for a draft that was never written comes up as doubtful, and goes when there is no such saga."""
    control = flow(participants={FIRST: 1})
    active = started(control)
    latest_ms = (active.saga.deadline_ms or 0) + DOUBTFUL_AFTER_MS
    assert control.doubtful(latest_ms) == []
    assert control.doubtful(latest_ms + 1) == [active.id]
    control.forget(active.id)
    assert state(control, FIRST).in_flight == 0


def test_partitions_that_go_take_their_slots_with_them() -> None:
    """Their new owner counts them, and has their share of the limit."""
    control = flow(participants={FIRST: 100})
    started(control, 1, part=0)
    started(control, 2, part=3)
    control.own({3}, len(PARTS))
    assert state(control, FIRST).in_flight == 1
    control.holding(NOW_MS)
    assert control.room(FIRST) == 25 - 1


def test_who_comes_later_waits_behind_those_in_the_queue() -> None:
    """There is room, but for those who have waited longer."""
    control = flow()
    control.queue([SECOND])
    assert SECOND in control.holding(NOW_MS)
    assert SECOND not in control.released
    assert control.next_in_line(NOW_MS)[0][0] == SECOND
    control.unqueue(SECOND, 1)
    assert control.holding(NOW_MS) == ()


def test_a_queue_is_released_no_faster_than_the_ramp() -> None:
    """Behind a breaker that has closed, thousands wait and a few go."""
    control = flow(ramp_per_second=20)
    silence(control)
    control.queue([SECOND] * 5_000)
    assert control.next_in_line(NOW_MS) == []
    control.heard([SECOND], NOW_MS)
    assert state(control, SECOND).breaker is BreakerState.CLOSED
    assert control.next_in_line(NOW_MS) == [(SECOND, 1)]
    assert control.next_in_line(NOW_MS + 10_000) == [(SECOND, 5)]


def test_a_queue_that_is_inherited_is_released_on_a_ramp() -> None:
    """A restart begins with closed breakers and floods nobody; a queue of our own making needs none."""
    control = flow(ramp_per_second=20)
    control.counted({SECOND: 5_000}, NOW_MS, inherited=False)
    assert control.next_in_line(NOW_MS) == [(SECOND, 200)]
    control.counted({SECOND: 5_000}, NOW_MS, inherited=True)
    assert control.next_in_line(NOW_MS) == [(SECOND, 1)]


def test_a_saga_of_another_partition_begins_held_where_its_owner_could_object() -> None:
    """A process that does not own the partition knows no breaker and counts no slot; it knows limits and queues."""
    api = Flow(FlowSettings(participants={FIRST: 5}), NAMES)
    assert FIRST in api.holding_at_start(0, NOW_MS)
    api.queued = frozenset({SECOND})
    assert SECOND in api.holding_at_start(0, NOW_MS)
    assert NAMES[2] not in api.holding_at_start(0, NOW_MS)


def state(control: Flow, name: str) -> Any:
    """How things stand with one participant."""
    return next(state for state in control.states() if state.name == name)
