"""The messages, one class each: what stands in a value, field by field.

Every class is the wire shape itself, so `strict_json.encode(message)` writes it and the published JSON
Schemas are generated from it. The order of the fields is the order on the wire. Constructors check nothing;
what comes from outside comes through `coordinator.wire.inbound`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from coordinator.wire.rfc3339 import PATTERN as MOMENT_PATTERN
from coordinator.wire.strict_json import MAX_INTEGER, JsonObject

SAGA_ID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
MAX_ATTEMPT = 2**31 - 1
MAX_ERROR_BYTES = 8 * 1024

# Patterns are published but not given to msgspec, which would search them in Python: `inbound` checks them.
SagaId = Annotated[
    str,
    Meta(
        min_length=36,
        max_length=36,
        description="The saga's id: a UUID as lower-case text.",
        extra_json_schema={"pattern": SAGA_ID_PATTERN},
    ),
]
StepName = Annotated[str, Meta(min_length=1, max_length=63, description="The step's name in its definition.")]
CommandId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=300,
        description="What a participant remembers: the same for all attempts of one command. Opaque.",
    ),
]
Attempt = Annotated[int, Meta(ge=1, le=MAX_ATTEMPT, description="Counts from 1.")]
Moment = Annotated[
    str,
    Meta(
        max_length=40,
        description="A moment as RFC 3339 text.",
        extra_json_schema={"pattern": MOMENT_PATTERN, "format": "date-time"},
    ),
]
DefinitionName = Annotated[str, Meta(min_length=1, max_length=200, description="A saga definition's name.")]
DefinitionVersion = Annotated[int, Meta(ge=1, le=MAX_ATTEMPT, description="A saga definition's version.")]


class Command(Struct, frozen=True, gc=False):
    """Do a step's action; the payload is the saga's input."""

    saga_id: SagaId
    saga_type: DefinitionName
    step_name: StepName
    command_id: CommandId
    attempt: Attempt
    direction: Literal["action"]
    payload: JsonObject
    not_after: Annotated[Moment, Meta(description="Past this moment the action must be refused.")]


class Compensation(Struct, frozen=True, gc=False):
    """Undo a step's action, which may have run or not (`original_outcome`)."""

    saga_id: SagaId
    saga_type: DefinitionName
    step_name: StepName
    command_id: CommandId
    attempt: Attempt
    direction: Literal["compensation"]
    payload: JsonObject
    not_after: Moment
    compensates: Annotated[CommandId, Meta(description="The action's command_id: the key of the tombstone.")]
    original_payload: JsonObject
    original_outcome: Literal["completed", "unknown"]
    original_result: JsonObject | None


class _Reply(Struct, frozen=True, gc=False):
    saga_id: SagaId
    step_name: StepName
    command_id: CommandId
    attempt: Attempt


class StepError(Struct, frozen=True, gc=False):
    """Why a participant failed; code and message together are cut to 8 KiB when read."""

    code: Annotated[str, Meta(description="For machines.")]
    message: Annotated[str, Meta(description="For people.")]
    retryable: Annotated[bool, Meta(description="Whether another attempt may succeed.")]


class StepCompleted(_Reply, frozen=True, gc=False):
    """The action is done."""

    ce_type: ClassVar[str] = "SagaStepCompleted"
    result: JsonObject


class StepFailed(_Reply, frozen=True, gc=False):
    """The action failed; not retryable means: no effect, and none coming."""

    ce_type: ClassVar[str] = "SagaStepFailed"
    error: StepError


class CompensationCompleted(_Reply, frozen=True, gc=False):
    """The action is undone, or there was nothing to undo and never will be."""

    ce_type: ClassVar[str] = "SagaCompensationCompleted"
    effect: Literal["undone", "nothing_to_undo"]


class CompensationFailed(_Reply, frozen=True, gc=False):
    """The undo failed."""

    ce_type: ClassVar[str] = "SagaCompensationFailed"
    error: StepError


class StepProgress(_Reply, frozen=True, gc=False):
    """Still working: the deadline moves on."""

    ce_type: ClassVar[str] = "SagaStepProgress"


class ExternalError(Struct, frozen=True, gc=False):
    """Why an external step was refused; cut to 8 KiB when read."""

    code: Annotated[str, Meta(description="For machines.")]
    message: Annotated[str, Meta(description="For people.")]


class _External(Struct, frozen=True, gc=False):
    saga_id: SagaId
    step_name: StepName


class ExternalCompleted(_External, frozen=True, gc=False):
    """Somebody outside has done an external step; `ce_source` says who."""

    ce_type: ClassVar[str] = "SagaExternalStepCompleted"
    result: JsonObject


class ExternalFailed(_External, frozen=True, gc=False):
    """Somebody outside has refused an external step; that is final."""

    ce_type: ClassVar[str] = "SagaExternalStepFailed"
    error: ExternalError


class StartRequested(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A client asks for a saga over Kafka."""

    ce_type: ClassVar[str] = "SagaStartRequested"
    definition: DefinitionName
    version: DefinitionVersion | None = None
    input: JsonObject
    start_at: Moment | None = None


class Touched(Struct, frozen=True, gc=False):
    """A hint to a saga's owner that somebody else wrote its row."""

    ce_type: ClassVar[str] = "SagaTouched"
    saga_id: SagaId


class Transitioned(Struct, frozen=True, gc=False):
    """One change of a saga's state; `version` is the definition's, `saga_version` counts the changes."""

    ce_type: ClassVar[str] = "SagaTransitioned"
    saga_id: SagaId
    definition: DefinitionName
    version: DefinitionVersion
    business_key: str
    saga_version: Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
    event: Annotated[str, Meta(min_length=1, max_length=100)]
    step_name: StepName | None
    status: Annotated[str, Meta(min_length=1, max_length=20)]
    at: Moment


class StartRefused(Struct, frozen=True, gc=False):
    """A start request that was not granted; `saga_id` is the saga that has the business key, if one does."""

    ce_type: ClassVar[str] = "SagaStartRefused"
    definition: str
    business_key: str
    reason: str
    saga_id: SagaId | None


AnyCommand = Command | Compensation
Reply = StepCompleted | StepFailed | CompensationCompleted | CompensationFailed | StepProgress
External = ExternalCompleted | ExternalFailed
InboundMessage = Reply | External | StartRequested | Touched
Event = Transitioned | StartRefused
REPLY_TYPES: tuple[type[Reply], ...] = (
    StepCompleted,
    StepFailed,
    CompensationCompleted,
    CompensationFailed,
    StepProgress,
)
EXTERNAL_TYPES: tuple[type[External], ...] = (ExternalCompleted, ExternalFailed)
INBOUND_TYPES: tuple[type[InboundMessage], ...] = (*REPLY_TYPES, *EXTERNAL_TYPES, StartRequested, Touched)
EVENT_TYPES: tuple[type[Event], ...] = (Transitioned, StartRefused)


AnyError = TypeVar("AnyError", StepError, ExternalError)


def cut_error(error: AnyError) -> AnyError:
    """The error with its code cut to 1 KiB of UTF-8 and both texts to 8 KiB together."""
    if len(error.code) + len(error.message) <= MAX_ERROR_BYTES // 4:
        return error
    code = _cut(error.code, 1024)
    message = _cut(error.message, MAX_ERROR_BYTES - len(code.encode()))
    return msgspec.structs.replace(error, code=code, message=message)


def _cut(text: str, limit: int) -> str:
    raw = text.encode()
    return text if len(raw) <= limit else raw[:limit].decode("utf-8", "ignore")
