"""The rules that the machine's table names: each says what one event means in one kind of situation.

Every rule takes the context and the event and returns the whole decision. Rules of the forward way come
first, then those of the way back, then those of a suspended saga; the steps they are made of stand below.
"""

from __future__ import annotations

import msgspec

from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import (
    DeadLetterCompensation,
    Decision,
    Effect,
    IncidentReason,
    IssueCommand,
    Moved,
    OpenIncident,
    ResolveIncidents,
    Stayed,
    Verdict,
)
from coordinator.saga.events import (
    CompensationCompleted,
    CompensationFailed,
    RetryRequested,
    StepCompleted,
    StepFailed,
    Timer,
)
from coordinator.saga.model import (
    Direction,
    Facing,
    Outcome,
    Saga,
    SagaStatus,
    StepState,
    Undo,
    UndoEffect,
)

# Every reply passes here, and reading a member through its class is the dearest thing a rule does.
_WAITING, _ISSUED, _COMPLETED = Outcome.WAITING, Outcome.ISSUED, Outcome.COMPLETED
_STARTED, _PENDING = SagaStatus.STARTED, SagaStatus.PENDING
_NONE, _OWED, _ACTION, _FORWARD = Undo.NONE, Undo.OWED, Direction.ACTION, Facing.FORWARD

_OPEN_OUTCOMES = (Outcome.ISSUED, Outcome.BACKING_OFF)
_OPEN_UNDOS = (Undo.ISSUED, Undo.BACKING_OFF)
_TO_BE_UNDONE = (Outcome.COMPLETED, Outcome.UNKNOWN)
_UNTOUCHED = StepState()
_replace = msgspec.structs.replace


class Context(msgspec.Struct, frozen=True, gc=False):
    """What a rule may look at; `step` is the position that the event is about and `state` its present value.

    An event about the saga as a whole has step -1, and its rule looks at no single state.
    """

    definition: SagaDefinition
    saga: Saga
    step: int
    state: StepState
    now_ms: int
    roll: float


def begin_saga(definition: SagaDefinition, saga_id: str, now_ms: int) -> Moved:
    """Create a saga with its first command issued."""
    first = StepState(Outcome.ISSUED, attempt=1, deadline_ms=now_ms + definition.steps[0].timeout_ms)
    steps = (first, *(_UNTOUCHED,) * (len(definition.steps) - 1))
    saga = Saga(saga_id, definition.name, definition.version, _STARTED, 1, steps)
    return Moved(saga, (IssueCommand(0, _ACTION, 1),))


# ---------------------------------------------------------------- forward


def advance(c: Context, event: StepCompleted) -> Decision:
    """The step is done: issue the next one, or complete the saga; a result with a problem needs a person."""
    if c.state.outcome not in _OPEN_OUTCOMES:
        return late_success(c, event)
    if event.problem is not None:
        return note_success(c, event)
    return _proceed(c, _with(c.saga.steps, c.step, _completed(c.state, event)), _FORWARD)


def turn_back(c: Context, event: StepFailed) -> Decision:
    """A final failure turns the saga back; a retryable one uses the step's budget."""
    if c.state.outcome not in _OPEN_OUTCOMES:
        return late_failure(c, event)
    if not event.error.retryable:
        return _turn_back(c, Outcome.FAILED)
    if c.state.outcome is Outcome.BACKING_OFF or event.attempt != c.state.attempt:
        return Stayed(Verdict.STALE, "a retryable failure of an attempt that is over")
    return _back_off_or_give_up(c)


def retry_or_give_up(c: Context, event: Timer) -> Decision:
    """No answer in time: try again after a pause, or call the outcome unknown and turn back."""
    if not _is_current(c, event):
        return Stayed(Verdict.STALE, "the deadline of an attempt that is over")
    return _back_off_or_give_up(c)


