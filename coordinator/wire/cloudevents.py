"""CloudEvents as Kafka headers: building them cheaply, and reading them whatever their mode.

Binary mode (attributes in `ce_` headers, data in the value) is what we write. Structured mode (one JSON
envelope in the value, content type `application/cloudevents+json`) is accepted as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from coordinator.wire.rfc3339 import format_ms
from coordinator.wire.strict_json import MAX_VALUE_BYTES, Refused, decode_object

Headers = Sequence[tuple[str, bytes]]

COORDINATOR = "saga-coordinator"
SCHEMA_VERSION = "1.0"
REPLY_TOPIC = "reply-topic"
REPLY_PARTITION = "reply-partition"

_SPECVERSION = ("ce_specversion", b"1.0")
_CONTENT_TYPE = ("content-type", b"application/json")
_STRUCTURED = b"application/cloudevents+json"
_MAX_ATTRIBUTE = 512
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACEPARENT_LENGTH = 55
_TOPIC = re.compile(rb"[a-zA-Z0-9._-]{1,249}")
_PARTITION = re.compile(rb"[0-9]{1,9}")
_VERSION = re.compile(r"([0-9]{1,4})\.[0-9]{1,4}")


@lru_cache(maxsize=4096)
def _static(name: str, value: str) -> tuple[str, bytes]:
    return name, value.encode()


@lru_cache(maxsize=64)
def _time(moment_ms: int) -> tuple[str, bytes]:
    return "ce_time", format_ms(moment_ms).encode()


@lru_cache(maxsize=4096)
def _command_statics(name: str, reply_topic: str, reply_partition: int) -> tuple[tuple[str, bytes], ...]:
    """What the headers of all commands of one name and one reply partition share."""
    return (
        _SPECVERSION,
        _static("ce_type", name),
        _static("ce_source", COORDINATOR),
        _CONTENT_TYPE,
        _static(REPLY_TOPIC, reply_topic),
        (REPLY_PARTITION, b"%d" % reply_partition),
    )


def command_headers(
    name: str,
    command_id: str,
    attempt: int,
    saga_id: str,
    time_ms: int,
    reply_topic: str,
    reply_partition: int,
    traceparent: str | None = None,
) -> list[tuple[str, bytes]]:
    """Headers of one attempt of a command; `name` is the action's or compensation's name (the ce_type)."""
    headers = [
        ("ce_id", attempt_id(command_id, attempt).encode()),
        ("ce_subject", saga_id.encode()),
        _time(time_ms),
        *_command_statics(name, reply_topic, reply_partition),
    ]
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    return headers


def message_headers(
    ce_type: str,
    ce_id: str,
    source: str,
    subject: str | None,
    time_ms: int,
    traceparent: str | None = None,
) -> list[tuple[str, bytes]]:
    """Headers of any message but a command; `subject` is the saga's id (None in a start request)."""
    headers = [
        _SPECVERSION,
        ("ce_id", ce_id.encode()),
        _static("ce_type", ce_type),
        _static("ce_source", source),
        _time(time_ms),
        _CONTENT_TYPE,
    ]
    if subject is not None:
        headers.append(("ce_subject", subject.encode()))
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    return headers


def reply_headers(
    ce_type: str,
    ce_id: str,
    participant: str,
    saga_id: str,
    time_ms: int,
    traceparent: str | None = None,
) -> list[tuple[str, bytes]]:
    """Headers of a reply; `ce_id` is from `reply_id` or, for what is not remembered, from `attempt_id`."""
    return message_headers(ce_type, ce_id, participant, saga_id, time_ms, traceparent)


def event_headers(
    ce_type: str, ce_id: str, saga_id: str, time_ms: int, traceparent: str | None = None
) -> list[tuple[str, bytes]]:
    """Headers of what the coordinator says of itself: SagaTransitioned, SagaStartRefused, SagaTouched."""
    return message_headers(ce_type, ce_id, COORDINATOR, saga_id, time_ms, traceparent)


def attempt_id(command_id: str, attempt: int) -> str:
    """The ce_id of one attempt: of the command, and of a reply that is not remembered."""
    return f"{command_id}#{attempt}"


def reply_id(command_id: str) -> str:
    """The ce_id of the remembered reply, the same each time it is sent."""
    return f"{command_id}#reply"


def transition_id(saga_id: str, saga_version: int) -> str:
    """The ce_id of a SagaTransitioned event."""
    return f"{saga_id}:{saga_version}"


def header(headers: Iterable[tuple[str, bytes]], name: str) -> bytes | None:
    """The value of the last header called `name`, as Kafka's own clients read a repeated one."""
    found = None
    for key, value in headers:
        if key == name:
            found = value
    return found


class Envelope(Struct, frozen=True, gc=False):
    """An opened CloudEvent; `data_path` is where its data stands in the value ("" or "data")."""

    ce_type: str
    ce_id: str
    source: str
    traceparent: str | None
    data: dict[str, Any]
    data_path: str


