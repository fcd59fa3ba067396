"""What two sagas must share to be one state of the search: everything the machine looks at, and nothing else.

Moments become "some time", results and payloads become "there is one", attempts are counted from the beginning of the
present budget, and of generations it only matters which is newer. What is undone keeps how its
action went, and forgets what the participant said about it.
"""

from __future__ import annotations

import msgspec

from coordinator.saga.model import Outcome, Saga, SagaStatus, StepState, Undo, UndoEffect

SOME_MS = 1
_OPEN_OUTCOMES = (Outcome.ISSUED, Outcome.BACKING_OFF)
_OPEN_UNDOS = (Undo.ISSUED, Undo.BACKING_OFF, Undo.DEAD_LETTERED)
_EMPTY = msgspec.Raw(b"{}")


class Sagas:
    """Every state of the saga that was met, numbered."""

    def __init__(self) -> None:
        self.met: list[Saga] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self._steps: dict[tuple[object, ...], StepState] = {}
        self._ways = {SagaStatus.ABANDONED: self._remains, SagaStatus.SUSPENDED: self._resting}
        self._known: dict[int, StepState] = {}  # by identity: most steps of a saga do not change

    def number(self, saga: Saga) -> int:
        """Say which state a saga is in; it is kept in its essence."""
        steps = tuple(map(self._ways.get(saga.status, self._essence), saga.steps))
        starts, expires = saga.starts_ms is not None, saga.expires_ms is not None
        key = (saga.status, saga.facing, starts, expires, *map(id, steps))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.met)
            self.met.append(
                msgspec.structs.replace(
                    saga, version=1, steps=steps, starts_ms=_some(saga.starts_ms), expires_ms=_some(saga.expires_ms)
                )
            )
        return number

    def _remains(self, state: StepState) -> StepState:
        """An abandoned saga keeps how each step stood."""
        return self._essence(StepState(state.outcome, state.undo, attempt=1, undo_attempt=1))

    def _resting(self, state: StepState) -> StepState:
        """Whatever an operator does next, what is open gets a new budget: what was used of the old one is forgotten."""
        if state.undo in _OPEN_UNDOS:
            state = msgspec.structs.replace(state, undo_attempt=1, budget_base=0, redrives=0)
        elif state.outcome in _OPEN_OUTCOMES:
            state = msgspec.structs.replace(state, attempt=1, budget_base=0, redrives=0)
        return self._essence(state)

    def _essence(self, state: StepState) -> StepState:
        known = self._known.get(id(state))
        if known is state:
            return state
        key = _key(state)
        kept = self._steps.get(key)
        if kept is None:
            kept = self._steps[key] = essence(state)
            self._known[id(kept)] = kept
        return kept


def essence(state: StepState) -> StepState:
    """Keep of a step's state what the search tells apart."""
    outcome, undo, generation, attempt, undo_attempt, redrives, waits, limited, told, said, late, given, asked = _key(
        state
    )
    return StepState(
        outcome,
        undo,
        generation,
        attempt,
        undo_attempt,
        0,
        SOME_MS if waits else None,
        _EMPTY if told else msgspec.UNSET,
        UndoEffect.UNDONE if said else None,
        late,
        redrives,
        SOME_MS if limited else None,
        _EMPTY if given else msgspec.UNSET,
        asked,
    )


_Key = tuple[Outcome, Undo, int, int, int, int, bool, bool, bool, bool, bool, bool, bool | None]


def _key(state: StepState) -> _Key:
    acting, undoing = state.outcome in _OPEN_OUTCOMES, state.undo in _OPEN_UNDOS
    return (
        state.outcome,
        state.undo,
        state.generation if state.generation <= 3 else 2 + state.generation % 2,
        state.attempt - state.budget_base if acting else min(state.attempt, 1),
        state.undo_attempt - state.budget_base if undoing else min(state.undo_attempt, 1),
        state.redrives if acting or undoing else 0,
        state.deadline_ms is not None,
        state.limit_ms is not None and acting,
        not isinstance(state.result, msgspec.UnsetType),
        state.effect is not None,
        state.late_success and state.undo is not Undo.COMPENSATED,
        not isinstance(state.payload, msgspec.UnsetType),
        state.condition,
    )


def _some(moment_ms: int | None) -> int | None:
    return None if moment_ms is None else SOME_MS