def reissue(c: Context, event: Timer) -> Decision:
    """The pause is over: send the next attempt of the same command."""
    state = c.state
    if event.direction is Direction.ACTION:
        if state.outcome is not Outcome.BACKING_OFF or event.attempt != state.attempt:
            return Stayed(Verdict.STALE, "the pause of an attempt that is over")
        return _issue_action(c, c.saga.steps, c.step)
    if state.undo is not Undo.BACKING_OFF or event.attempt != state.undo_attempt:
        return Stayed(Verdict.STALE, "the pause of an attempt that is over")
    return _issue_undo(c, c.saga.steps, c.step)


def postpone(c: Context, event: Timer) -> Decision:
    """The command had not left our outbox when its deadline came: it gets its whole time from now on."""
    if not _is_current(c, event):
        return Stayed(Verdict.STALE, "the deadline of an attempt that is over")
    step = c.definition.steps[c.step]
    action = event.direction is Direction.ACTION
    timeout_ms = step.timeout_ms if action else step.compensation_timeout_ms
    waiting = _replace(c.state, deadline_ms=c.now_ms + timeout_ms)
    return Moved(_moved(c.saga, c.saga.status, _with(c.saga.steps, c.step, waiting)))


# ---------------------------------------------------------------- backward


def acknowledge_undo(c: Context, event: CompensationCompleted) -> Decision:
    """The step is undone: issue the next undo, or end the saga as failed."""
    if c.state.undo not in _OPEN_UNDOS:
        return _undo_not_open(c)
    undone = _undone(c.state, event)
    decision = _proceed(c, _with(c.saga.steps, c.step, undone), Facing.BACKWARD)
    incidents = _contradictions(c, undone)
    return _replace(decision, effects=decision.effects + incidents) if incidents else decision


def fail_undo(c: Context, event: CompensationFailed) -> Decision:
    """The undo did not work: try again after a pause, or park the saga; nothing else is undone before it."""
    if c.state.undo is not Undo.ISSUED or event.attempt != c.state.undo_attempt:
        return Stayed(Verdict.STALE, "the failure of a compensation's attempt that is over")
    return _back_off_or_park(c, f"{event.error.code}: {event.error.message}")


def undo_timed_out(c: Context, event: Timer) -> Decision:
    """No answer to an undo in time: as if it had failed."""
    if not _is_current(c, event):
        return Stayed(Verdict.STALE, "the deadline of an attempt that is over")
    return _back_off_or_park(c, "no answer in time")


# ---------------------------------------------------------------- too late


def late_success(c: Context, _event: StepCompleted) -> Decision:
    """A success after the outcome was settled revives nothing; that of an unknown step is worth a line."""
    if c.state.outcome is not Outcome.UNKNOWN:
        return _not_open(c, Outcome.COMPLETED)
    if c.state.late_success:
        return Stayed(Verdict.DUPLICATE, "the late success is noted already")
    noted = _replace(c.state, late_success=True)
    saga = _moved(c.saga, c.saga.status, _with(c.saga.steps, c.step, noted))
    return Moved(saga, _contradictions(c, noted), Verdict.STALE, "a late success of an unknown step")


def late_failure(c: Context, event: StepFailed) -> Decision:
    """A failure after the outcome was settled changes nothing."""
    if event.error.retryable:
        return Stayed(Verdict.STALE, "a retryable failure of an attempt that is over")
    return _not_open(c, Outcome.FAILED)


def repeated_undo(c: Context, _event: CompensationCompleted) -> Decision:
    """An acknowledgement of an undo on a saga that has ended."""
    return _undo_not_open(c)


# ---------------------------------------------------------------- suspended: noted, and nothing issued


def note_success(c: Context, event: StepCompleted) -> Decision:
    """An open action succeeded while the saga rests."""
    if c.state.outcome not in _OPEN_OUTCOMES:
        return late_success(c, event)
    effects: tuple[Effect, ...] = ()
    if event.problem is not None:
        effects = (OpenIncident(IncidentReason.RESULT_SCHEMA, c.step, event.problem),)
    steps = _with(c.saga.steps, c.step, _completed(c.state, event))
    return Moved(_moved(c.saga, SagaStatus.SUSPENDED, steps), effects)


