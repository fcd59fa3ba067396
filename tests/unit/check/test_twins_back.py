"""Mutation twins of the way back and of what people do: broken in one place each, and the search finds it."""

from __future__ import annotations

from coordinator.saga import moves, rules, verbs
from coordinator.saga.effects import Decision, IncidentReason, Moved, OpenIncident
from coordinator.saga.events import (
    ExternalCompleted,
    ResolveRequested,
    ResumeRequested,
    RetryRequested,
    SkipRequested,
    StepCompleted,
)
from coordinator.saga.machine import COMPENSATING, FAILED, SUSPENDED, TRANSITIONS
from coordinator.saga.model import Outcome, SagaStatus, StepState, Undo
from tests.unit.check.samples import plain
from tests.unit.check.twins import (
    LAST_GROUP,
    LEFT_BEHIND,
    OUTSIDE,
    PIVOTED,
    Patch,
    put,
    refuted,
    replace,
    sound,
)

# ---------------------------------------------------------------- backward


def test_not_undoing_an_unknown_step_is_caught(monkeypatch: Patch) -> None:
    """A coordinator that takes silence for failure leaves an effect behind."""
    definition = sound(plain(1))
    monkeypatch.setattr(moves, "TO_BE_UNDONE", (Outcome.COMPLETED,))
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
        return moves.go_forward(c, moves.with_step(c.saga.steps, c.step, done))

    put(monkeypatch, (COMPENSATING,), StepCompleted, honour)
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
        return moves.go_back(c, moves.with_step(c.saga.steps, c.step, given_up))

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
    put(
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
    put(monkeypatch, (FAILED,), StepCompleted, lambda c, _event: moves.go_forward(c, c.saga.steps))
    assert refuted(definition) in {"a saga that had ended went on", "a forward command was sent on the way back"}


def test_an_answer_from_outside_after_the_turn_is_caught(monkeypatch: Patch) -> None:
    """An approval that comes after the saga has turned back does not count."""
    definition = sound(OUTSIDE)

    def accept(c: moves.Context, _event: ExternalCompleted) -> Decision:
        return Moved(moves.move(c, moves.settled(c.state, Outcome.COMPLETED)))

    put(monkeypatch, (COMPENSATING,), ExternalCompleted, accept)
    assert refuted(definition).startswith("a settled outcome was revived: ")
