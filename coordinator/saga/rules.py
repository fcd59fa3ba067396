"""The rules that the machine's table names: each says what one event means in one kind of situation.

Every rule takes the context and the event and returns the whole decision. Rules of the forward way come first, then
those of the way back, then those of a suspended saga. Operators' verbs are in verbs.py; what follows from a rule is
put together in moves.py.
"""

from __future__ import annotations

import msgspec

from coordinator.saga.effects import CloseLetter, Decision, Effect, IncidentReason, Moved, OpenIncident, Stayed, Verdict
from coordinator.saga.events import (
    CompensationCompleted,
    CompensationFailed,
    ExternalCompleted,
    ExternalFailed,
    SagaDeadlinePassed,
    StartDue,
    StepCompleted,
    StepFailed,
    StepProgressed,
    Timer,
)
from coordinator.saga.model import Direction, Outcome, Saga, SagaStatus, StepState, Undo, UndoEffect
from coordinator.saga.moves import (
    BACKWARD,
    FORWARD,
    OPEN_OUTCOMES,
    OPEN_UNDOS,
    Context,
    await_or_undo,
    back_off_or_give_up,
    back_off_or_park,
    cancel,
    fail,
    go_back,
    go_forward,
    issue_undo,
    move,
    owing,
    reissue_action,
    replace,
    settled,
    with_step,
    with_steps,
)

_COMPLETED, _NONE = Outcome.COMPLETED, Undo.NONE
_OVER = "an attempt that is over"


# ---------------------------------------------------------------- forward


def start_now(c: Context, _event: StartDue) -> Decision:
    """The time has come: issue the first commands."""
    return go_forward(c, c.saga.steps)


def advance(c: Context, event: StepCompleted | ExternalCompleted) -> Decision:
    """The step is done: issue the next one, or complete the saga; a result with a problem needs a person."""
    if c.state.outcome not in OPEN_OUTCOMES:
        return _too_late(c, Outcome.COMPLETED, event)
    steps = with_step(c.saga.steps, c.step, _completed(c.state, event))
    if c.saga.facing is not FORWARD:
        return await_or_undo(c, steps)
    if event.problem is not None:
        return note_success(c, event)
    moved = go_forward(c, steps)
    return _with_effects(moved, _letter(c, Direction.ACTION)) if c.state.redrives else moved


def turn_back(c: Context, event: StepFailed) -> Decision:
    """A final failure turns the saga back; a retryable one uses the step's budget."""
    if c.state.outcome not in OPEN_OUTCOMES:
        return late_failure(c, event)
    if not event.error.retryable:
        return fail(c, f"{event.error.code}: {event.error.message}")
    if c.state.outcome is Outcome.BACKING_OFF or event.attempt != c.state.attempt:
        return Stayed(Verdict.STALE, f"a retryable failure of {_OVER}")
    return back_off_or_give_up(c)


def refuse_external(c: Context, event: ExternalFailed) -> Decision:
    """Somebody outside has refused: the saga turns back."""
    if c.state.outcome not in OPEN_OUTCOMES:
        return _too_late(c, Outcome.FAILED, event)
    return fail(c, f"{event.error.code}: {event.error.message}")


def extend(c: Context, _event: StepProgressed) -> Decision:
    """The participant is still working: its deadline moves on, up to the declared maximum."""
    if c.state.outcome is not Outcome.ISSUED:
        return Stayed(Verdict.STALE, f"progress of {_OVER}")
    if c.state.limit_ms is None:
        return Stayed(Verdict.STALE, "the step does not declare by how much progress may extend its deadline")
    timeout_ms = c.definition.steps[c.step].timeout_ms
    deadline_ms = min(c.now_ms + timeout_ms, c.state.limit_ms)
    if c.state.deadline_ms is not None and deadline_ms <= c.state.deadline_ms:
        return Stayed(Verdict.STALE, "the deadline cannot be extended any further")
    return Moved(move(c, replace(c.state, deadline_ms=deadline_ms)))


def retry_or_give_up(c: Context, event: Timer) -> Decision:
    """No answer in time: try again after a pause, or call the outcome unknown and turn back."""
    if not _is_current(c, event):
        return Stayed(Verdict.STALE, f"the deadline of {_OVER}")
    return back_off_or_give_up(c)


