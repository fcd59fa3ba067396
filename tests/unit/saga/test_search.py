"""Every order of everything that can happen to a small saga keeps every promise, and broken rules are caught."""

from __future__ import annotations

import msgspec
import pytest
from pydantic import BaseModel

from coordinator.saga import moves
from coordinator.saga.definition import Retry, SagaDefinition, Step
from coordinator.saga.diagram import arrows
from coordinator.saga.effects import Decision, Moved
from coordinator.saga.events import BackoffElapsed, CompensationFailed, StepCompleted
from coordinator.saga.machine import COMPENSATING, IGNORED, PENDING, STARTED, TRANSITIONS
from coordinator.saga.model import Facing, Outcome, StepState, Undo
from tests.unit.saga.search import Broken, Duties, Search

STEADY = Duties(hiccups=False)


class Order(BaseModel):
    """The smallest input."""

    order_id: str


def define(steps: int, attempts: int = 1, undo_attempts: int = 1, *, bare: int = -1) -> SagaDefinition:
    """Make a saga of a few steps with small budgets; step number `bare` needs no compensation."""
    return SagaDefinition(
        "Small",
        1,
        Order,
        "order_id",
        tuple(
            Step(
                f"s{number}",
                participant=f"p{number}",
                action="Do",
                compensation=None if number == bare else "Undo",
                retry=Retry(attempts=attempts),
                compensation_retry=Retry(attempts=undo_attempts),
            )
            for number in range(steps)
        ),
        recovery=Retry(attempts=0),
    )


@pytest.mark.parametrize(
    ("search", "at_least"),
    [
        (Search(define(1, 2, 2), retries=1), 2_500),
        (Search(define(2), retries=1), 3_000),
        (Search(define(2, attempts=2)), 4_000),
        (Search(define(3)), 3_000),
        (Search(define(3, bare=1), 1, STEADY), 150),
        (Search(define(4), 1, STEADY), 900),
        (Search(define(4, attempts=2), 0, STEADY), 1_500),
    ],
)
def test_every_promise_holds_in_every_world_that_can_be_reached(search: Search, at_least: int) -> None:
    """Undo in reverse order, one open command, all or nothing, nothing revived, and always a way to an end."""
    assert search.run() >= at_least
    changes = {(old, event, new) for old, event, new in search.moves if old is not new}
    assert changes <= set(arrows())


def refuted(definition: SagaDefinition, duties: Duties = STEADY) -> str:
    """Say which promise a search finds broken."""
    with pytest.raises(Broken) as found:
        Search(definition, retries=1, duties=duties).run()
    return str(found.value).splitlines()[0]


def test_not_undoing_an_unknown_step_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that takes silence for failure leaves an effect behind."""
    monkeypatch.setattr(moves, "_TO_BE_UNDONE", (Outcome.COMPLETED,))
    assert refuted(define(1)) == "the saga failed, and ['s0'] is still done"


def test_a_participant_without_tombstones_is_caught() -> None:
    """An action that arrives after its undo takes effect for ever."""
    careless = Duties(tombstones=False, hiccups=False)
    assert refuted(define(1), careless) == "the saga failed, and ['s0'] is still done"


def test_honouring_a_late_success_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that believes a late success revives a step that is being undone."""

    def honour(c: moves.Context, event: StepCompleted) -> Decision:
        done = msgspec.structs.replace(c.state, outcome=Outcome.COMPLETED, undo=Undo.NONE, deadline_ms=None)
        return moves.proceed(c, moves.with_step(c.saga.steps, c.step, done), Facing.FORWARD)

    monkeypatch.setitem(TRANSITIONS, (COMPENSATING, StepCompleted), honour)
    assert refuted(define(2)) in {
        "a settled outcome was revived",
        "a forward command was sent on the way back",
        "a forward command was sent before the step before it was done",
    }


def test_taking_a_failed_compensation_for_done_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that gives up and goes on undoes steps out of order, or fails with effects left."""

    def shrug(c: moves.Context, _event: CompensationFailed) -> Decision:
        given_up = msgspec.structs.replace(c.state, undo=Undo.COMPENSATED, deadline_ms=None)
        return moves.proceed(c, moves.with_step(c.saga.steps, c.step, given_up), Facing.BACKWARD)

    monkeypatch.setitem(TRANSITIONS, (COMPENSATING, CompensationFailed), shrug)
    assert refuted(define(2), Duties()) in {
        "a step was undone before a later one",
        "the saga failed, and ['s0'] is still done",
    }


def test_undoing_in_the_order_of_doing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that undoes the first step first breaks the strict reverse order."""
    straight = moves.go_back

    def first_first(c: moves.Context, steps: tuple[StepState, ...]) -> Moved:
        steps = moves.owing(c.definition, steps)
        owed = [position for position, state in enumerate(steps) if state.undo is Undo.OWED]
        return moves.issue_undo(c, steps, owed[0]) if owed else straight(c, steps)

    monkeypatch.setattr(moves, "go_back", first_first)
    assert refuted(define(3)) == "a step was undone before a later one"


def test_a_saga_that_waits_for_ever_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a rule for the end of a pause, a saga would hang when nobody answers."""
    for status in (STARTED, PENDING):
        monkeypatch.delitem(TRANSITIONS, (status, BackoffElapsed))
        monkeypatch.setitem(IGNORED, (status, BackoffElapsed), "forgotten")
    assert refuted(define(2, attempts=2)) == "the saga hangs when nobody answers"
