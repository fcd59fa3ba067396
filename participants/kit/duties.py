"""The duties of a participant, as pure functions over one row: what to do with a command, what to remember of it.

One row belongs to an action and its compensation. `outcome` is what became of the action, `undo` what became of the
compensation; both start empty and are written once.

    outcome     undo              an action is                 a compensation is
    -           -                 run, unless past not_after   a tombstone: nothing to undo (see below)
    completed   -                 answered as remembered       run
    refused     -                 answered as remembered       nothing to undo
    -           nothing_to_undo   refused: compensated_already answered as remembered
    any         any               answered as remembered       answered as remembered

One exception: when whoever asks knows that the action was completed (an event may prove it, too) and we remember
nothing of it (our memory ended, or the participant moved to the kit later), only the handler can tell from its data;
so the compensation is run.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, TypeAlias

import msgspec

from coordinator.wire.inbound import InboundCommand
from coordinator.wire.messages import (
    AnyCommand,
    Compensation,
    CompensationCompleted,
    CompensationFailed,
    Reply,
    StepCompleted,
    StepError,
    StepFailed,
)
from coordinator.wire.strict_json import decode_object, encode
from participants.kit.outcomes import Effect, Outcome, Refused, Retry

COMPENSATED_ALREADY: Final = Refused("compensated_already", "the compensation of this action came first")
EXPIRED: Final = Refused("expired", "the action came after its not_after")

# The reader's limit is 256 KiB for a whole reply; what is left over is ample for the ids around the result.
RESULT_BYTES_MAX: Final = 250 * 1024


class Memory(msgspec.Struct, gc=False):
    """What is remembered of one action and its compensation; `answer` is the result's or the error's JSON."""

    command_id: str
    saga_id: str
    outcome: str | None = None
    answer: str | None = None
    undo: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing worth a row."""
        return self.outcome is None and self.undo is None


class Result(msgspec.Struct, frozen=True, gc=False):
    """A completed action's result as JSON text that every reader accepts."""

    json: str


Prepared: TypeAlias = Result | Effect | Refused | Retry


class Duty(Enum):
    """What is to be done with a command."""

    RUN = auto()
    REPEAT = auto()
    REFUSE_COMPENSATED = auto()
    REFUSE_EXPIRED = auto()
    NOTHING_TO_UNDO = auto()


FIXED_ANSWERS: Final[dict[Duty, Prepared]] = {
    Duty.REFUSE_COMPENSATED: COMPENSATED_ALREADY,
    Duty.REFUSE_EXPIRED: EXPIRED,
    Duty.NOTHING_TO_UNDO: Effect.NOTHING_TO_UNDO,
}


def action_id(command: AnyCommand) -> str:
    """The id of the action that the command is about: the key of the row that both directions share."""
    return command.compensates if isinstance(command, Compensation) else command.command_id


def duty(inbound: InboundCommand, memory: Memory, now_ms: int) -> Duty:
    """Say what is to be done with a command; `now_ms` is the database's clock."""
    if isinstance(inbound.command, Compensation):
        if memory.undo is not None:
            return Duty.REPEAT
        if memory.outcome == "completed":
            return Duty.RUN
        known_to_coordinator = memory.outcome is None and inbound.command.original_outcome == "completed"
        return Duty.RUN if known_to_coordinator else Duty.NOTHING_TO_UNDO
    if memory.outcome is not None:
        return Duty.REPEAT
    if memory.undo is not None:
        return Duty.REFUSE_COMPENSATED
    return Duty.REFUSE_EXPIRED if now_ms > inbound.not_after_ms else Duty.RUN


def prepare(inbound: InboundCommand, outcome: Outcome) -> Prepared:
    """Check what a handler answered, before its work is kept; raises for what no reader would accept."""
    if isinstance(outcome, Refused | Retry):
        return outcome
    if isinstance(inbound.command, Compensation):
        if outcome is not None and not isinstance(outcome, Effect):
            raise TypeError(f"a compensation answers an Effect, not {outcome!r}")
        return outcome or Effect.UNDONE
    if isinstance(outcome, Effect):
        raise TypeError(f"an action answers a mapping, not {outcome!r}")
    text = encode(outcome or {})
    decode_object(text, max_bytes=RESULT_BYTES_MAX)
    return Result(text.decode())


def settle(inbound: InboundCommand, memory: Memory, outcome: Prepared) -> Reply:
    """Write into `memory` what must be remembered of an outcome, and say the reply."""
    command = inbound.command
    if isinstance(outcome, Refused | Retry):
        return _settle_failure(command, memory, outcome)
    if isinstance(outcome, Effect):
        memory.undo = outcome.value
    else:
        memory.outcome, memory.answer = "completed", outcome.json
    return remembered(command, memory)


def remembered(command: AnyCommand, memory: Memory) -> Reply:
    """Repeat the reply that is remembered for a command."""
    about = (command.saga_id, command.step_name, command.command_id, command.attempt)
    if isinstance(command, Compensation):
        if memory.undo is None:
            raise LookupError(f"nothing is remembered of {command.command_id}")
        return CompensationCompleted(*about, "undone" if memory.undo == Effect.UNDONE else "nothing_to_undo")
    if memory.outcome is None or memory.answer is None:
        raise LookupError(f"nothing is remembered of {command.command_id}")
    if memory.outcome == "completed":
        return StepCompleted(*about, msgspec.Raw(memory.answer.encode()))  # type: ignore[arg-type]
    return StepFailed(*about, msgspec.json.decode(memory.answer, type=StepError))


def _settle_failure(command: AnyCommand, memory: Memory, failure: Refused | Retry) -> Reply:
    error = StepError(_clean(failure.code, 100), _clean(failure.message, 2_000), failure.retryable)
    about = (command.saga_id, command.step_name, command.command_id, command.attempt)
    if isinstance(command, Compensation):
        return CompensationFailed(*about, error)
    if isinstance(failure, Refused):
        memory.outcome, memory.answer = "refused", encode(error).decode()
    return StepFailed(*about, error)


def _clean(text: str, length_max: int) -> str:
    """Make text from anywhere fit for the wire, whose readers take neither NUL nor lone surrogates."""
    return text[:length_max].replace("\0", "").encode(errors="replace").decode()


def is_remembered(reply: Reply) -> bool:
    """Whether a reply is the same each time, and so has the same ce_id each time."""
    if isinstance(reply, StepCompleted | CompensationCompleted):
        return True
    return isinstance(reply, StepFailed) and not reply.error.retryable
