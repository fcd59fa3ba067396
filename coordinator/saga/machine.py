"""The machine: one saga, one event, what follows. No I/O, no clock, no dice (they are arguments).

House rules
- TRANSITIONS and IGNORED together name every pair of status and event; a pair in neither is refused.
- A rule returns the whole next saga or nothing: an event that does not fit changes nothing.
- A reply fits when its command_id is the saga's own and of an open command; the step name alone never counts.
- A budget that ends without a final answer makes a step `unknown`, and `unknown` is undone like `completed`.
- Undo goes one at a time, latest step first; the next one waits until the one before is acknowledged.

Sequential sagas for now: at most one command is open. Nothing here relies on that except `_proceed`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, cast

from coordinator.errors import Conflict
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import Decision, Moved, Stayed, Verdict
from coordinator.saga.events import (
    BackoffElapsed,
    CompensationCompleted,
    CompensationFailed,
    DeadlinePassed,
    Event,
    PublicationDelayed,
    Reply,
    RetryRequested,
    StepCompleted,
    StepFailed,
    StepProgressed,
    Timer,
)
from coordinator.saga.model import Direction, Outcome, Saga, SagaStatus, StepState, Undo, command_id
from coordinator.saga.rules import (
    Context,
    acknowledge_undo,
    advance,
    begin_saga,
    fail_undo,
    late_failure,
    late_success,
    note_failure,
    note_success,
    note_undo,
    postpone,
    reissue,
    repeated_undo,
    resume,
    retry_or_give_up,
    turn_back,
    undo_timed_out,
)

Rule = Callable[[Context, Any], Decision]

_COMMAND_ID = re.compile(r"(?P<saga>[^:]+):[1-9][0-9]{0,9}:(?P<step>[^:]+):(?P<direction>action|compensation)")

# A look into a set costs a quarter of what `isinstance` asks for a base class, and every reply passes here.
_REPLIES = frozenset({StepCompleted, StepFailed, StepProgressed, CompensationCompleted, CompensationFailed})

SCHEDULED, STARTED, PENDING, COMPENSATING, SUSPENDED, COMPLETED, FAILED, ABANDONED = SagaStatus

# fmt: off
TRANSITIONS: Final[dict[tuple[SagaStatus, type], Rule]] = {
    (STARTED,      StepCompleted):         advance,
    (STARTED,      StepFailed):            turn_back,
    (STARTED,      DeadlinePassed):        retry_or_give_up,
    (STARTED,      BackoffElapsed):        reissue,
    (STARTED,      PublicationDelayed):    postpone,
    (PENDING,      StepCompleted):         advance,
    (PENDING,      StepFailed):            turn_back,
    (PENDING,      DeadlinePassed):        retry_or_give_up,
    (PENDING,      BackoffElapsed):        reissue,
    (PENDING,      PublicationDelayed):    postpone,
    (COMPENSATING, StepCompleted):         late_success,
    (COMPENSATING, StepFailed):            late_failure,
    (COMPENSATING, CompensationCompleted): acknowledge_undo,
    (COMPENSATING, CompensationFailed):    fail_undo,
    (COMPENSATING, DeadlinePassed):        undo_timed_out,
    (COMPENSATING, BackoffElapsed):        reissue,
    (COMPENSATING, PublicationDelayed):    postpone,
    (SUSPENDED,    StepCompleted):         note_success,
    (SUSPENDED,    StepFailed):            note_failure,
    (SUSPENDED,    CompensationCompleted): note_undo,
    (SUSPENDED,    RetryRequested):        resume,
    (COMPLETED,    StepCompleted):         late_success,
    (COMPLETED,    StepFailed):            late_failure,
    (FAILED,       StepCompleted):         late_success,
    (FAILED,       StepFailed):            late_failure,
    (FAILED,       CompensationCompleted): repeated_undo,
    (ABANDONED,    StepCompleted):         late_success,
    (ABANDONED,    StepFailed):            late_failure,
    (ABANDONED,    CompensationCompleted): repeated_undo,
}

_NO_MAXIMUM = "no step declares by how much progress may extend its deadline"
_UNDO_NOT_ISSUED = "no compensation has been issued"
_NOTHING_ISSUED = "no command has been issued yet"
_TIMERS_REST = "timers rest while a saga is suspended"
_ENDED = "the saga has ended"

IGNORED: Final[dict[tuple[SagaStatus, type], str]] = {
    (SCHEDULED,    StepCompleted):         _NOTHING_ISSUED,
    (SCHEDULED,    StepFailed):            _NOTHING_ISSUED,
    (SCHEDULED,    StepProgressed):        _NOTHING_ISSUED,
    (SCHEDULED,    CompensationCompleted): _NOTHING_ISSUED,
    (SCHEDULED,    CompensationFailed):    _NOTHING_ISSUED,
    (SCHEDULED,    DeadlinePassed):        _NOTHING_ISSUED,
    (SCHEDULED,    BackoffElapsed):        _NOTHING_ISSUED,
    (SCHEDULED,    PublicationDelayed):    _NOTHING_ISSUED,
    (STARTED,      StepProgressed):        _NO_MAXIMUM,
    (STARTED,      CompensationCompleted): _UNDO_NOT_ISSUED,
    (STARTED,      CompensationFailed):    _UNDO_NOT_ISSUED,
    (PENDING,      StepProgressed):        _NO_MAXIMUM,
    (PENDING,      CompensationCompleted): _UNDO_NOT_ISSUED,
    (PENDING,      CompensationFailed):    _UNDO_NOT_ISSUED,
    (COMPENSATING, StepProgressed):        "the saga has turned back",
    (SUSPENDED,    StepProgressed):        _TIMERS_REST,
    (SUSPENDED,    CompensationFailed):    "a failed compensation is owed all the same",
    (SUSPENDED,    DeadlinePassed):        _TIMERS_REST,
    (SUSPENDED,    BackoffElapsed):        _TIMERS_REST,
    (SUSPENDED,    PublicationDelayed):    _TIMERS_REST,
    (COMPLETED,    StepProgressed):        _ENDED,
    (COMPLETED,    CompensationCompleted): _UNDO_NOT_ISSUED,
    (COMPLETED,    CompensationFailed):    _UNDO_NOT_ISSUED,
    (COMPLETED,    DeadlinePassed):        _ENDED,
    (COMPLETED,    BackoffElapsed):        _ENDED,
    (COMPLETED,    PublicationDelayed):    _ENDED,
    (FAILED,       StepProgressed):        _ENDED,
    (FAILED,       CompensationFailed):    _ENDED,
    (FAILED,       DeadlinePassed):        _ENDED,
    (FAILED,       BackoffElapsed):        _ENDED,
    (FAILED,       PublicationDelayed):    _ENDED,
    (ABANDONED,    StepProgressed):        _ENDED,
    (ABANDONED,    CompensationFailed):    _ENDED,
    (ABANDONED,    DeadlinePassed):        _ENDED,
    (ABANDONED,    BackoffElapsed):        _ENDED,
    (ABANDONED,    PublicationDelayed):    _ENDED,
}
# fmt: on


def begin(definition: SagaDefinition, saga_id: str, *, now_ms: int) -> Moved:
    """Start a saga: version 1, its first command issued."""
    return begin_saga(definition, saga_id, now_ms)


def decide(definition: SagaDefinition, saga: Saga, event: Event, *, now_ms: int, roll: float) -> Decision:
    """Say what follows from `event`: the next saga with its effects, or why nothing changes.

    `now_ms` is the database's clock in milliseconds, `roll` a number in [0, 1) for the jitter of back-offs.
    Raises Conflict when the saga's status does not allow the event; nothing was changed then.
    """
    kind = type(event)
    step = -1
    if kind in _REPLIES:
        reply = cast("Reply", event)
        step = _own_step(definition, saga, reply)
        if step < 0:
            return _misfit(definition, saga, reply)
    elif isinstance(event, Timer):
        step = definition.index.get(event.step_name, -1)
        if step < 0:
            return Stayed(Verdict.FOREIGN, f"the definition has no step {event.step_name!r}")
    rule = TRANSITIONS.get((saga.status, kind))
    if rule is not None:
        return rule(Context(definition, saga, step, saga.steps[step], now_ms, roll), event)
    reason = IGNORED.get((saga.status, kind))
    if reason is not None:
        return Stayed(Verdict.STALE, reason)
    raise Conflict(f"{kind.__name__} is not possible while the saga is {saga.status.value}")


def due(definition: SagaDefinition, saga: Saga, *, now_ms: int) -> list[DeadlinePassed | BackoffElapsed]:
    """List the timers of a saga that have come due, one per open command."""
    if saga.status is SagaStatus.SUSPENDED:
        return []
    return [
        _timer(definition.steps[position].name, step)
        for position, step in enumerate(saga.steps)
        if step.deadline_ms is not None and step.deadline_ms <= now_ms
    ]


def _timer(name: str, step: StepState) -> DeadlinePassed | BackoffElapsed:
    if step.undo in (Undo.ISSUED, Undo.BACKING_OFF):
        resting, direction, attempt = step.undo is Undo.BACKING_OFF, Direction.COMPENSATION, step.undo_attempt
    else:
        resting, direction, attempt = step.outcome is Outcome.BACKING_OFF, Direction.ACTION, step.attempt
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
