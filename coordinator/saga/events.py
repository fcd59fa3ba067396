"""What can happen to a saga: replies of participants, answers from outside, timers, and operators' verbs.

Events are facts in the past tense. A reply names its command by `command_id`; the machine never trusts the
step name alone (design section 3, rule 3).
"""

from __future__ import annotations

from enum import StrEnum
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


class StartDue(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The moment for which a saga was scheduled has come."""


class SagaDeadlinePassed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The whole saga has taken longer than its definition allows."""


class ExternalAnswer(msgspec.Struct, frozen=True, gc=False):
    """What both answers to an external step carry: `actor` is who gave it."""

    step_name: str
    actor: str


class ExternalCompleted(ExternalAnswer, frozen=True, gc=False, tag=True):
    """Somebody outside, a person for one, has done an external step; `problem` as in StepCompleted."""

    result: msgspec.Raw
    problem: str | None = None


class ExternalFailed(ExternalAnswer, frozen=True, gc=False, tag=True):
    """Somebody outside has refused an external step; that is final."""

    error: Failure


class Verb(msgspec.Struct, frozen=True, gc=False):
    """What all acts of operators carry (design section 3, rule 12)."""

    actor: str
    reason: str


class RetryRequested(Verb, frozen=True, gc=False, tag=True):
    """A suspended saga shall go on, with what was given up tried again.

    `payload` (JSON text) is what the failed step `step_name` shall be asked instead.
    """

    step_name: str | None = None
    payload: msgspec.Raw | None = None


class SkipRequested(Verb, frozen=True, gc=False, tag=True):
    """A step that did not run shall be left out."""

    step_name: str


class Resolution(StrEnum):
    """What an operator says has really happened to a step."""

    COMPLETED = "completed"
    FAILED = "failed"
    UNDONE = "undone"


class ResolveRequested(Verb, frozen=True, gc=False, tag=True):
    """An operator has looked and says what really happened; `problem` as in StepCompleted."""

    step_name: str
    resolution: Resolution
    result: msgspec.Raw | None = None
    problem: str | None = None


class CompensateRequested(Verb, frozen=True, gc=False, tag=True):
    """The saga shall be cancelled: turn back and undo."""


class SuspendRequested(Verb, frozen=True, gc=False, tag=True):
    """Nothing shall be issued until further notice."""


class ResumeRequested(Verb, frozen=True, gc=False, tag=True):
    """A suspended saga in which nothing was given up shall go on."""


class AbandonRequested(Verb, frozen=True, gc=False, tag=True):
    """The saga shall end as it is; effects may remain."""


Event = (
    StepCompleted
    | StepFailed
    | StepProgressed
    | CompensationCompleted
    | CompensationFailed
    | ExternalCompleted
    | ExternalFailed
    | DeadlinePassed
    | BackoffElapsed
    | PublicationDelayed
    | StartDue
    | SagaDeadlinePassed
    | RetryRequested
    | SkipRequested
    | ResolveRequested
    | CompensateRequested
    | SuspendRequested
    | ResumeRequested
    | AbandonRequested
)
