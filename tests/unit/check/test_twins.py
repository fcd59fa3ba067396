"""Mutation twins: the machine or a participant is broken on purpose in one place, and the search finds it.

Each twin is shown beside its sound original on the same definition: the original keeps every promise.
"""

from __future__ import annotations

from typing import Any

from coordinator.check.participants import Duties
from coordinator.saga import machine, moves, rules, verbs
from coordinator.saga.definition import SagaDefinition, hours
from coordinator.saga.effects import Decision, IncidentReason, IssueCommand, Moved, Stayed, Verdict
from coordinator.saga.events import (
    BackoffElapsed,
    CompensateRequested,
    ExternalFailed,
    Reply,
    SagaDeadlinePassed,
    StartDue,
    StepFailed,
    StepProgressed,
)
from coordinator.saga.machine import IGNORED, PENDING, SCHEDULED, STARTED, SUSPENDED, TRANSITIONS
from coordinator.saga.model import Direction, Kind, Outcome, Saga
from tests.unit.check.samples import bill, define, is_dear, plain, step
from tests.unit.check.twins import (
    GROUP,
    LAST_GROUP,
    LEFT_BEHIND,
    OUTSIDE,
    PIVOTED,
    UNASKED,
    Patch,
    is_open,
    put,
    refuted,
    replace,
    sound,
)

# ---------------------------------------------------------------- participants that neglect a duty


def test_a_participant_without_tombstones_is_caught() -> None:
    """An action that arrives after its undo takes effect for ever."""
    assert refuted(sound(plain(1)), Duties(tombstones=False)) == LEFT_BEHIND


def test_a_remembered_retryable_failure_is_caught() -> None:
    """A participant that takes "not now" for its final answer lets no further attempt succeed."""
    definition = sound(plain(1, attempts=2))
    assert refuted(definition, Duties(forget_hiccups=False)) == "the saga goes forward, and can never be completed"


# ---------------------------------------------------------------- forward


def test_matching_by_step_name_is_caught(monkeypatch: Patch) -> None:
    """A reply to another saga's command, or to an earlier generation, is taken for this one's."""
    definition = sound(plain(1))

    def by_name(definition: SagaDefinition, _saga: Saga, reply: Reply) -> int:
        return definition.index.get(reply.step_name, -1)

    monkeypatch.setattr(machine, "_own_step", by_name)
    assert refuted(definition) == UNASKED


def test_a_budget_that_ends_taken_for_a_failure_is_caught(monkeypatch: Patch) -> None:
    """The last retryable failure says nothing about the copies of the command that are still on their way."""
    definition = sound(plain(1))

    def final(c: moves.Context, event: StepFailed) -> Decision:
        current = is_open(c.state) and event.attempt == c.state.attempt
        return moves.fail(c, "busy") if event.error.retryable and current else rules.turn_back(c, event)

    put(monkeypatch, (STARTED, PENDING), StepFailed, final)
    assert refuted(definition) == LEFT_BEHIND


def test_counting_a_failure_of_an_earlier_attempt_is_caught(monkeypatch: Patch) -> None:
    """A retryable failure counts once, however late it comes."""
    definition = sound(plain(1, attempts=2))

    def count(c: moves.Context, event: StepFailed) -> Decision:
        counts = event.error.retryable and c.state.outcome is Outcome.ISSUED
        return moves.back_off_or_give_up(c) if counts else rules.turn_back(c, event)

    put(monkeypatch, (STARTED, PENDING), StepFailed, count)
    assert refuted(definition) == UNASKED


def test_taking_progress_for_completion_is_caught(monkeypatch: Patch) -> None:
    """A participant that is still working has done nothing yet."""
    definition = sound(define(step("a", progress_max=hours(1))))

    def hasty(c: moves.Context, _event: StepProgressed) -> Decision:
        done = replace(c.state, outcome=Outcome.COMPLETED, deadline_ms=None)
        return moves.go_forward(c, moves.with_step(c.saga.steps, c.step, done))

    put(monkeypatch, (STARTED, PENDING), StepProgressed, hasty)
    assert refuted(definition) == UNASKED


def test_joining_a_group_when_one_is_done_is_caught(monkeypatch: Patch) -> None:
    """The next stage begins while a member is still at work."""
    sound(GROUP)
    sound(LAST_GROUP)
    honest = moves.go_forward

    def hasty(c: moves.Context, steps: moves.Steps) -> Moved:
        pretended = tuple(replace(one, outcome=Outcome.COMPLETED) if is_open(one) else one for one in steps)
        moved = honest(c, pretended)
        real = tuple(old if is_open(old) else new for old, new in zip(steps, moved.saga.steps, strict=True))
        return replace(moved, saga=replace(moved.saga, steps=real))

    monkeypatch.setattr(rules, "go_forward", hasty)
    assert refuted(GROUP) == "a command was sent while a step of an earlier stage was issued"
    assert refuted(LAST_GROUP) == "the saga completed with steps open"


def test_asking_a_condition_twice_is_caught(monkeypatch: Patch) -> None:
    """A retry that asks again may leave out what was wanted before."""
    pivoted = define(step("p", kind=Kind.PIVOT), step("z", kind=Kind.RETRIABLE, when=is_dear))
    definition = sound(pivoted)
    honest = moves._worked_out
    monkeypatch.setattr(
        moves, "_worked_out", lambda step, state, material: honest(step, replace(state, condition=None), material)
    )
    assert refuted(definition) == "a condition was asked twice: it said True, then False"


