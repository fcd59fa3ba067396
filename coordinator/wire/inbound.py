"""Reading what strangers sent: headers and value in, a message or `Refused` out, and nothing else ever.

A message whose bytes are exactly what we would have written is proven by writing it (see `strict_json`); that
is the road of nearly every record. All others are opened as an envelope, judged, and checked field by field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Struct

from coordinator.wire.cloudevents import (
    COORDINATOR,
    Envelope,
    Headers,
    attribute,
    open_envelope,
    reply_address,
    source_of,
    traceparent_of,
)
from coordinator.wire.messages import (
    EVENT_TYPES,
    INBOUND_TYPES,
    SAGA_ID_PATTERN,
    AnyCommand,
    Command,
    Compensation,
    CompensationFailed,
    Event,
    ExternalCompleted,
    ExternalFailed,
    InboundMessage,
    StartRequested,
    StepCompleted,
    StepFailed,
    Touched,
    cut_error,
)
from coordinator.wire.rfc3339 import parse_ms
from coordinator.wire.strict_json import (
    BACKSLASH,
    ENCODER,
    MAX_VALUE_BYTES,
    UNDECODABLE,
    Refused,
    hides_nothing,
)

_is_saga_id = re.compile(SAGA_ID_PATTERN.strip("^$")).fullmatch
_encode = ENCODER.encode
_FREE_FIELDS = frozenset({"payload", "original_payload", "original_result", "result", "input"})
_MOMENTS = ("not_after", "start_at", "at")
_PLAIN_CONTENT = frozenset({None, b"application/json", b"application/json; charset=utf-8"})
_PLAIN_VERSION = frozenset({None, b"1.0"})
_FIELD_IN_ERROR = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL)
_MISSING_FIELD = re.compile(r"missing required field `(.*)`")


class Inbound(Struct, frozen=True, gc=False):
    """A message that came on the coordinator's topic, and what its headers say.

    `source` is who claims to have sent it. `body_json` is the canonical JSON of `result` or `input`, ready to
    be stored, None in messages without one. `wrong_key` and `has_unknown_fields` are for counters only.
    """

    message: InboundMessage
    source: str
    ce_id: str
    traceparent: str | None
    body_json: bytes | None
    wrong_key: bool
    has_unknown_fields: bool


class InboundCommand(Struct, frozen=True, gc=False):
    """A command as a participant gets it; `name` is the action's or compensation's name."""

    command: AnyCommand
    name: str
    ce_id: str
    source: str
    reply_topic: str
    reply_partition: int
    not_after_ms: int
    traceparent: str | None


class _Shape:
    """One message class with its two ways in."""

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls
        self.fields = frozenset(cls.__struct_fields__)
        self.free_fields = tuple(name for name in cls.__struct_fields__ if name in _FREE_FIELDS)
        self.moment = next((name for name in _MOMENTS if name in self.fields), None)
        self.has_saga_id = "saga_id" in self.fields
        self._decode = msgspec.json.Decoder(cls).decode

    def prove(self, value: bytes) -> Any:
        """The message if `value` is exactly its encoding, None if that is not so."""
        try:
            message = self._decode(value)
        except UNDECODABLE:
            return None
        if _encode(message) != value or (BACKSLASH in value and not hides_nothing(value)):
            return None
        if self.has_saga_id and not _is_saga_id(message.saga_id):
            return None
        if self.moment is not None and _moment(message, self.moment) is _WRONG:
            return None
        return message

    def convert(self, data: dict[str, Any], data_path: str) -> Any:
        """The message in strictly decoded `data`; raises `Refused` with the path of the wrong field."""
        try:
            message = msgspec.convert(data, self.cls, strict=True)
        except msgspec.ValidationError:
            message = self._convert_around_free_fields(data, data_path)
        saga_id = message.saga_id if self.has_saga_id else None
        if saga_id is not None and not _is_saga_id(saga_id):
            raise Refused("schema", "not a UUID in lower-case text", path=_join(data_path, "saga_id"))
        if self.moment is not None and _moment(message, self.moment) is _WRONG:
            raise Refused("schema", "not an RFC 3339 moment", path=_join(data_path, self.moment))
        return message

    def _convert_around_free_fields(self, data: dict[str, Any], data_path: str) -> Any:
        """Convert, but leave alone the free objects, whose type bounds the depth for the sake of `prove`."""
        free = {name: data[name] for name in self.free_fields if type(data.get(name)) is dict}
        try:
            message = msgspec.convert(data | {name: {} for name in free}, self.cls, strict=True)
        except msgspec.ValidationError as error:
            raise _schema(str(error), data_path) from None
        return msgspec.structs.replace(message, **free)


_WRONG = object()


def _moment(message: Any, field: str) -> object:
    text = getattr(message, field)
    if text is None:
        return None
    try:
        return parse_ms(text)
    except ValueError:
        return _WRONG


_INBOUND = {cls.ce_type.encode(): _Shape(cls) for cls in INBOUND_TYPES}
_EVENTS = {cls.ce_type: _Shape(cls) for cls in EVENT_TYPES}
_ACTION = _Shape(Command)
_COMPENSATION = _Shape(Compensation)


def decode_inbound(headers: Headers, key: bytes | None, value: bytes | None) -> Inbound:
    """A record of the coordinator's topic (replies, start requests, hints); raises `Refused`."""
    attributes = dict(headers)
    shape = _INBOUND.get(attributes.get("ce_type", b""))
    if shape is not None and _is_plain(attributes, value):
        message = shape.prove(cast("bytes", value))
        if message is not None:
            source = source_of(attributes)
            ce_id = attribute(attributes, "ce_id")
            return _inbound(message, key, source, ce_id, traceparent_of(attributes), False)
    envelope = open_envelope(attributes.items(), value)
    shape = _INBOUND.get(envelope.ce_type.encode())
    if shape is None:
        raise _unknown_type(envelope)
    message = shape.convert(envelope.data, envelope.data_path)
    unknown = len(envelope.data) > len(shape.fields) or not envelope.data.keys() <= shape.fields
    return _inbound(message, key, envelope.source, envelope.ce_id, envelope.traceparent, unknown)


