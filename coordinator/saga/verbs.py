"""What operators can do to a saga (design section 3, rule 12): a verb is legal only where the table and its rule say.

    retry       go on, and try what was given up again: the same command while it may have run, a new generation where
                it surely failed, and only then with another payload
    skip        leave out a step that did not run
    resolve     say what really happened to a step
    resume      go on where nothing was given up
    compensate  turn back, up to the pivot
    suspend     issue nothing until further notice
    abandon     end the saga as it is

`skip` and `resolve` change the record, and the saga goes on when no other step needs a person or an answer. A verb that
is refused raises Conflict with a sentence, and nothing has changed.
"""

from __future__ import annotations

from msgspec import UNSET

from coordinator.errors import Conflict
from coordinator.saga.effects import Decision, Effect, Moved, ResolveIncidents
from coordinator.saga.events import (
    AbandonRequested,
    CompensateRequested,
    Resolution,
    ResolveRequested,
    ResumeRequested,
    RetryRequested,
    SkipRequested,
    SuspendRequested,
    Verb,
)
from coordinator.saga.model import Facing, Outcome, SagaStatus, StepState, Undo, UndoEffect
from coordinator.saga.moves import (
    BACKWARD,
    EMPTY_RESULT,
    FORWARD,
    OPEN_OUTCOMES,
    OPEN_UNDOS,
    PASSED,
    Context,
    Steps,
    all_unknown,
    cancel,
    go_back,
    go_forward,
    issue_action,
    issue_undo,
    owing,
    replace,
    settled,
    with_step,
    with_steps,
)

_GIVEN_UP = (*OPEN_OUTCOMES, Outcome.UNKNOWN)
_UNSETTLED = (*_GIVEN_UP, Outcome.FAILED)


def retry(c: Context, event: RetryRequested) -> Decision:
    """Go on the way the saga faced, with what is open or was given up tried again on a new budget."""
    if event.step_name is not None:
        _named(c, event.step_name)
    steps = c.saga.steps if event.payload is None else _with_payload(c, event)
    return _closing(event, _go_on(c, steps))


def resume(c: Context, event: ResumeRequested) -> Decision:
    """Go on after a pause that an operator wanted; what was given up needs another verb."""
    for step, state in zip(c.definition.steps, c.saga.steps, strict=True):
        if c.saga.facing is FORWARD and state.outcome in (Outcome.UNKNOWN, Outcome.FAILED):
            ways = "retry, skip or resolve" if state.outcome is Outcome.FAILED else "retry or resolve"
            raise Conflict(f"step {step.name} is {state.outcome.value}: {ways} it")
        if state.undo is Undo.DEAD_LETTERED and state.deadline_ms is None:
            raise Conflict(
                f"the compensation of step {step.name} was given up: retry it, or resolve the step as undone"
            )
    return _closing(event, _go_on(c, c.saga.steps))


def skip(c: Context, event: SkipRequested) -> Decision:
    """Leave out a step that did not run."""
    position, state = _named(c, event.step_name)
    if c.saga.facing is not FORWARD:
        raise Conflict("the saga has turned back: there is nothing to leave out")
    if state.outcome in _GIVEN_UP:
        raise Conflict(f"step {event.step_name} is {state.outcome.value}, it may have run: resolve it")
    if state.outcome not in (Outcome.WAITING, Outcome.FAILED):
        raise Conflict(f"step {event.step_name} is {state.outcome.value} already")
    if position == c.definition.pivot and any(earlier.outcome not in PASSED for earlier in c.saga.steps[:position]):
        raise Conflict(
            f"it is not yet the turn of the pivot {event.step_name}: what comes before it can still be undone"
        )
    return _stated(c, event, with_step(c.saga.steps, position, settled(state, Outcome.SKIPPED)), FORWARD)


def resolve(c: Context, event: ResolveRequested) -> Decision:
    """Take an operator's word for what really happened to a step."""
    position, state = _named(c, event.step_name)
    if event.resolution is Resolution.UNDONE:
        if state.undo not in OPEN_UNDOS:
            raise Conflict(f"no compensation of step {event.step_name} is open: its undo is {state.undo.value}")
        undone = replace(state, undo=Undo.COMPENSATED, effect=UndoEffect.UNDONE, deadline_ms=None)
        return _stated(c, event, with_step(c.saga.steps, position, undone), BACKWARD)
    if c.saga.facing is not FORWARD:
        raise Conflict("the saga has turned back: a step can only be resolved as undone")
    if event.resolution is Resolution.FAILED:
        return _resolve_failed(c, event, position, state)
    if state.outcome not in (*_UNSETTLED, Outcome.COMPLETED):
        raise Conflict(f"step {event.step_name} is {state.outcome.value}: it has not been asked for anything")
    if event.problem is not None:
        raise Conflict(event.problem)
    completed = replace(
        settled(state, Outcome.COMPLETED), result=event.result or EMPTY_RESULT, budget_base=0, problem=False
    )
    steps = c.saga.steps
    if state.outcome is Outcome.COMPLETED:  # another result: what was built of the old one, and not sent, is built anew
        steps = tuple(replace(one, payload=UNSET) if one.held else one for one in steps)
    return _stated(c, event, with_step(steps, position, completed), FORWARD)