def reissue(c: Context, event: Timer) -> Decision:
    """The pause is over: send the next attempt of the same command."""
    state = c.state
    if event.direction is Direction.COMPENSATION:
        paused = state.undo in (Undo.BACKING_OFF, Undo.DEAD_LETTERED) and state.deadline_ms is not None
        if not paused or event.attempt != state.undo_attempt:
            return Stayed(Verdict.STALE, f"the pause of {_OVER}")
        return issue_undo(c, c.saga.steps, c.step)
    if event.attempt == state.attempt and state.outcome is Outcome.BACKING_OFF:
        return reissue_action(c, c.saga.steps, c.step)
    if state.held:
        return _release(c)
    return Stayed(Verdict.STALE, f"the pause of {_OVER}")


def _release(c: Context) -> Decision:
    """Flow control held the step back: ask again."""
    if c.definition.steps[c.step].participant in c.held:
        return Stayed(Verdict.STALE, "the participant is still not to be asked for anything new")
    return go_forward(c, c.saga.steps, heard=False)


def postpone(c: Context, event: Timer) -> Decision:
    """The command had not left our outbox when its deadline came: it gets its whole time from now on."""
    if not _is_current(c, event):
        return Stayed(Verdict.STALE, f"the deadline of {_OVER}")
    step = c.definition.steps[c.step]
    action = event.direction is Direction.ACTION
    timeout_ms = step.timeout_ms if action else step.compensation_timeout_ms
    limit_ms = None if step.progress_max_ms is None or not action else c.now_ms + step.progress_max_ms
    return Moved(move(c, replace(c.state, deadline_ms=c.now_ms + timeout_ms, limit_ms=limit_ms)))


def run_late(c: Context, _event: SagaDeadlinePassed) -> Decision:
    """The whole saga is late: before the pivot it turns back, from then on a person hears of it (rule 10)."""
    pivot = c.definition.pivot
    if pivot is None or c.saga.steps[pivot].outcome is Outcome.WAITING:
        return cancel(c)
    saga = replace(with_steps(c, c.saga.status, c.saga.steps), expires_ms=None)
    return Moved(saga, (OpenIncident(IncidentReason.LATE, None, "the deadline of the whole saga has passed"),))


# ---------------------------------------------------------------- backward


def acknowledge_undo(c: Context, event: CompensationCompleted) -> Decision:
    """The step is undone: issue the next undo, or end the saga as failed."""
    if c.state.undo not in OPEN_UNDOS:
        return _undo_not_open(c)
    undone = _undone(c.state, event)
    decision = go_back(c, with_step(c.saga.steps, c.step, undone))
    return _with_effects(decision, (*_letter(c, Direction.COMPENSATION), *_contradictions(c, undone)))


def fail_undo(c: Context, event: CompensationFailed) -> Decision:
    """The undo did not work: try again after a pause, or park the saga; nothing else is undone before it."""
    if c.state.undo is not Undo.ISSUED or event.attempt != c.state.undo_attempt:
        return Stayed(Verdict.STALE, "the failure of a compensation's attempt that is over")
    return back_off_or_park(c, f"{event.error.code}: {event.error.message}")


def undo_timed_out(c: Context, event: Timer) -> Decision:
    """No answer to an undo in time: as if it had failed."""
    if not _is_current(c, event):
        return Stayed(Verdict.STALE, f"the deadline of {_OVER}")
    return back_off_or_park(c, "no answer in time")


# ---------------------------------------------------------------- too late


def late_success(c: Context, event: StepCompleted) -> Decision:
    """A success after the outcome was settled revives nothing; that of an unknown step is worth a line."""
    return _too_late(c, Outcome.COMPLETED, event)


def _too_late(c: Context, said: Outcome, event: object) -> Decision:
    if c.state.outcome is not Outcome.UNKNOWN or not isinstance(event, StepCompleted):
        return _not_open(c, said)
    if c.state.late_success:
        return Stayed(Verdict.DUPLICATE, "the late success is noted already")
    noted = replace(c.state, late_success=True)
    return Moved(move(c, noted), _contradictions(c, noted), Verdict.STALE, "a late success of an unknown step")


def late_failure(c: Context, event: StepFailed) -> Decision:
    """A failure after the outcome was settled changes nothing."""
    if event.error.retryable:
        return Stayed(Verdict.STALE, f"a retryable failure of {_OVER}")
    return _not_open(c, Outcome.FAILED)


def late_answer(c: Context, event: ExternalCompleted | ExternalFailed) -> Decision:
    """An answer from outside to a step that does not wait for one any more."""
    return _not_open(c, Outcome.COMPLETED if isinstance(event, ExternalCompleted) else Outcome.FAILED)


