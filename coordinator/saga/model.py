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

_SCHEDULED, _SUSPENDED = SagaStatus.SCHEDULED, SagaStatus.SUSPENDED

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""A letter for each step of a saga, by position: what rows, which people filter by step, name them with."""


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


_WAITING = Outcome.WAITING


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


class Kind(StrEnum):
    """What a step means for the way back (design section 3, rule 7)."""

    COMPENSATABLE = "compensatable"  # undone when the saga turns back
    PIVOT = "pivot"  # the point of no return: once it is done, the saga only goes forward
    RETRIABLE = "retriable"  # behind the pivot: tried until it works, or a person is asked


class StepState(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One step of one saga.

    `deadline_ms` is the moment at which the step wants attention: the outstanding command's deadline, or the
    end of a pause, or since when it is held; null when nothing is awaited.
    Attempts of a generation count from 1; those that the present budget has used are
    `attempt - budget_base`, and `redrives` counts those beyond it. `limit_ms` bounds what progress does.

    `result` is the JSON text that the participant sent; it is unset, not None, before that, because msgspec cannot
    read `Raw | None`. `payload` is what the action carries where that is not the saga's input. `condition` is what a
    conditional step's `when` said; None before it was asked, and for other steps. `problem` says that the result does
    not fit and nobody has said yet what to do about it.
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
    redrives: int = 0
    limit_ms: int | None = None
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    condition: bool | None = None
    problem: bool = False

    @property
    def held(self) -> bool:
        """Whether flow control holds the step back: it waits, and since a moment."""
        return self.outcome is _WAITING and self.deadline_ms is not None

    def hangs(self, facing: Facing) -> bool:
        """Whether a suspended saga that faces so cannot go on without this step."""
        if self.undo in (Undo.ISSUED, Undo.BACKING_OFF, Undo.DEAD_LETTERED) or self.problem:
            return True
        given_up = facing is Facing.FORWARD and self.outcome in (Outcome.UNKNOWN, Outcome.FAILED)
        return given_up or self.outcome in (Outcome.ISSUED, Outcome.BACKING_OFF)


class Saga(msgspec.Struct, frozen=True, gc=False):
    """One run of a definition; `version` counts its transitions from 1 and guards every write.

    `input` is the JSON text that the saga was started with. `starts_ms` is when a scheduled saga begins, `expires_ms`
    the deadline of the whole saga as long as it matters.
    """

    id: str
    definition: str
    definition_version: int
    status: SagaStatus
    version: int
    steps: tuple[StepState, ...]
    facing: Facing = Facing.FORWARD
    input: bytes = b"{}"
    starts_ms: int | None = None
    expires_ms: int | None = None

    @property
    def deadline_ms(self) -> int | None:
        """The earliest moment at which the saga or one of its steps wants attention, or None."""
        return self.waits[0]

    @property
    def waking_ms(self) -> int | None:
        """When to look at the saga again by itself; None while it rests or once it has ended."""
        return None if self.status in RESTING else self.deadline_ms

    @property
    def waits(self) -> tuple[int | None, str | None]:
        """`deadline_ms`, and at which steps the saga waits or, suspended, hangs: a letter of LETTERS for each.

        Both at once, because every transition writes both. No letters (None) where it waits at no step.
        """
        earliest, letters = self.expires_ms, ""
        suspended = self.status is _SUSPENDED
        for position, step in enumerate(self.steps):
            moment = step.deadline_ms
            if moment is not None:
                letters += LETTERS[position]
                if earliest is None or moment < earliest:
                    earliest = moment
            elif suspended and step.hangs(self.facing):
                letters += LETTERS[position]
        if self.status is _SCHEDULED:
            earliest = self.starts_ms
        return earliest, (None if self.status in TERMINAL else letters or None)


class SagaState(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The part of a saga that changes and is no column of its own: stored as JSON text."""

    steps: tuple[StepState, ...]
    facing: Facing = Facing.FORWARD
    starts_ms: int | None = None
    expires_ms: int | None = None


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(SagaState)


def dump_state(saga: Saga) -> bytes:
    """Write the changing part of a saga as JSON text."""
    return _ENCODER.encode(SagaState(saga.steps, saga.facing, saga.starts_ms, saga.expires_ms))


def load_state(raw: bytes) -> SagaState:
    """Read what `dump_state` wrote; raises msgspec.ValidationError when it is something else."""
    return _DECODER.decode(raw)


def command_id(saga_id: str, generation: int, step_name: str, direction: Direction) -> str:
    """Name a command: a pure function of saga, generation, step and direction, shared by all its attempts."""
    return f"{saga_id}:{generation}:{step_name}:{direction!s}"
