"""Which actions are in flight, per participant, as far as this process knows.

Keyed by saga and set as a whole, so that counting twice is impossible and whatever was missed is put right by the next
look at the saga. An action occupies its slot from its issue until its outcome is settled, pauses between attempts
included. A saga of which nothing is heard long after its deadlines is doubtful: somebody else may have moved it, or
the draft that began it was never written. Those are read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence

from coordinator.saga.definition import SagaDefinition
from coordinator.saga.model import RESTING, Outcome, Saga, SagaStatus, StepState

DOUBTFUL_AFTER_MS = 30_000
_ISSUED, _BACKING_OFF = Outcome.ISSUED, Outcome.BACKING_OFF


class Slots:
    """The actions in flight of the sagas that were looked at."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self._sagas: dict[str, tuple[int, int, Sequence[str]]] = {}

    def note(self, definition: SagaDefinition, saga: Saga, part: int, now_ms: int) -> None:
        """Take the slots that a saga occupies now, and give back those that it does not."""
        self.forget(saga.id)
        names = open_actions(definition, saga)
        if names:
            check_ms = max(now_ms, saga.deadline_ms or 0) + DOUBTFUL_AFTER_MS
            self._sagas[saga.id] = (part, check_ms, names)
            for name in names:
                self.taken[name] += 1

    def forget(self, saga_id: str) -> None:
        """Give back what a saga occupies."""
        known = self._sagas.pop(saga_id, None)
        if known is not None:
            for name in known[2]:
                self.taken[name] -= 1

    def keep(self, parts: Container[int]) -> None:
        """Give back what sagas of other partitions occupy."""
        for saga_id in [saga_id for saga_id, (part, _, _) in self._sagas.items() if part not in parts]:
            self.forget(saga_id)

    def doubtful(self, now_ms: int, limit: int) -> list[str]:
        """Some sagas of which nothing was heard for too long."""
        found = [saga_id for saga_id, (_, check_ms, _) in self._sagas.items() if check_ms < now_ms]
        return found[:limit]


def open_actions(definition: SagaDefinition, saga: Saga) -> Sequence[str]:
    """The participants that owe a saga an answer to an action, one for each action."""
    if saga.status in RESTING:
        return ()
    names: list[str] = []
    for step, state in zip(definition.steps, saga.steps, strict=True):
        outcome = state.outcome
        if (outcome is _ISSUED or outcome is _BACKING_OFF) and not step.external:
            names.append(step.participant)
    return names


def held_steps(status: SagaStatus | str, states: Sequence[StepState]) -> tuple[int, ...]:
    """The positions of the steps that flow control holds back; none of a saga that rests."""
    return () if status in RESTING else tuple(position for position, state in enumerate(states) if state.held)


def running_deadline_ms(saga: Saga) -> int | None:
    """The earliest deadline of a saga that runs: a step that is held back has none."""
    held = held_steps(saga.status, saga.steps)
    if not held:
        return saga.deadline_ms
    others = [state.deadline_ms for position, state in enumerate(saga.steps) if position not in held]
    return min((moment for moment in (saga.expires_ms, *others) if moment is not None), default=None)
