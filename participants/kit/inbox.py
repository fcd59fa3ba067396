"""Records in, commands out; what is no command becomes a dead letter with its raw bytes."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from coordinator.wire.inbound import InboundCommand, decode_command
from coordinator.wire.strict_json import Refused

RAW_BYTES_MAX: Final = 64 * 1024
HEADERS_MAX: Final = 50


class Record(Protocol):
    """What is used of a Kafka record."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class DeadLetter(msgspec.Struct, frozen=True):
    """A record that is no command: raw, cut to 64 KiB, with a reason word of the wire contract.

    Records that cannot even be decoded have the reason `corrupt`; one letter may stand for a range of them.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None
    headers: str


def read(record: Record) -> InboundCommand | DeadLetter:
    """Read one record; never raises."""
    try:
        return decode_command(record.headers, record.value)
    except Refused as refusal:
        return letter(record, refusal)


def letter(record: Record, refusal: Refused) -> DeadLetter:
    """Keep a record that was refused."""
    place = f"{refusal.path}: " if refusal.path else ""
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        reason=refusal.reason,
        detail=f"{place}{refusal.detail}",
        key=record.key[:RAW_BYTES_MAX] if record.key is not None else None,
        value=record.value[:RAW_BYTES_MAX] if record.value is not None else None,
        headers=printable(record.headers),
    )


def printable(headers: tuple[tuple[str, bytes], ...]) -> str:
    """Write headers from anywhere as JSON that Postgres text can hold."""
    pairs = [
        (name[:200].encode(errors="replace").decode(), (value or b"")[:1_000].decode(errors="replace"))
        for name, value in headers[:HEADERS_MAX]
    ]
    return msgspec.json.encode(pairs).decode()