def note_failure(c: Context, event: StepFailed) -> Decision:
    """An open action failed for good while the saga rests: it will turn back when it goes on."""
    if c.state.outcome not in _OPEN_OUTCOMES:
        return late_failure(c, event)
    if event.error.retryable:
        return Stayed(Verdict.STALE, "a retryable failure while the saga is suspended")
    return Moved(_moved(c.saga, SagaStatus.SUSPENDED, _owing(c, Outcome.FAILED), Facing.BACKWARD))


def note_undo(c: Context, event: CompensationCompleted) -> Decision:
    """An undo was acknowledged while the saga rests, perhaps one that automation had given up on."""
    if c.state.undo not in (*_OPEN_UNDOS, Undo.DEAD_LETTERED):
        return _undo_not_open(c)
    undone = _undone(c.state, event)
    saga = _moved(c.saga, SagaStatus.SUSPENDED, _with(c.saga.steps, c.step, undone))
    return Moved(saga, _contradictions(c, undone))


def resume(c: Context, event: RetryRequested) -> Decision:
    """Go on the way the saga faced: re-issue what is open or was given up, else whatever comes next."""
    decision = _go_on(c)
    return _replace(decision, effects=(ResolveIncidents(event.actor), *decision.effects))


# ---------------------------------------------------------------- what the rules are made of


def _go_on(c: Context) -> Moved:
    for position, state in enumerate(c.saga.steps):
        if state.outcome in _OPEN_OUTCOMES:
            renewed = _replace(state, budget_base=state.attempt)
            return _issue_action(c, _with(c.saga.steps, position, renewed), position)
        if state.undo in (*_OPEN_UNDOS, Undo.DEAD_LETTERED):
            renewed = _replace(state, budget_base=state.undo_attempt)
            return _issue_undo(c, _with(c.saga.steps, position, renewed), position)
    return _proceed(c, c.saga.steps, c.saga.facing)


def _proceed(c: Context, steps: tuple[StepState, ...], facing: Facing) -> Moved:
    """Issue what comes next when nothing is open, or end the saga."""
    if facing is _FORWARD:
        for position, state in enumerate(steps):
            if state.outcome is _WAITING:
                return _issue_action(c, steps, position)
        return Moved(_moved(c.saga, SagaStatus.COMPLETED, steps))
    for position in range(len(steps) - 1, -1, -1):
        if steps[position].undo is _OWED:
            return _issue_undo(c, steps, position)
    return Moved(_moved(c.saga, SagaStatus.FAILED, steps, facing))


def _issue_action(c: Context, steps: tuple[StepState, ...], position: int) -> Moved:
    state = steps[position]
    attempt = state.attempt + 1
    deadline_ms = c.now_ms + c.definition.steps[position].timeout_ms
    issued = StepState(_ISSUED, _NONE, state.generation, attempt, 0, state.budget_base, deadline_ms)
    # A saga that has heard nothing yet stays `started` while it repeats its first command.
    status = _STARTED if attempt > 1 and c.saga.status is _STARTED else _PENDING
    saga = _moved(c.saga, status, _with(steps, position, issued))
    return Moved(saga, (IssueCommand(position, _ACTION, attempt),))


def _issue_undo(c: Context, steps: tuple[StepState, ...], position: int) -> Moved:
    state = steps[position]
    attempt = state.undo_attempt + 1
    deadline_ms = c.now_ms + c.definition.steps[position].compensation_timeout_ms
    issued = _replace(state, undo=Undo.ISSUED, undo_attempt=attempt, deadline_ms=deadline_ms)
    saga = _moved(c.saga, SagaStatus.COMPENSATING, _with(steps, position, issued), Facing.BACKWARD)
    return Moved(saga, (IssueCommand(position, Direction.COMPENSATION, attempt),))


def _turn_back(c: Context, outcome: Outcome) -> Moved:
    return _proceed(c, _owing(c, outcome), Facing.BACKWARD)