def open_envelope(
    headers: Iterable[tuple[str, bytes]], value: bytes | None, *, max_bytes: int = MAX_VALUE_BYTES
) -> Envelope:
    """Read an event in either mode; raises `Refused`, for what is wrong with the value before its headers."""
    attributes = dict(headers)
    body = decode_object(value, max_bytes=max_bytes)
    content_type = (attributes.get("content-type") or b"").partition(b";")[0].strip().lower()
    if content_type.startswith(b"application/cloudevents"):
        if content_type != _STRUCTURED:
            raise Refused("schema", "of CloudEvents' formats only single JSON is read", path="content-type")
        return _open_structured(attributes, body)
    _check_versions(attributes)
    return Envelope(
        ce_type=attribute(attributes, "ce_type"),
        ce_id=attribute(attributes, "ce_id"),
        source=attribute(attributes, "ce_source"),
        traceparent=traceparent_of(attributes),
        data=body,
        data_path="",
    )


def _open_structured(attributes: Mapping[str, bytes], body: dict[str, Any]) -> Envelope:
    _check_version("specversion", body.get("specversion", "1.0"))
    _check_version("schemaversion", body.get("schemaversion", SCHEMA_VERSION))
    data = body.get("data")
    if type(data) is not dict:
        raise Refused("schema", "the event's data must be a JSON object", path="data")
    traceparent = body.get("traceparent")
    if isinstance(traceparent, str):
        attributes = {"traceparent": traceparent.encode()}
    return Envelope(
        ce_type=_checked("type", body.get("type")),
        ce_id=_checked("id", body.get("id")),
        source=_checked("source", body.get("source")),
        traceparent=traceparent_of(attributes),
        data=data,
        data_path="data",
    )


def reply_address(attributes: Mapping[str, bytes]) -> tuple[str, int]:
    """Topic and partition where a command wants its reply; raises `Refused`."""
    return _address(attributes.get(REPLY_TOPIC) or b"", attributes.get(REPLY_PARTITION) or b"")


@lru_cache(maxsize=1024)
def _address(topic: bytes, partition: bytes) -> tuple[str, int]:
    if not _TOPIC.fullmatch(topic):
        raise Refused("schema", "missing, or not a topic's name", path=REPLY_TOPIC)
    if not _PARTITION.fullmatch(partition):
        raise Refused("schema", "missing, or not a partition's number", path=REPLY_PARTITION)
    return topic.decode(), int(partition)


def _check_versions(attributes: Mapping[str, bytes]) -> None:
    """Refuse another major version of CloudEvents or of our schemas; either header may be absent."""
    for name in ("ce_specversion", "ce_schemaversion"):
        version = attributes.get(name)
        if version is not None and version != b"1.0":
            _check_version(name, attribute(attributes, name))


def _check_version(name: str, version: object) -> None:
    match = _VERSION.fullmatch(_checked(name, version))
    if match is None:
        raise Refused("schema", "not MAJOR.MINOR", path=name)
    if int(match[1]) != 1:
        raise Refused("version", f"{version} is not understood, only 1.x", path=name)


def attribute(attributes: Mapping[str, bytes], name: str) -> str:
    """A required header as printable text of 1 to 512 bytes of UTF-8; raises `Refused`."""
    raw = attributes.get(name)
    if raw is None:
        raise Refused("schema", "the header is missing", path=name)
    if len(raw) > _MAX_ATTRIBUTE:
        raise Refused("schema", f"{len(raw)} bytes; the limit is {_MAX_ATTRIBUTE}", path=name)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Refused("schema", "the header is not UTF-8", path=name) from None
    if not text or not text.isprintable():
        raise Refused("schema", "empty, or holds control characters", path=name)
    return text


def source_of(attributes: Mapping[str, bytes]) -> str:
    """The header ce_source, checked like any attribute; the same few names come again and again."""
    raw = attributes.get("ce_source")
    return attribute(attributes, "ce_source") if raw is None or len(raw) > _MAX_ATTRIBUTE else _source(raw)


@lru_cache(maxsize=1024)
def _source(raw: bytes) -> str:
    return attribute({"ce_source": raw}, "ce_source")


def _checked(name: str, text: object) -> str:
    if not isinstance(text, str):
        what = "is missing" if text is None else "must be a string"
        raise Refused("schema", f"the attribute {what}", path=name)
    return attribute({name: text.encode()}, name)


def traceparent_of(attributes: Mapping[str, bytes]) -> str | None:
    """The W3C trace context, or None when there is none that is well-formed."""
    raw = attributes.get("traceparent")
    if raw is None or len(raw) != _TRACEPARENT_LENGTH:
        return None
    return _traceparent(raw)


@lru_cache(maxsize=8192)  # the replies of one saga repeat it
def _traceparent(raw: bytes) -> str | None:
    return raw.decode() if _TRACEPARENT.fullmatch(raw) else None