def _is_plain(attributes: Mapping[str, bytes], value: bytes | None) -> bool:
    """Whether value and headers are such that the proof can decide alone."""
    return (
        value is not None
        and len(value) <= MAX_VALUE_BYTES
        and attributes.get("content-type") in _PLAIN_CONTENT
        and attributes.get("ce_specversion") in _PLAIN_VERSION
        and attributes.get("ce_schemaversion") in _PLAIN_VERSION
    )


def _inbound(
    message: Any, key: bytes | None, source: str, ce_id: str, traceparent: str | None, unknown: bool
) -> Inbound:
    body_json = None
    wrong_key = False
    cls = type(message)
    if cls is StartRequested:
        body_json = _encode(message.input)
    else:
        wrong_key = key != message.saga_id.encode()
        if cls is StepCompleted or cls is ExternalCompleted:
            body_json = _encode(message.result)
        elif cls is StepFailed or cls is CompensationFailed or cls is ExternalFailed:
            error = cut_error(message.error)
            if error is not message.error:
                message = msgspec.structs.replace(message, error=error)
        elif cls is Touched and source != COORDINATOR:
            raise Refused("not_owner", f"only {COORDINATOR} sends this", path="ce_source")
    return Inbound(message, source, ce_id, traceparent, body_json, wrong_key, unknown)


def decode_command(headers: Headers, value: bytes | None) -> InboundCommand:
    """A record of a participant's command topic; raises `Refused`."""
    attributes = dict(headers)
    if _is_plain(attributes, value):
        raw = cast("bytes", value)
        # a hint only: the words may stand inside a payload, then the class refuses and the slow road decides
        shape = _COMPENSATION if b'"direction":"compensation"' in raw else _ACTION
        command = shape.prove(raw)
        if command is not None:
            name, ce_id = attribute(attributes, "ce_type"), attribute(attributes, "ce_id")
            source = source_of(attributes)
            return _inbound_command(command, attributes, name, ce_id, source, traceparent_of(attributes))
    envelope = open_envelope(attributes.items(), value)
    shape = _COMPENSATION if envelope.data.get("direction") == "compensation" else _ACTION
    command = shape.convert(envelope.data, envelope.data_path)
    return _inbound_command(
        command, attributes, envelope.ce_type, envelope.ce_id, envelope.source, envelope.traceparent
    )


def _inbound_command(
    command: AnyCommand,
    attributes: Mapping[str, bytes],
    name: str,
    ce_id: str,
    source: str,
    traceparent: str | None,
) -> InboundCommand:
    topic, partition = reply_address(attributes)
    not_after_ms = parse_ms(command.not_after)
    return InboundCommand(command, name, ce_id, source, topic, partition, not_after_ms, traceparent)


def decode_event(headers: Headers, value: bytes | None) -> Event:
    """A record of the lifecycle topic `saga.events`; raises `Refused`."""
    envelope = open_envelope(headers, value)
    shape = _EVENTS.get(envelope.ce_type)
    if shape is None:
        raise _unknown_type(envelope)
    return cast("Event", shape.convert(envelope.data, envelope.data_path))


def _unknown_type(envelope: Envelope) -> Refused:
    path = "type" if envelope.data_path else "ce_type"
    return Refused("schema", f"no message of type {envelope.ce_type[:100]!a} belongs here", path=path)


def _schema(error: str, data_path: str) -> Refused:
    match = _FIELD_IN_ERROR.fullmatch(error)
    what, path = (match[1], match[2] or "") if match else (error, "")
    missing = _MISSING_FIELD.search(what)
    if missing:
        path = _join(path, missing[1])
    return Refused("schema", what, path=_join(data_path, path))


def _join(parent: str, child: str) -> str:
    return f"{parent}.{child}" if parent and child else parent or child
