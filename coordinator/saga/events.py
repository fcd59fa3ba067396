"""What can happen to a saga: replies of participants, timers, and an operator's retry.

Events are facts in the past tense. A reply names its command by `command_id`; the machine never trusts the
step name alone (design section 3, rule 3).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from coordinator.saga.model import Direction, UndoEffect


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why a participant could not do what it was asked: a code for machines, a message for people."""

    code: str
    message: str
    retryable: bool = False


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What all replies carry: `source` is the participant that claims to answer."""

    direction: ClassVar[Direction]

    command_id: str
    step_name: str
    source: str
    attempt: int


class StepCompleted(Reply, frozen=True, gc=False, tag=True):
    """A step's action took effect; `problem` says what its result lacks, if it does."""

    direction: ClassVar[Direction] = Direction.ACTION

    result: msgspec.Raw
    problem: str | None = None


class StepFailed(Reply, frozen=True, gc=False, tag=True):
    """A step's action did not take effect; only a non-retryable failure is final."""

    direction: ClassVar[Direction] = Direction.ACTION

    error: Failure


class StepProgressed(Reply, frozen=True, gc=False, tag=True):
    """A participant is still working."""

    direction: ClassVar[Direction] = Direction.ACTION


class CompensationCompleted(Reply, frozen=True, gc=False, tag=True):
    """A step is undone, or there was nothing to undo."""

    direction: ClassVar[Direction] = Direction.COMPENSATION

    effect: UndoEffect


class CompensationFailed(Reply, frozen=True, gc=False, tag=True):
    """A compensation did not take effect; it is owed all the same."""

    direction: ClassVar[Direction] = Direction.COMPENSATION

    error: Failure


class Timer(msgspec.Struct, frozen=True, gc=False):
    """What all timers carry: which attempt of which command they are about."""

    step_name: str
    direction: Direction
    attempt: int


class DeadlinePassed(Timer, frozen=True, gc=False, tag=True):
    """No reply came in time, and we are not the reason (design section 3, rule 5)."""


class BackoffElapsed(Timer, frozen=True, gc=False, tag=True):
    """The pause before the next attempt is over."""


class PublicationDelayed(Timer, frozen=True, gc=False, tag=True):
    """The deadline came while the command still waited in our own outbox: its time begins anew."""


class RetryRequested(msgspec.Struct, frozen=True, gc=False, tag=True):
    """An operator wants a suspended saga to go on."""

    actor: str
    reason: str


Event = (
    StepCompleted
    | StepFailed
    | StepProgressed
    | CompensationCompleted
    | CompensationFailed
    | DeadlinePassed
    | BackoffElapsed
    | PublicationDelayed
    | RetryRequested
)
