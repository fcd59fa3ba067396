"""At which steps a saga waits or hangs, in the letters that rows keep."""

from __future__ import annotations

import pytest

from coordinator.saga.checks import STEPS_MAX
from coordinator.saga.model import LETTERS, Facing, Outcome, Saga, SagaStatus, StepState, Undo

WAITING = StepState()
DONE = StepState(Outcome.COMPLETED)
ISSUED = StepState(Outcome.ISSUED, deadline_ms=5)
UNKNOWN = StepState(Outcome.UNKNOWN)
PARKED = StepState(Outcome.COMPLETED, Undo.DEAD_LETTERED)


@pytest.mark.parametrize(
    ("status", "facing", "steps", "letters"),
    [
        (SagaStatus.STARTED, Facing.FORWARD, (ISSUED, WAITING), "A"),
        (SagaStatus.PENDING, Facing.FORWARD, (DONE, ISSUED, ISSUED), "BC"),
        (SagaStatus.SCHEDULED, Facing.FORWARD, (WAITING, WAITING), None),
        (SagaStatus.COMPENSATING, Facing.BACKWARD, (StepState(undo=Undo.ISSUED, deadline_ms=5), UNKNOWN), "A"),
        (SagaStatus.SUSPENDED, Facing.FORWARD, (DONE, UNKNOWN, WAITING), "B"),
        (SagaStatus.SUSPENDED, Facing.BACKWARD, (PARKED, UNKNOWN), "A"),
        (SagaStatus.SUSPENDED, Facing.FORWARD, (StepState(Outcome.COMPLETED, problem=True), WAITING), "A"),
        (SagaStatus.SUSPENDED, Facing.FORWARD, (DONE, WAITING), None),
        (SagaStatus.COMPLETED, Facing.FORWARD, (DONE, DONE), None),
        (SagaStatus.ABANDONED, Facing.FORWARD, (ISSUED, UNKNOWN), None),
    ],
)
def test_a_row_says_where_its_saga_waits(
    status: SagaStatus, facing: Facing, steps: tuple[StepState, ...], letters: str | None
) -> None:
    """In progress it is what has a deadline; suspended, what must be settled to go on; ended, nothing."""
    saga = Saga("s", "D", 1, status, 3, steps, facing)
    assert saga.waits_at == letters


def test_there_is_a_letter_for_every_step() -> None:
    """Each step that a definition can have has a letter of its own, and they never spell the word for nothing."""
    assert len(LETTERS) == len(set(LETTERS)) == STEPS_MAX
    assert Saga("s", "D", 1, SagaStatus.PENDING, 1, (ISSUED,) * STEPS_MAX).waits_at == LETTERS