def repeated_undo(c: Context, _event: CompensationCompleted) -> Decision:
    """An acknowledgement of an undo on a saga whose undos were all acknowledged."""
    return _undo_not_open(c)


def late_undo(c: Context, event: CompensationCompleted) -> Decision:
    """An acknowledgement of an undo that was open when the saga was abandoned: it is on record what remains."""
    if c.state.undo not in OPEN_UNDOS:
        return _undo_not_open(c)
    undone = _undone(c.state, event)
    return Moved(move(c, undone), _contradictions(c, undone), Verdict.STALE, "an undo of an abandoned saga")


# ---------------------------------------------------------------- suspended: noted, and nothing issued


def note_success(c: Context, event: StepCompleted | ExternalCompleted) -> Decision:
    """An open action succeeded while the saga rests, perhaps one that automation had given up on."""
    if not _is_open_at_rest(c):
        return _too_late(c, Outcome.COMPLETED, event)
    effects, completed = _letter(c, Direction.ACTION), _completed(c.state, event)
    if event.problem is not None and c.saga.facing is FORWARD:  # on the way back nobody reads it
        effects += (OpenIncident(IncidentReason.RESULT_SCHEMA, c.step, event.problem),)
        completed = replace(completed, problem=True)
    return Moved(_resting(c, completed), effects)


def note_failure(c: Context, event: StepFailed) -> Decision:
    """An open action failed for good while the saga rests: it will turn back, or is past the pivot and cannot."""
    if not _is_open_at_rest(c):
        return late_failure(c, event)
    if event.error.retryable:
        return Stayed(Verdict.STALE, "a retryable failure while the saga is suspended")
    return _note_failed(c, f"{event.error.code}: {event.error.message}")


def note_refusal(c: Context, event: ExternalFailed) -> Decision:
    """Somebody outside has refused an external step while the saga rests."""
    if not _is_open_at_rest(c):
        return _too_late(c, Outcome.FAILED, event)
    return _note_failed(c, f"{event.error.code}: {event.error.message}")


def note_undo(c: Context, event: CompensationCompleted) -> Decision:
    """An undo was acknowledged while the saga rests, perhaps one that automation had given up on."""
    if c.state.undo not in OPEN_UNDOS:
        return _undo_not_open(c)
    undone = _undone(c.state, event)
    return Moved(_resting(c, undone), (*_letter(c, Direction.COMPENSATION), *_contradictions(c, undone)))


def _note_failed(c: Context, why: str) -> Decision:
    failed = settled(c.state, Outcome.FAILED)
    if c.past_pivot:
        return Moved(_resting(c, failed), (OpenIncident(IncidentReason.FAILED_PAST_PIVOT, c.step, why),))
    steps = owing(c.definition, with_step(c.saga.steps, c.step, failed))
    return Moved(with_steps(c, SagaStatus.SUSPENDED, steps, BACKWARD))


def _is_open_at_rest(c: Context) -> bool:
    """Whether a suspended saga waits for an answer: a step given up on the way forward was not undone, so it counts."""
    given_up = c.state.outcome is Outcome.UNKNOWN and c.saga.facing is FORWARD
    return given_up or c.state.outcome in OPEN_OUTCOMES


def _resting(c: Context, state: StepState) -> Saga:
    return move(c, state, SagaStatus.SUSPENDED)


# ---------------------------------------------------------------- what the rules are made of


def _completed(state: StepState, event: StepCompleted | ExternalCompleted) -> StepState:
    if state.payload is msgspec.UNSET and state.condition is None:
        return StepState(_COMPLETED, _NONE, state.generation, state.attempt, 0, 0, None, event.result)
    return StepState(
        _COMPLETED,
        _NONE,
        state.generation,
        state.attempt,
        0,
        0,
        None,
        event.result,
        payload=state.payload,
        condition=state.condition,
    )


def _undone(state: StepState, event: CompensationCompleted) -> StepState:
    return replace(state, undo=Undo.COMPENSATED, effect=event.effect, deadline_ms=None)


def _letter(c: Context, direction: Direction) -> tuple[Effect, ...]:
    """What had been given up has worked after all: its dead letter is closed."""
    return (CloseLetter(c.step, direction),) if c.state.redrives else ()


def _with_effects(moved: Moved, effects: tuple[Effect, ...]) -> Moved:
    return replace(moved, effects=moved.effects + effects) if effects else moved


def _contradictions(c: Context, state: StepState) -> tuple[Effect, ...]:
    """A late success of a step for which there was nothing to undo; the order in which we hear of both is chance."""
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
