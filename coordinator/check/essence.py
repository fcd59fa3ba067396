"""What two sagas must share to be one state of the search: everything the machine looks at, and nothing else.

Moments become "some time", results and payloads become "there is one", attempts are counted from the beginning of the
present budget, and of generations it only matters, while a step is not settled, whether there was an earlier one. What
is undone keeps how its action went, and forgets what the participant said about it.
"""

from __future__ import annotations

import msgspec

from coordinator.saga.model import Facing, Outcome, Saga, SagaStatus, StepState, Undo, UndoEffect
from coordinator.saga.moves import OPEN_OUTCOMES, OPEN_UNDOS, PASSED

SOME_MS, FAR_MS = 1, 10**15
_SETTLED = (*PASSED, Outcome.FAILED)
_EMPTY = msgspec.Raw(b"{}")


class Sagas:
    """Every state of the saga that was met, numbered."""

    def __init__(self) -> None:
        self.met: list[Saga] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self._steps: dict[tuple[object, ...], StepState] = {}
        self._ours: set[int] = set()  # the identities of what `_steps` keeps
        self._kept: dict[tuple[SagaStatus, Facing], dict[int, StepState]] = {}  # most steps of a saga do not change

    def number(self, saga: Saga) -> int:
        """Say which state a saga is in; it is kept in its essence."""
        kept = self._kept.setdefault((saga.status, saga.facing), {})
        steps = tuple(kept.get(id(state)) or self._keep(saga, state, kept) for state in saga.steps)
        starts, expires = saga.starts_ms is not None, saga.expires_ms is not None
        key = (saga.status, saga.facing, starts, expires, *map(id, steps))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.met)
            whole = msgspec.structs.replace(saga, version=1, steps=steps)
            self.met.append(
                msgspec.structs.replace(whole, starts_ms=_some(saga.starts_ms), expires_ms=_some(saga.expires_ms))
            )
        return number

    def _keep(self, saga: Saga, state: StepState, kept: dict[int, StepState]) -> StepState:
        key = _key(_forget(saga, state))
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = _from(key)
            self._ours.add(id(found))
        if id(state) in self._ours:
            kept[id(state)] = found
        return found


def _forget(saga: Saga, state: StepState) -> StepState:
    """Forget of a step's state what cannot matter any more where its saga stands."""
    replace = msgspec.structs.replace
    if saga.status is SagaStatus.ABANDONED:
        return StepState(state.outcome, state.undo, attempt=1, undo_attempt=1)
    if saga.facing is Facing.BACKWARD:
        # What was not issued will not be, and no action will be issued again.
        outcome = Outcome.WAITING if state.outcome is Outcome.SKIPPED else state.outcome
        state = replace(state, outcome=outcome, payload=msgspec.UNSET, condition=None, problem=False)
    if saga.status is SagaStatus.SUSPENDED:
        # Whatever an operator does next, what is open gets a new budget, and what was held back is asked again.
        if state.undo in OPEN_UNDOS:
            return replace(state, undo_attempt=1, budget_base=0, redrives=0)
        if state.outcome in OPEN_OUTCOMES:
            return replace(state, attempt=1, budget_base=0, redrives=0)
        if state.outcome is Outcome.WAITING:
            return replace(state, deadline_ms=None)
    return state


_Key = tuple[Outcome, Undo, int, int, int, int, bool, bool, bool, bool, bool, bool, bool | None, bool]


def _key(state: StepState) -> _Key:
    acting, undoing = state.outcome in OPEN_OUTCOMES, state.undo in OPEN_UNDOS
    return (
        state.outcome,
        state.undo,
        1 if state.outcome in _SETTLED else min(state.generation, 2),
        state.attempt - state.budget_base if acting else min(state.attempt, 1),
        state.undo_attempt - state.budget_base if undoing else min(state.undo_attempt, 1),
        state.redrives if acting or undoing else 0,
        state.deadline_ms is not None,
        state.limit_ms is not None and acting,
        not isinstance(state.result, msgspec.UnsetType),
        state.effect is not None,
        state.late_success and state.undo is not Undo.COMPENSATED,
        not isinstance(state.payload, msgspec.UnsetType) and state.outcome not in PASSED,
        state.condition,
        state.problem,
    )


def _from(key: _Key) -> StepState:
    (
        outcome,
        undo,
        generation,
        attempt,
        undo_attempt,
        redrives,
        waits,
        limited,
        told,
        said,
        late,
        given,
        asked,
        unfit,
    ) = key
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
        FAR_MS if limited else None,
        _EMPTY if given else msgspec.UNSET,
        asked,
        unfit,
    )


def _some(moment_ms: int | None) -> int | None:
    return None if moment_ms is None else SOME_MS