def compensate(c: Context, event: CompensateRequested) -> Decision:
    """Turn back, unless the point of no return is passed or may be."""
    if c.saga.status is SagaStatus.SUSPENDED and c.saga.facing is BACKWARD:
        raise Conflict("the saga has turned back already: retry or resume it")
    pivot = c.definition.pivot
    if pivot is not None and c.saga.steps[pivot].outcome not in (Outcome.WAITING, Outcome.FAILED):
        name, outcome = c.definition.steps[pivot].name, c.saga.steps[pivot].outcome
        raise Conflict(f"the pivot {name} is {outcome.value}: the saga only goes forward")
    return _closing(event, cancel(c))


def suspend(c: Context, _event: SuspendRequested) -> Decision:
    """Issue nothing until further notice; what is open stays open."""
    return Moved(with_steps(c, SagaStatus.SUSPENDED, c.saga.steps))


def abandon(c: Context, event: AbandonRequested) -> Decision:
    """End the saga as it is; what is open may have run, and a late success of it is still noted."""
    return _closing(event, Moved(with_steps(c, SagaStatus.ABANDONED, all_unknown(c.saga.steps))))


# ---------------------------------------------------------------- what the verbs are made of


def _go_on(c: Context, steps: Steps) -> Moved:
    return _go_on_forward(c, steps) if c.saga.facing is FORWARD else _go_on_backward(c, steps)


def _go_on_forward(c: Context, steps: Steps) -> Moved:
    """Re-issue what is open or unknown; what failed runs anew, as another command."""
    following = list(steps)
    effects: list[Effect] = []
    for position, state in enumerate(steps):
        if state.outcome in _GIVEN_UP:
            renewed = replace(state, budget_base=state.attempt, redrives=0)
            following[position] = issue_action(c, renewed, effects, position)
        elif state.outcome is Outcome.FAILED:
            following[position] = StepState(
                generation=state.generation + 1, payload=state.payload, condition=state.condition
            )
        elif state.problem:
            following[position] = replace(state, problem=False)  # whoever goes on takes the result as it is
    moved = go_forward(c, tuple(following))
    return replace(moved, effects=(*effects, *moved.effects))


def _go_on_backward(c: Context, steps: Steps) -> Moved:
    """Re-issue the undo that is open or was given up, else the next one; an open action is not waited for."""
    steps = all_unknown(steps)
    for position, state in enumerate(steps):
        if state.undo in OPEN_UNDOS:
            renewed = replace(state, budget_base=state.undo_attempt, redrives=0)
            return issue_undo(c, with_step(steps, position, renewed), position)
    return go_back(c, steps)


def _with_payload(c: Context, event: RetryRequested) -> Steps:
    """Give a step another payload; only one that surely did not run may change what it is asked."""
    if event.step_name is None or event.payload is None:
        raise Conflict("a payload needs the name of its step")
    position, state = _named(c, event.step_name)
    if c.saga.facing is not FORWARD or state.outcome not in (Outcome.FAILED, Outcome.WAITING):
        raise Conflict(f"step {event.step_name} is {state.outcome.value}: only a failed step's payload may change")
    if c.definition.steps[position].external:
        raise Conflict(f"step {event.step_name} is external: it has no payload")
    return with_step(c.saga.steps, position, replace(state, payload=event.payload))


def _resolve_failed(c: Context, event: ResolveRequested, position: int, state: StepState) -> Decision:
    if state.outcome not in _GIVEN_UP:
        raise Conflict(f"step {event.step_name} is {state.outcome.value}: there is nothing to resolve as failed")
    steps = with_step(c.saga.steps, position, settled(state, Outcome.FAILED))
    return _stated(c, event, steps, FORWARD if c.past_pivot else BACKWARD)


def _stated(c: Context, event: Verb, steps: Steps, facing: Facing) -> Moved:
    """A fact is on record; the saga goes on unless something else needs a person or an answer."""
    if facing is FORWARD:
        if any(state.outcome in _UNSETTLED or state.problem for state in steps):
            return Moved(with_steps(c, SagaStatus.SUSPENDED, steps))
        return _closing(event, go_forward(c, steps))
    if any(state.outcome in OPEN_OUTCOMES or state.undo in OPEN_UNDOS for state in steps):
        return Moved(with_steps(c, SagaStatus.SUSPENDED, owing(c.definition, steps), BACKWARD))
    return _closing(event, go_back(c, steps))


def _closing(event: Verb, moved: Moved) -> Moved:
    """A person has acted: the open incidents are closed."""
    return replace(moved, effects=(ResolveIncidents(event.actor), *moved.effects))


def _named(c: Context, step_name: str) -> tuple[int, StepState]:
    position = c.definition.index.get(step_name)
    if position is None:
        raise Conflict(f"the definition has no step {step_name!r}")
    return position, c.saga.steps[position]
