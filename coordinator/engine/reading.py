"""From Kafka records to arrivals: what a record asks of which saga, or why it is set aside.

An arrival covers one offset, or a range of unreadable ones; every arrival gets exactly one verdict.
"""

from __future__ import annotations

from typing import cast

import msgspec
import structlog

from coordinator.engine.hashing import hash_input
from coordinator.engine.ports import Polled
from coordinator.engine.registry import RESULT_BYTES_MAX, Registry, VersionHeld, check_input
from coordinator.errors import InvalidInput
from coordinator.kafka.records import Record, Skipped
from coordinator.saga import events
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.model import UndoEffect
from coordinator.saga.results import result_problem
from coordinator.wire import messages as wire
from coordinator.wire.inbound import Inbound, decode_inbound
from coordinator.wire.rfc3339 import parse_ms
from coordinator.wire.strict_json import Refused

log = structlog.get_logger()


class ReplyArrival(msgspec.Struct, frozen=True, gc=False):
    """A participant's reply, or an answer from outside to an external step."""

    part: int
    offset: int
    saga_id: str
    message: wire.Reply | wire.External
    source: str
    body: bytes | None
    record: Record
    traceparent: str | None = None

    @property
    def next_offset(self) -> int:
        """The offset behind this arrival."""
        return self.offset + 1


class StartArrival(msgspec.Struct, frozen=True, gc=False):
    """A request to start a saga, its input already checked."""

    part: int
    offset: int
    definition: SagaDefinition
    business_key: str
    input: bytes
    input_hash: bytes
    traceparent: str | None
    record: Record
    start_at_ms: int | None = None

    @property
    def next_offset(self) -> int:
        """The offset behind this arrival."""
        return self.offset + 1


class TouchArrival(msgspec.Struct, frozen=True, gc=False):
    """A hint that somebody else has written a saga's row."""

    part: int
    offset: int
    saga_id: str
    record: Record

    @property
    def next_offset(self) -> int:
        """The offset behind this arrival."""
        return self.offset + 1


class BadArrival(msgspec.Struct, frozen=True, gc=False):
    """A record, or a range of offsets, that cannot be read."""

    part: int
    offset: int
    next_offset: int
    reason: str
    detail: str
    record: Record | None


Arrival = ReplyArrival | StartArrival | TouchArrival | BadArrival


def read(polled: list[Polled], registry: Registry, oddities: dict[str, int]) -> list[Arrival]:
    """Decode a poll's records in their order within each partition; counts what is odd and harmless in `oddities`."""
    arrivals: list[Arrival] = []
    for item in polled:
        if isinstance(item, Skipped):
            arrivals.append(
                BadArrival(item.partition, item.first_offset, item.next_offset, item.reason, item.detail, None)
            )
            continue
        part, records = item
        arrivals += [_read_record(part, record, registry, oddities) for record in records]
    return arrivals


def _read_record(part: int, record: Record, registry: Registry, oddities: dict[str, int]) -> Arrival:
    try:
        inbound = decode_inbound(record.headers, record.key, record.value)  # type: ignore[arg-type]
        if inbound.wrong_key:
            oddities["wrong_key"] = oddities.get("wrong_key", 0) + 1
        if inbound.has_unknown_fields:
            oddities["unknown_fields"] = oddities.get("unknown_fields", 0) + 1
        message = inbound.message
        kind = type(message)  # asking `isinstance` for a class that it is not costs six times as much
        if kind is wire.StartRequested:
            return _read_start(part, record, cast("wire.StartRequested", message), inbound, registry)
        if kind is wire.Touched:
            return TouchArrival(part, record.offset, cast("wire.Touched", message).saga_id, record)
    except Refused as refused:
        detail = f"{refused.path}: {refused.detail}" if refused.path else refused.detail
        return BadArrival(part, record.offset, record.offset + 1, refused.reason, detail, record)
    except Exception as error:  # a model's own validator, say: one record must not stop the others
        log.exception("record_not_read", partition=part, offset=record.offset)
        return BadArrival(part, record.offset, record.offset + 1, "internal", repr(error), record)
    reply = cast("wire.Reply | wire.External", message)
    if inbound.body_json is not None and len(inbound.body_json) > RESULT_BYTES_MAX:
        detail = f"result: {len(inbound.body_json)} bytes as JSON; the limit is {RESULT_BYTES_MAX}"
        return BadArrival(part, record.offset, record.offset + 1, "too_large", detail, record)
    return ReplyArrival(
        part,
        record.offset,
        reply.saga_id,
        reply,
        inbound.source,
        inbound.body_json,
        record,
        inbound.traceparent,
    )


def _read_start(
    part: int, record: Record, message: wire.StartRequested, inbound: Inbound, registry: Registry
) -> Arrival:
    start_at_ms = None if message.start_at is None else parse_ms(message.start_at)
    raw = inbound.body_json or b"{}"
    try:
        definition = registry.choose(message.definition, message.version)
        business_key = check_input(definition, raw)
        input_hash = hash_input(message.input)
    except InvalidInput as error:
        raise Refused("schema", str(error), path=error.pointer) from None
    except VersionHeld as error:  # kept as a letter: it is in order, and can be sent again later
        raise Refused("version_not_ready", str(error), path="version") from None
    return StartArrival(
        part,
        record.offset,
        definition,
        business_key,
        raw,
        input_hash,
        inbound.traceparent,
        record,
        start_at_ms,
    )


def event_of(arrival: ReplyArrival, definition: SagaDefinition) -> events.Event:
    """The machine's event for a reply."""
    message = arrival.message
    if isinstance(message, wire.StepCompleted):  # nearly all of them
        body = arrival.body or b"{}"
        name = message.step_name
        problem = result_problem(definition, name, body)
        return events.StepCompleted(
            message.command_id, name, arrival.source, message.attempt, msgspec.Raw(body), problem
        )
    if isinstance(message, wire.ExternalCompleted):
        body = arrival.body or b"{}"
        problem = result_problem(definition, message.step_name, body)
        return events.ExternalCompleted(message.step_name, arrival.source, msgspec.Raw(body), problem)
    if isinstance(message, wire.ExternalFailed):
        error = events.Failure(message.error.code, message.error.message)
        return events.ExternalFailed(message.step_name, arrival.source, error)
    return _rarer_event_of(message, arrival.source)


def _rarer_event_of(
    message: wire.CompensationCompleted | wire.StepFailed | wire.CompensationFailed | wire.StepProgress, source: str
) -> events.Event:
    head = (message.command_id, message.step_name, source, message.attempt)
    match message:
        case wire.CompensationCompleted():
            return events.CompensationCompleted(*head, UndoEffect(message.effect))
        case wire.StepFailed():
            return events.StepFailed(*head, _failure(message.error))
        case wire.CompensationFailed():
            return events.CompensationFailed(*head, _failure(message.error))
        case wire.StepProgress():
            return events.StepProgressed(*head)


def _failure(error: wire.StepError) -> events.Failure:
    return events.Failure(error.code, error.message, error.retryable)
