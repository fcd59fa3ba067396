"""The machine: one saga, one event, what follows. No I/O, no clock, no dice (they are arguments).

House rules
- TRANSITIONS and IGNORED together name every pair of status and event; a pair in neither is refused.
- A rule returns the whole next saga or nothing: an event that does not fit changes nothing.
- A reply fits when its command_id is the saga's own and of an open command; the step name alone never counts.
- A budget that ends without a final answer makes a step `unknown`, and `unknown` is undone like `completed`.
- Undo goes one at a time, latest step first; the next one waits until the one before is acknowledged.
- Past the pivot a saga only goes forward; what cannot be done there needs a person.

    machine (which rule) -> rules, verbs (what it means) -> moves (what follows) -> payloads (what a command carries)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import Any, Final, cast

from coordinator.errors import Conflict
from coordinator.saga import rules, verbs
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import Decision, Moved, Stayed, Verdict
from coordinator.saga.events import (
    AbandonRequested,
    BackoffElapsed,
    CompensateRequested,
    CompensationCompleted,
    CompensationFailed,
    DeadlinePassed,
    Event,
    ExternalAnswer,
    ExternalCompleted,
    ExternalFailed,
    PublicationDelayed,
    Reply,
    ResolveRequested,
    ResumeRequested,
    RetryRequested,
    SagaDeadlinePassed,
    SkipRequested,
    StartDue,
    StepCompleted,
    StepFailed,
    StepProgressed,
    SuspendRequested,
    Timer,
)
from coordinator.saga.model import RESTING, Direction, Outcome, Saga, SagaStatus, StepState, Undo, command_id
from coordinator.saga.moves import UNTOUCHED, Context, begin_saga

Rule = Callable[[Context, Any], Decision]

_COMMAND_ID = re.compile(r"(?P<saga>[^:]+):[1-9][0-9]{0,9}:(?P<step>[^:]+):(?P<direction>action|compensation)")

# A look into a set costs a quarter of what `isinstance` asks for a base class, and every reply passes here.
_REPLIES = frozenset({StepCompleted, StepFailed, StepProgressed, CompensationCompleted, CompensationFailed})

SCHEDULED, STARTED, PENDING, COMPENSATING, SUSPENDED, COMPLETED, FAILED, ABANDONED = SagaStatus

# fmt: off
TRANSITIONS: Final[dict[tuple[SagaStatus, type], Rule]] = {
    (SCHEDULED,    StartDue):             rules.start_now,
    (SCHEDULED,    CompensateRequested):  verbs.compensate,
    (SCHEDULED,    AbandonRequested):     verbs.abandon,
    (STARTED,      StepCompleted):        rules.advance,
    (STARTED,      StepFailed):           rules.turn_back,
    (STARTED,      StepProgressed):       rules.extend,
    (STARTED,      ExternalCompleted):    rules.advance,
    (STARTED,      ExternalFailed):       rules.refuse_external,
    (STARTED,      DeadlinePassed):       rules.retry_or_give_up,
    (STARTED,      BackoffElapsed):       rules.reissue,
    (STARTED,      PublicationDelayed):   rules.postpone,
    (STARTED,      SagaDeadlinePassed):   rules.run_late,
    (STARTED,      CompensateRequested):  verbs.compensate,
    (STARTED,      SuspendRequested):     verbs.suspend,
    (STARTED,      AbandonRequested):     verbs.abandon,
    (PENDING,      StepCompleted):        rules.advance,
    (PENDING,      StepFailed):           rules.turn_back,
    (PENDING,      StepProgressed):       rules.extend,
    (PENDING,      ExternalCompleted):    rules.advance,
    (PENDING,      ExternalFailed):       rules.refuse_external,
    (PENDING,      DeadlinePassed):       rules.retry_or_give_up,
    (PENDING,      BackoffElapsed):       rules.reissue,
    (PENDING,      PublicationDelayed):   rules.postpone,
    (PENDING,      SagaDeadlinePassed):   rules.run_late,
    (PENDING,      CompensateRequested):  verbs.compensate,
    (PENDING,      SuspendRequested):     verbs.suspend,
    (PENDING,      AbandonRequested):     verbs.abandon,
    (COMPENSATING, StepCompleted):        rules.late_success,
    (COMPENSATING, StepFailed):           rules.late_failure,
    (COMPENSATING, CompensationCompleted): rules.acknowledge_undo,
    (COMPENSATING, CompensationFailed):   rules.fail_undo,
    (COMPENSATING, ExternalCompleted):    rules.late_answer,
    (COMPENSATING, ExternalFailed):       rules.late_answer,
    (COMPENSATING, DeadlinePassed):       rules.undo_timed_out,
    (COMPENSATING, BackoffElapsed):       rules.reissue,
    (COMPENSATING, PublicationDelayed):   rules.postpone,
    (COMPENSATING, SuspendRequested):     verbs.suspend,
    (COMPENSATING, AbandonRequested):     verbs.abandon,
    (SUSPENDED,    StepCompleted):        rules.note_success,
    (SUSPENDED,    StepFailed):           rules.note_failure,
    (SUSPENDED,    CompensationCompleted): rules.note_undo,
    (SUSPENDED,    ExternalCompleted):    rules.note_success,
    (SUSPENDED,    ExternalFailed):       rules.note_refusal,
    (SUSPENDED,    RetryRequested):       verbs.retry,
    (SUSPENDED,    SkipRequested):        verbs.skip,
    (SUSPENDED,    ResolveRequested):     verbs.resolve,
    (SUSPENDED,    CompensateRequested):  verbs.compensate,
    (SUSPENDED,    ResumeRequested):      verbs.resume,
    (SUSPENDED,    AbandonRequested):     verbs.abandon,
    (COMPLETED,    StepCompleted):        rules.late_success,
    (COMPLETED,    StepFailed):           rules.late_failure,
    (COMPLETED,    ExternalCompleted):    rules.late_answer,
    (COMPLETED,    ExternalFailed):       rules.late_answer,
    (FAILED,       StepCompleted):        rules.late_success,
    (FAILED,       StepFailed):           rules.late_failure,
    (FAILED,       CompensationCompleted): rules.repeated_undo,
    (FAILED,       ExternalCompleted):    rules.late_answer,
    (FAILED,       ExternalFailed):       rules.late_answer,
    (ABANDONED,    StepCompleted):        rules.late_success,
    (ABANDONED,    StepFailed):           rules.late_failure,
    (ABANDONED,    CompensationCompleted): rules.late_undo,
    (ABANDONED,    ExternalCompleted):    rules.late_answer,
    (ABANDONED,    ExternalFailed):       rules.late_answer,
}

_NOTHING_ISSUED = "no command has been issued yet"
_UNDO_NOT_ISSUED = "no compensation has been issued"
_TURNED_BACK = "the saga has turned back"
_TIMERS_REST = "timers rest while a saga is suspended"
_OWED = "a failed compensation is owed all the same"
_BEGUN = "the saga has begun already"
_ENDED = "the saga has ended"

IGNORED: Final[dict[tuple[SagaStatus, type], str]] = {
    (SCHEDULED,    StepCompleted):        _NOTHING_ISSUED,
    (SCHEDULED,    StepFailed):           _NOTHING_ISSUED,
    (SCHEDULED,    StepProgressed):       _NOTHING_ISSUED,
    (SCHEDULED,    CompensationCompleted): _NOTHING_ISSUED,
    (SCHEDULED,    CompensationFailed):   _NOTHING_ISSUED,
    (SCHEDULED,    ExternalCompleted):    _NOTHING_ISSUED,
    (SCHEDULED,    ExternalFailed):       _NOTHING_ISSUED,
    (SCHEDULED,    DeadlinePassed):       _NOTHING_ISSUED,
    (SCHEDULED,    BackoffElapsed):       _NOTHING_ISSUED,
    (SCHEDULED,    PublicationDelayed):   _NOTHING_ISSUED,
    (SCHEDULED,    SagaDeadlinePassed):   _NOTHING_ISSUED,
    (STARTED,      CompensationCompleted): _UNDO_NOT_ISSUED,
    (STARTED,      CompensationFailed):   _UNDO_NOT_ISSUED,
    (STARTED,      StartDue):             _BEGUN,
    (PENDING,      CompensationCompleted): _UNDO_NOT_ISSUED,
    (PENDING,      CompensationFailed):   _UNDO_NOT_ISSUED,
    (PENDING,      StartDue):             _BEGUN,
    (COMPENSATING, StepProgressed):       _TURNED_BACK,
    (COMPENSATING, StartDue):             _BEGUN,
    (COMPENSATING, SagaDeadlinePassed):   _TURNED_BACK,
    (SUSPENDED,    StepProgressed):       _TIMERS_REST,
    (SUSPENDED,    CompensationFailed):   _OWED,
    (SUSPENDED,    DeadlinePassed):       _TIMERS_REST,
    (SUSPENDED,    BackoffElapsed):       _TIMERS_REST,
    (SUSPENDED,    PublicationDelayed):   _TIMERS_REST,
    (SUSPENDED,    StartDue):             _BEGUN,
    (SUSPENDED,    SagaDeadlinePassed):   _TIMERS_REST,
    (COMPLETED,    StepProgressed):       _ENDED,
    (COMPLETED,    CompensationCompleted): _UNDO_NOT_ISSUED,
    (COMPLETED,    CompensationFailed):   _UNDO_NOT_ISSUED,
    (COMPLETED,    DeadlinePassed):       _ENDED,
    (COMPLETED,    BackoffElapsed):       _ENDED,
    (COMPLETED,    PublicationDelayed):   _ENDED,
    (COMPLETED,    StartDue):             _ENDED,
    (COMPLETED,    SagaDeadlinePassed):   _ENDED,
    (FAILED,       StepProgressed):       _ENDED,
    (FAILED,       CompensationFailed):   _ENDED,
    (FAILED,       DeadlinePassed):       _ENDED,
    (FAILED,       BackoffElapsed):       _ENDED,
    (FAILED,       PublicationDelayed):   _ENDED,
    (FAILED,       StartDue):             _ENDED,
    (FAILED,       SagaDeadlinePassed):   _ENDED,
    (ABANDONED,    StepProgressed):       _ENDED,
    (ABANDONED,    CompensationFailed):   _ENDED,
    (ABANDONED,    DeadlinePassed):       _ENDED,
    (ABANDONED,    BackoffElapsed):       _ENDED,
    (ABANDONED,    PublicationDelayed):   _ENDED,
    (ABANDONED,    StartDue):             _ENDED,
    (ABANDONED,    SagaDeadlinePassed):   _ENDED,
}
# fmt: on


def begin(
    definition: SagaDefinition,
    saga_id: str,
    *,
    now_ms: int,
    input_: bytes = b"{}",
    start_at_ms: int | None = None,
    held: Container[str] = (),
) -> Moved:
    """Start a saga: version 1, its first commands issued, or scheduled until `start_at_ms`.

    `input_` is JSON text that fits the definition's model; `held` as in `decide`.
    """
    return begin_saga(definition, saga_id, now_ms, input_, start_at_ms, held)


def decide(
    definition: SagaDefinition, saga: Saga, event: Event, *, now_ms: int, roll: float, held: Container[str] = ()
) -> Decision:
    """Say what follows from `event`: the next saga with its effects, or why nothing changes.

    `now_ms` is the database's clock in milliseconds, `roll` a number in [0, 1) for the jitter of back-offs, `held` the
    participants that take no new actions at present. Raises Conflict when the saga does not allow an operator's verb;
    nothing was changed then.
    """
    kind = type(event)
    step = -1
    if kind in _REPLIES:
        reply = cast("Reply", event)
        step = _own_step(definition, saga, reply)
        if step < 0:
            return _misfit(definition, saga, reply)
    elif isinstance(event, Timer | ExternalAnswer):
        step = definition.index.get(event.step_name, -1)
        if step < 0:
            return Stayed(Verdict.FOREIGN, f"the definition has no step {event.step_name!r}")
        if isinstance(event, ExternalAnswer) and not definition.steps[step].external:
            return Stayed(Verdict.FOREIGN, f"step {event.step_name!r} is its participant's to answer")
    rule = TRANSITIONS.get((saga.status, kind))
    if rule is not None:
        state = saga.steps[step] if step >= 0 else UNTOUCHED
        return rule(Context(definition, saga, step, state, now_ms, roll, held), event)
    reason = IGNORED.get((saga.status, kind))
    if reason is not None:
        return Stayed(Verdict.STALE, reason)
    verb = kind.__name__.removesuffix("Requested").lower()
    raise Conflict(f"{verb} is not possible while the saga is {saga.status.value}")


DueTimer = DeadlinePassed | BackoffElapsed | StartDue | SagaDeadlinePassed


def due(definition: SagaDefinition, saga: Saga, *, now_ms: int) -> list[DueTimer]:
    """List the timers of a saga that have come due, the most particular first."""
    if saga.status in RESTING:
        return []
    if saga.status is SagaStatus.SCHEDULED:
        return [StartDue()] if saga.starts_ms is not None and saga.starts_ms <= now_ms else []
    timers: list[DueTimer] = [
        _timer(definition.steps[position].name, step)
        for position, step in enumerate(saga.steps)
        if step.deadline_ms is not None and step.deadline_ms <= now_ms
    ]
    if saga.expires_ms is not None and saga.expires_ms <= now_ms:
        timers.append(SagaDeadlinePassed())
    return timers


def _timer(name: str, step: StepState) -> DeadlinePassed | BackoffElapsed:
    if step.undo in (Undo.ISSUED, Undo.BACKING_OFF, Undo.DEAD_LETTERED):
        resting, direction, attempt = step.undo is not Undo.ISSUED, Direction.COMPENSATION, step.undo_attempt
    else:
        resting, direction, attempt = step.outcome is not Outcome.ISSUED, Direction.ACTION, step.attempt
    return (BackoffElapsed if resting else DeadlinePassed)(name, direction, attempt)


def _own_step(definition: SagaDefinition, saga: Saga, reply: Reply) -> int:
    """Find the position of the step whose command a reply answers; -1 when it answers none of this saga's."""
    name = reply.step_name
    position = definition.index.get(name, -1)
    if position < 0 or reply.source != definition.steps[position].participant:
        return -1
    fits = reply.command_id == command_id(saga.id, saga.steps[position].generation, name, reply.direction)
    return position if fits else -1


def _misfit(definition: SagaDefinition, saga: Saga, reply: Reply) -> Stayed:
    """Say why a reply answers no command of this saga."""
    position = definition.index.get(reply.step_name)
    if position is None:
        return Stayed(Verdict.FOREIGN, f"the definition has no step {reply.step_name!r}")
    if reply.source != definition.steps[position].participant:
        return Stayed(Verdict.FOREIGN, "not_owner: the reply does not come from the step's participant")
    named = _COMMAND_ID.fullmatch(reply.command_id)
    if named is None or named["saga"] != saga.id:
        return Stayed(Verdict.FOREIGN, "the command id is not of this saga")
    if named["step"] != reply.step_name:
        return Stayed(Verdict.FOREIGN, "the step name is not the one of the command id")
    if named["direction"] != reply.direction:
        return Stayed(Verdict.STALE, "an answer of the other direction than the command")
    return Stayed(Verdict.STALE, "an answer to another generation of the command")
