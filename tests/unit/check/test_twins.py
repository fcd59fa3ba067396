"""Mutation twins: the machine or a participant is broken on purpose in one place, and the search finds it.

Each twin is shown beside its sound original on the same definition: the original keeps every promise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from coordinator.check.participants import DUTIFUL, Duties
from coordinator.check.search import Search
from coordinator.saga import machine, moves, rules, verbs
from coordinator.saga.definition import SagaDefinition, external, hours, parallel
from coordinator.saga.effects import Decision, IncidentReason, Moved, OpenIncident, Stayed, Verdict
from coordinator.saga.events import (
    BackoffElapsed,
    CompensateRequested,
    ExternalCompleted,
    ExternalFailed,
    Reply,
    ResolveRequested,
    ResumeRequested,
    RetryRequested,
    SkipRequested,
    StepCompleted,
    StepFailed,
)
from coordinator.saga.machine import COMPENSATING, FAILED, IGNORED, PENDING, STARTED, SUSPENDED, TRANSITIONS
from coordinator.saga.model import Facing, Kind, Outcome, Saga, SagaStatus, StepState, Undo
from tests.unit.check.samples import define, is_dear, plain, step

Patch = pytest.MonkeyPatch
replace = msgspec.structs.replace

PIVOTED = define(step("a"), step("p", kind=Kind.PIVOT), step("z", kind=Kind.RETRIABLE))
GROUP = define(*parallel("g", step("a"), step("b")), step("c"))
LAST_GROUP = define(*parallel("g", step("a"), step("b")))
OUTSIDE = define(step("a"), external("yes", timeout=hours(1)), step("b"))
LEFT_BEHIND = "the saga failed, and s0 may still be done"


def refuted(definition: SagaDefinition, duties: Duties = DUTIFUL) -> str:
    """Say which promise a search finds broken."""
    found = Search(definition, duties).run()
    assert found is not None, "the twin survived"
    return found.sentence


def sound(definition: SagaDefinition) -> SagaDefinition:
    """Make sure that what will be broken is whole."""
    assert Search(definition).run() is None
    return definition


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
    assert refuted(definition) == "the saga changed because of a message that answers none of its open commands"


def test_a_budget_that_ends_taken_for_a_failure_is_caught(monkeypatch: Patch) -> None:
    """The last retryable failure says nothing about the copies of the command that are still on their way."""
    definition = sound(plain(1))

    def final(c: moves.Context, event: StepFailed) -> Decision:
        current = _is_open(c.state) and event.attempt == c.state.attempt
        return moves.fail(c, "busy") if event.error.retryable and current else rules.turn_back(c, event)

    _set(monkeypatch, (STARTED, PENDING), StepFailed, final)
    assert refuted(definition) == LEFT_BEHIND


def test_joining_a_group_when_one_is_done_is_caught(monkeypatch: Patch) -> None:
    """The next stage begins while a member is still at work."""
    sound(GROUP)
    sound(LAST_GROUP)
    honest = moves.go_forward

    def hasty(c: moves.Context, steps: moves.Steps) -> Moved:
        pretended = tuple(replace(one, outcome=Outcome.COMPLETED) if _is_open(one) else one for one in steps)
        moved = honest(c, pretended)
        real = tuple(old if _is_open(old) else new for old, new in zip(steps, moved.saga.steps, strict=True))
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

    _set(monkeypatch, (PENDING,), ExternalFailed, again)
    assert refuted(definition).startswith("a settled outcome was revived: ")


def test_a_saga_that_waits_for_ever_is_caught(monkeypatch: Patch) -> None:
    """Without a rule for the end of a pause, a saga would hang when nobody answers."""
    definition = sound(plain(2, attempts=2))
    for status in (STARTED, PENDING):
        monkeypatch.delitem(TRANSITIONS, (status, BackoffElapsed))
        monkeypatch.setitem(IGNORED, (status, BackoffElapsed), "forgotten")
    assert refuted(definition) == "the saga hangs when nobody answers"


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


def test_cancelling_past_the_pivot_is_caught(monkeypatch: Patch) -> None:
    """An operator cannot undo what cannot be undone."""
    definition = sound(PIVOTED)
    _set(monkeypatch, (STARTED, PENDING, SUSPENDED), CompensateRequested, lambda c, _event: moves.cancel(c))
    assert refuted(definition).startswith("the saga turned back although its pivot is ")


def test_leaving_out_a_pivot_before_its_turn_is_caught(monkeypatch: Patch) -> None:
    """A pivot that is left out in advance would cut off the way back of what comes before it."""
    definition = sound(PIVOTED)
    monkeypatch.setattr(verbs, "_PASSED", tuple(Outcome))
    assert refuted(definition) == "the saga turned back although its pivot is skipped"


# ---------------------------------------------------------------- backward


def test_not_undoing_an_unknown_step_is_caught(monkeypatch: Patch) -> None:
    """A coordinator that takes silence for failure leaves an effect behind."""
    definition = sound(plain(1))
    monkeypatch.setattr(moves, "_TO_BE_UNDONE", (Outcome.COMPLETED,))
    assert refuted(definition) == LEFT_BEHIND


def test_not_awaiting_the_others_of_a_group_is_caught(monkeypatch: Patch) -> None:
    """A member that is still at work when another one fails would be forgotten."""
    definition = sound(LAST_GROUP)
    monkeypatch.setattr(moves, "await_or_undo", moves.go_back)
    assert refuted(definition) == "a was undone before b, which is later"


def test_honouring_a_late_success_is_caught(monkeypatch: Patch) -> None:
    """A coordinator that believes a late success revives a step that is being undone."""
    definition = sound(plain(2))

    def honour(c: moves.Context, _event: StepCompleted) -> Decision:
        done = replace(c.state, outcome=Outcome.COMPLETED, undo=Undo.NONE, deadline_ms=None)
        return moves.proceed(c, moves.with_step(c.saga.steps, c.step, done), Facing.FORWARD)

    _set(monkeypatch, (COMPENSATING,), StepCompleted, honour)
    assert refuted(definition) in {
        "a settled outcome was revived: unknown became completed",
        "a forward command was sent on the way back",
    }


def test_all_undos_at_once_are_caught(monkeypatch: Patch) -> None:
    """The next undo waits until the one before is acknowledged."""
    definition = sound(plain(2))
    honest = moves.go_back

    def all_at_once(c: moves.Context, steps: moves.Steps) -> Moved:
        moved = honest(c, steps)
        while any(state.undo is Undo.OWED for state in moved.saga.steps):
            following = honest(c, moved.saga.steps)
            moved = replace(following, effects=(*moved.effects, *following.effects))
        return moved

    monkeypatch.setattr(moves, "go_back", all_at_once)
    assert refuted(definition) == "2 compensations are open at once"


def test_undoing_in_the_order_of_doing_is_caught(monkeypatch: Patch) -> None:
    """A coordinator that undoes the first step first breaks the strict reverse order."""
    definition = sound(plain(3))
    straight = moves.go_back

    def first_first(c: moves.Context, steps: tuple[StepState, ...]) -> Moved:
        steps = moves.owing(c.definition, steps)
        owed = [position for position, state in enumerate(steps) if state.undo is Undo.OWED]
        return moves.issue_undo(c, steps, owed[0]) if owed else straight(c, steps)

    monkeypatch.setattr(moves, "go_back", first_first)
    assert refuted(definition) == "s0 was undone before s1, which is later"


def test_giving_up_an_undo_and_going_on_is_caught(monkeypatch: Patch) -> None:
    """A compensation that was given up is owed all the same."""
    definition = sound(plain(2))

    def shrug(c: moves.Context, _why: str) -> Moved:
        given_up = replace(c.state, undo=Undo.COMPENSATED, deadline_ms=None)
        return moves.proceed(c, moves.with_step(c.saga.steps, c.step, given_up), Facing.BACKWARD)

    monkeypatch.setattr(rules, "back_off_or_park", shrug)
    assert refuted(definition) == LEFT_BEHIND


def test_accusing_a_dutiful_participant_is_caught(monkeypatch: Patch) -> None:
    """A late success whose undo undid something is no contradiction."""
    definition = sound(plain(1))
    accusation = OpenIncident(IncidentReason.CONFLICTING_UNDO, 0, "it contradicts itself")
    monkeypatch.setattr(rules, "_contradictions", lambda _c, state: (accusation,) if state.late_success else ())
    assert refuted(definition) == "a participant that did its duty was accused"


# ---------------------------------------------------------------- people


def test_a_suspension_that_nobody_hears_of_is_caught(monkeypatch: Patch) -> None:
    """A saga that needs a person says so."""
    definition = sound(PIVOTED)
    honest = moves._ask_person
    monkeypatch.setattr(moves, "_ask_person", lambda c, reason, why: replace(honest(c, reason, why), effects=()))
    assert refuted(definition) == "the saga was suspended, and nobody hears of it"


def test_abandoning_without_an_operator_is_caught(monkeypatch: Patch) -> None:
    """Automation never leaves effects behind and calls it an end."""
    definition = sound(PIVOTED)
    monkeypatch.setattr(
        moves, "_ask_person", lambda c, _reason, _why: Moved(moves.with_steps(c, SagaStatus.ABANDONED, c.saga.steps))
    )
    assert refuted(definition) == "the saga was abandoned by itself"


def test_a_resume_that_sends_nothing_is_caught(monkeypatch: Patch) -> None:
    """What is open is sent again when a saga goes on."""
    definition = sound(plain(1))
    _set(
        monkeypatch,
        (SUSPENDED,),
        ResumeRequested,
        lambda c, _event: Moved(moves.with_steps(c, SagaStatus.PENDING, c.saga.steps)),
    )
    assert refuted(definition) == "the saga went on, and the open command of s0 was not sent again"


def test_resuming_the_wrong_way_is_caught(monkeypatch: Patch) -> None:
    """A saga that had turned back goes on backward after a suspension."""
    definition = sound(plain(2))
    monkeypatch.setattr(verbs, "_go_on", verbs._go_on_forward)
    assert refuted(definition) == "a forward command was sent on the way back"


def test_asking_anew_what_may_have_run_is_caught(monkeypatch: Patch) -> None:
    """Only what surely did nothing runs again under another command id."""
    definition = sound(PIVOTED)
    honest = verbs._go_on_forward

    def anew(c: moves.Context, steps: moves.Steps) -> Moved:
        pretended = tuple(
            replace(one, outcome=Outcome.FAILED) if one.outcome is Outcome.UNKNOWN else one for one in steps
        )
        return honest(c, pretended)

    monkeypatch.setattr(verbs, "_go_on_forward", anew)
    assert refuted(definition) == "p was asked anew although its earlier command may have run"


def test_a_dead_end_is_caught(monkeypatch: Patch) -> None:
    """An operator can always do something better than to abandon a saga."""
    definition = sound(PIVOTED)
    for verb in (RetryRequested, SkipRequested, ResolveRequested):
        monkeypatch.delitem(TRANSITIONS, (SUSPENDED, verb))
    assert refuted(definition) == "no end but abandonment can be reached from here"


def test_a_saga_that_ended_and_goes_on_is_caught(monkeypatch: Patch) -> None:
    """A late success moves nothing after the end."""
    definition = sound(plain(2))
    _set(monkeypatch, (FAILED,), StepCompleted, lambda c, _event: moves.go_forward(c, c.saga.steps))
    assert refuted(definition) in {"a saga that had ended went on", "a forward command was sent on the way back"}


def test_an_answer_from_outside_after_the_turn_is_caught(monkeypatch: Patch) -> None:
    """An approval that comes after the saga has turned back does not count."""
    definition = sound(OUTSIDE)

    def accept(c: moves.Context, _event: ExternalCompleted) -> Decision:
        return Moved(moves.move(c, moves.settled(c.state, Outcome.COMPLETED)))

    _set(monkeypatch, (COMPENSATING,), ExternalCompleted, accept)
    assert refuted(definition).startswith("a settled outcome was revived: ")


def _is_open(state: StepState) -> bool:
    return state.outcome in moves.OPEN_OUTCOMES


def _set(
    monkeypatch: Patch, statuses: tuple[SagaStatus, ...], event: type, rule: Callable[[moves.Context, Any], Decision]
) -> None:
    for status in statuses:
        monkeypatch.setitem(TRANSITIONS, (status, event), rule)