def _owing(c: Context, outcome: Outcome) -> tuple[StepState, ...]:
    """Settle the step of the event as `outcome` and mark every step that must be undone."""
    settled = _with(c.saga.steps, c.step, _replace(c.state, outcome=outcome, deadline_ms=None))
    return tuple(
        _replace(state, undo=Undo.OWED, budget_base=0)
        if state.outcome in _TO_BE_UNDONE and step.compensation is not None
        else state
        for state, step in zip(settled, c.definition.steps, strict=True)
    )


def _back_off_or_give_up(c: Context) -> Moved:
    retry = c.definition.steps[c.step].retry
    used = c.state.attempt - c.state.budget_base
    if used >= retry.attempts:
        return _turn_back(c, Outcome.UNKNOWN)
    again_ms = c.now_ms + retry.pause_ms(used, c.roll)
    resting = _replace(c.state, outcome=Outcome.BACKING_OFF, deadline_ms=again_ms)
    return Moved(_moved(c.saga, c.saga.status, _with(c.saga.steps, c.step, resting)))


def _back_off_or_park(c: Context, why: str) -> Moved:
    retry = c.definition.steps[c.step].compensation_retry
    used = c.state.undo_attempt - c.state.budget_base
    if used < retry.attempts:
        again_ms = c.now_ms + retry.pause_ms(used, c.roll)
        resting = _replace(c.state, undo=Undo.BACKING_OFF, deadline_ms=again_ms)
        return Moved(_moved(c.saga, c.saga.status, _with(c.saga.steps, c.step, resting)))
    parked = _replace(c.state, undo=Undo.DEAD_LETTERED, deadline_ms=None)
    saga = _moved(c.saga, SagaStatus.SUSPENDED, _with(c.saga.steps, c.step, parked), Facing.BACKWARD)
    incident = OpenIncident(IncidentReason.COMPENSATION_DEAD_LETTERED, c.step, why)
    return Moved(saga, (DeadLetterCompensation(c.step, why), incident))


def _completed(state: StepState, event: StepCompleted) -> StepState:
    return StepState(_COMPLETED, _NONE, state.generation, state.attempt, 0, 0, None, event.result)


def _undone(state: StepState, event: CompensationCompleted) -> StepState:
    return _replace(state, undo=Undo.COMPENSATED, effect=event.effect, deadline_ms=None)


def _contradictions(c: Context, state: StepState) -> tuple[Effect, ...]:
    """A step cannot have succeeded and had nothing to undo; the order in which we hear of both is chance."""
    if not (state.late_success and state.effect is UndoEffect.NOTHING_TO_UNDO):
        return ()
    detail = "the participant reported success of a step for which it had nothing to undo"
    return (OpenIncident(IncidentReason.CONFLICTING_UNDO, c.step, detail),)


def _not_open(c: Context, said: Outcome) -> Stayed:
    """Judge a final answer to an action that is not open."""
    outcome = c.state.outcome
    if outcome is said:
        return Stayed(Verdict.DUPLICATE, f"the step is {outcome.value} already")
    if outcome in (Outcome.COMPLETED, Outcome.FAILED):
        return Stayed(Verdict.STALE, f"conflicting_reply: the step is {outcome.value} already")
    return Stayed(Verdict.STALE, f"the step is {outcome.value}")


def _undo_not_open(c: Context) -> Stayed:
    if c.state.undo is Undo.COMPENSATED:
        return Stayed(Verdict.DUPLICATE, "the step is compensated already")
    return Stayed(Verdict.STALE, f"the step's undo is {c.state.undo.value}")


def _is_current(c: Context, event: Timer) -> bool:
    if event.direction is Direction.ACTION:
        return c.state.outcome is Outcome.ISSUED and event.attempt == c.state.attempt
    return c.state.undo is Undo.ISSUED and event.attempt == c.state.undo_attempt


def _with(steps: tuple[StepState, ...], position: int, state: StepState) -> tuple[StepState, ...]:
    changed = list(steps)
    changed[position] = state
    return tuple(changed)


def _moved(saga: Saga, status: SagaStatus, steps: tuple[StepState, ...], facing: Facing | None = None) -> Saga:
    facing = facing or saga.facing
    return Saga(saga.id, saga.definition, saga.definition_version, status, saga.version + 1, steps, facing)