def test_taking_an_answer_from_outside_twice_is_caught(monkeypatch: Patch) -> None:
    """A refusal after the approval undoes nothing."""
    definition = sound(OUTSIDE)

    def again(c: moves.Context, event: ExternalFailed) -> Decision:
        return moves.fail(c, event.error.code)

    put(monkeypatch, (PENDING,), ExternalFailed, again)
    assert refuted(definition).startswith("a settled outcome was revived: ")


def test_a_saga_that_waits_for_ever_is_caught(monkeypatch: Patch) -> None:
    """Without a rule for the end of a pause, a saga would hang when nobody answers."""
    definition = sound(plain(2, attempts=2))
    for status in (STARTED, PENDING):
        monkeypatch.delitem(TRANSITIONS, (status, BackoffElapsed))
        monkeypatch.setitem(IGNORED, (status, BackoffElapsed), "forgotten")
    assert refuted(definition) == "the saga hangs when nobody answers"


def test_a_scheduled_saga_that_never_begins_is_caught(monkeypatch: Patch) -> None:
    """What was accepted for later begins when its time has come."""
    definition = sound(plain(1))
    monkeypatch.delitem(TRANSITIONS, (SCHEDULED, StartDue))
    monkeypatch.setitem(IGNORED, (SCHEDULED, StartDue), "forgotten")
    assert refuted(definition) == "the saga hangs when nobody answers"


def test_issuing_half_a_stage_is_caught(monkeypatch: Patch) -> None:
    """When a command of a stage cannot be built, none of the stage is sent."""
    definition = sound(define(step("a", payload=bill)))
    honest = moves._ask_for_repair

    def half(c: moves.Context, steps: moves.Steps, problem: Any) -> Moved:
        moved = honest(c, steps, problem)
        return replace(moved, effects=(IssueCommand(0, Direction.ACTION, 1), *moved.effects))

    monkeypatch.setattr(moves, "_ask_for_repair", half)
    assert refuted(definition) == "a command was sent by a saga that is suspended"


def test_a_retry_under_another_name_is_caught(monkeypatch: Patch) -> None:
    """A second attempt with a command id of its own would be executed twice."""
    definition = sound(plain(1, attempts=2))
    honest = moves.reissue_action

    def renamed(c: moves.Context, steps: moves.Steps, position: int) -> Moved:
        anew = replace(steps[position], generation=steps[position].generation + 1)
        return honest(c, moves.with_step(steps, position, anew), position)

    monkeypatch.setattr(rules, "reissue_action", renamed)
    assert refuted(definition) == "a generation was raised, and no operator did it"


def test_a_held_step_that_is_forgotten_is_caught(monkeypatch: Patch) -> None:
    """What flow control held back is asked again when its participant takes new actions."""
    definition = sound(plain(1))
    monkeypatch.setattr(rules, "_release", lambda _c: Stayed(Verdict.STALE, "forgotten"))
    assert refuted(definition) == "the saga hangs when nobody answers"


# ---------------------------------------------------------------- the pivot


def test_undoing_an_unknown_pivot_is_caught(monkeypatch: Patch) -> None:
    """A pivot that may have happened is not taken for one that has not."""
    definition = sound(PIVOTED)
    monkeypatch.setattr(moves, "_ask_person", lambda c, _reason, _detail: moves.settle(c, Outcome.UNKNOWN))
    assert refuted(definition) == "the saga turned back although its pivot is unknown"


def test_going_past_an_unknown_pivot_is_caught(monkeypatch: Patch) -> None:
    """A pivot that may not have happened is not taken for one that has."""
    definition = sound(PIVOTED)

    def shrug(c: moves.Context, _reason: IncidentReason, _detail: str) -> Moved:
        passed = replace(c.state, outcome=Outcome.COMPLETED, deadline_ms=None)
        return moves.go_forward(c, moves.with_step(c.saga.steps, c.step, passed))

    monkeypatch.setattr(moves, "_ask_person", shrug)
    assert refuted(definition) == "z was asked although p is not done"


def test_turning_back_behind_the_pivot_is_caught(monkeypatch: Patch) -> None:
    """What fails behind the point of no return is not undone."""
    definition = sound(PIVOTED)
    monkeypatch.setattr(moves.Context, "past_pivot", property(lambda _context: False))
    assert refuted(definition) == "the saga turned back although its pivot is completed"


def test_turning_back_because_of_the_saga_deadline_is_caught(monkeypatch: Patch) -> None:
    """A deadline that passes while the pivot may have happened turns nothing back."""
    definition = sound(define(step("a"), step("p", kind=Kind.PIVOT), deadline=hours(1)))
    put(monkeypatch, (STARTED, PENDING), SagaDeadlinePassed, lambda c, _event: moves.cancel(c))
    assert refuted(definition) == "the saga turned back although its pivot is unknown"


def test_cancelling_past_the_pivot_is_caught(monkeypatch: Patch) -> None:
    """An operator cannot undo what cannot be undone."""
    definition = sound(PIVOTED)
    put(monkeypatch, (STARTED, PENDING, SUSPENDED), CompensateRequested, lambda c, _event: moves.cancel(c))
    assert refuted(definition).startswith("the saga turned back although its pivot is ")


def test_leaving_out_a_pivot_before_its_turn_is_caught(monkeypatch: Patch) -> None:
    """A pivot that is left out in advance would cut off the way back of what comes before it."""
    definition = sound(PIVOTED)
    monkeypatch.setattr(verbs, "PASSED", tuple(Outcome))
    assert refuted(definition) == "the saga turned back although its pivot is skipped"
