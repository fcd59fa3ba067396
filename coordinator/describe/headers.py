"""The Kafka headers of every message: CloudEvents in binary mode, and where a reply goes."""

from __future__ import annotations

from typing import Any

from coordinator.describe.envelopes import COMMAND_HEADERS, LETTER_HEADERS, MESSAGE_HEADERS
from coordinator.engine.topology import Topology
from coordinator.wire.cloudevents import COORDINATOR, REPLY_PARTITION, REPLY_TOPIC

_EVENT = {
    "ce_specversion": {"type": "string", "const": "1.0"},
    "ce_id": {"type": "string", "description": "Names the message: the same for every copy of it."},
    "ce_type": {"type": "string", "description": "What the message says."},
    "ce_source": {"type": "string", "description": "Who says it: a participant's name, or the coordinator's."},
    "ce_subject": {"type": "string", "description": "The saga's id; a start request has none."},
    "ce_time": {"type": "string", "format": "date-time"},
    "content-type": {"type": "string", "const": "application/json"},
    "traceparent": {"type": "string", "description": "W3C trace context, passed through."},
}
_LETTER = {
    "saga-dlq-kind": "What it is: a record that was read, or a command that was given up on.",
    "saga-dlq-reason": "Why, for machines.",
    "saga-dlq-detail": "Why, for people.",
    "saga-dlq-original-topic": "Where it stood, or was to go.",
    "saga-dlq-original-partition": "Its partition there.",
    "saga-dlq-original-offset": "Its offset, where it was read.",
    "saga-dlq-next-offset": "The offset behind it, where a range could not be read.",
    "saga-dlq-command-id": "The command that was given up on.",
    "saga-dlq-value-length": "How long the value was, where only its beginning is kept.",
}
_LETTER_ALWAYS = list(_LETTER)[:5]


def header_schemas(topology: Topology) -> dict[str, dict[str, Any]]:
    """The schemas of headers by their names; a header's value is UTF-8 text."""
    required = ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time"]
    command = _EVENT | {
        "ce_source": {"type": "string", "const": COORDINATOR},
        REPLY_TOPIC: {"type": "string", "description": "Where the reply goes.", "examples": [topology.replies]},
        REPLY_PARTITION: {
            "type": "string",
            "pattern": "^[0-9]{1,9}$",
            "description": "And to which partition: clients' own partitioners disagree.",
        },
    }
    return {
        MESSAGE_HEADERS: {"type": "object", "properties": _EVENT, "required": required},
        COMMAND_HEADERS: {
            "type": "object",
            "properties": command,
            "required": [*required, "ce_subject", "content-type", REPLY_TOPIC, REPLY_PARTITION],
        },
        LETTER_HEADERS: {
            "type": "object",
            "properties": {name: {"type": "string", "description": said} for name, said in _LETTER.items()},
            "required": _LETTER_ALWAYS,
        },
    }
