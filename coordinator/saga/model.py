"""What a saga is at one moment: frozen values, no behaviour beyond reading and writing themselves.

A step answers two questions with two statuses (design section 2): `outcome`, how its action went, and `undo`,
whether that is undone. The words here are the words in SQL, JSON, logs and metrics.

The values hold no cycles, so `gc=False` spares the collector a walk over every saga kept in memory.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class SagaStatus(StrEnum):
    """Where a saga stands; the last three are terminal."""

    SCHEDULED = "scheduled"  # accepted, waits for its start time
    STARTED = "started"  # first command issued, nothing heard yet
    PENDING = "pending"  # waits for a step's reply
    COMPENSATING = "compensating"  # undoing, one step at a time
    SUSPENDED = "suspended"  # parked with an incident or by an operator
    COMPLETED = "completed"  # every step is done
    FAILED = "failed"  # ended, and everything that was done is undone
    ABANDONED = "abandoned"  # an operator gave it up; effects may remain


TERMINAL = frozenset({SagaStatus.COMPLETED, SagaStatus.FAILED, SagaStatus.ABANDONED})


RESTING = frozenset({*TERMINAL, SagaStatus.SUSPENDED})


class Outcome(StrEnum):
    """How a step's action went."""

    WAITING = "waiting"
    ISSUED = "issued"
    BACKING_OFF = "backing_off"
    COMPLETED = "completed"
    FAILED = "failed"  # the participant promises: no effect, and none is coming
    UNKNOWN = "unknown"  # it may have run
    SKIPPED = "skipped"


class Undo(StrEnum):
    """Whether what a step did is undone."""

    NONE = "none"
    OWED = "owed"
    ISSUED = "issued"
    BACKING_OFF = "backing_off"
    COMPENSATED = "compensated"
    DEAD_LETTERED = "dead_lettered"


class Direction(StrEnum):
    """Which of a step's two commands is meant."""

    ACTION = "action"
    COMPENSATION = "compensation"


class Facing(StrEnum):
    """Which way a saga goes on after it was suspended."""

    FORWARD = "forward"
    BACKWARD = "backward"


class UndoEffect(StrEnum):
    """What a participant says an acknowledged compensation did."""

    UNDONE = "undone"
    NOTHING_TO_UNDO = "nothing_to_undo"


class StepState(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One step of one saga.

    `deadline_ms` is the moment at which the step wants attention: the outstanding command's deadline, or the
    end of its back-off; null when nothing is awaited. Attempts count from 1 and never restart; the attempts
    that the present budget has used are `attempt - budget_base`. `result` is the JSON text that the participant
    sent; it is unset, not None, before that, because msgspec cannot read `Raw | None`.
    """

    outcome: Outcome = Outcome.WAITING
    undo: Undo = Undo.NONE
    generation: int = 1
    attempt: int = 0
    undo_attempt: int = 0
    budget_base: int = 0
    deadline_ms: int | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    effect: UndoEffect | None = None
    late_success: bool = False


class Saga(msgspec.Struct, frozen=True, gc=False):
    """One run of a definition; `version` counts its transitions from 1 and guards every write."""

    id: str
    definition: str
    definition_version: int
    status: SagaStatus
    version: int
    steps: tuple[StepState, ...]
    facing: Facing = Facing.FORWARD

    @property
    def deadline_ms(self) -> int | None:
        """The earliest moment at which one of the steps wants attention, or None."""
        earliest: int | None = None
        for step in self.steps:
            moment = step.deadline_ms
            if moment is not None and (earliest is None or moment < earliest):
                earliest = moment
        return earliest

    @property
    def waking_ms(self) -> int | None:
        """When to look at the saga again by itself; None while it rests or once it has ended."""
        return None if self.status in RESTING else self.deadline_ms


class SagaState(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The part of a saga that changes and is no column of its own: stored as JSON text."""

    steps: tuple[StepState, ...]
    facing: Facing = Facing.FORWARD


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(SagaState)


def dump_state(saga: Saga) -> bytes:
    """Write the changing part of a saga as JSON text."""
    return _ENCODER.encode(SagaState(saga.steps, saga.facing))


def load_state(raw: bytes) -> SagaState:
    """Read what `dump_state` wrote; raises msgspec.ValidationError when it is something else."""
    return _DECODER.decode(raw)


def command_id(saga_id: str, generation: int, step_name: str, direction: Direction) -> str:
    """Name a command: a pure function of saga, generation, step and direction, shared by all its attempts."""
    return f"{saga_id}:{generation}:{step_name}:{direction!s}"
