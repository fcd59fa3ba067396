"""A reply as it leaves: where to, and the bytes; the same from memory and from the outbox."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from coordinator.wire.cloudevents import attempt_id, reply_headers, reply_id
from coordinator.wire.inbound import InboundCommand
from coordinator.wire.messages import Reply
from coordinator.wire.strict_json import encode
from participants.kit.duties import is_remembered


class Outgoing(msgspec.Struct, kw_only=True, gc=False):
    """A row of the outbox; `id` is 0 until the row exists, `delay` is in seconds."""

    id: int = 0
    topic: str
    partition: int
    key: bytes
    headers: list[tuple[str, bytes]]
    value: bytes
    copies: int = 1
    delay: float = 0.0


def address(
    participant: str, inbound: InboundCommand, reply: Reply, now_ms: int, context: str | None = None
) -> Outgoing:
    """Put a reply where its command wants it: topic and partition of the command's headers, key the saga id.

    `context` is the trace context of the work; without one the reply carries its command's.
    """
    remembered = is_remembered(reply)
    ce_id = reply_id(reply.command_id) if remembered else attempt_id(reply.command_id, reply.attempt)
    return Outgoing(
        topic=inbound.reply_topic,
        partition=inbound.reply_partition,
        key=reply.saga_id.encode(),
        headers=reply_headers(reply.ce_type, ce_id, participant, reply.saga_id, now_ms, context or inbound.traceparent),
        value=encode(reply),
    )


def headers_to_text(headers: Iterable[tuple[str, bytes]]) -> str:
    """Write headers for the outbox."""
    return encode([(name, value.decode()) for name, value in headers]).decode()


def headers_from_text(text: str) -> list[tuple[str, bytes]]:
    """Read headers from the outbox."""
    return [(name, value.encode()) for name, value in msgspec.json.decode(text, type=list[tuple[str, str]])]
