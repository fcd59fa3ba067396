"""Dead letters as records of the dead-letter topic: original key, value and headers, and why they are there."""

from __future__ import annotations

import base64
from typing import Any, cast

import msgspec

from coordinator.engine.topology import Topology
from coordinator.kafka.records import Outgoing


def dead_letter_record(topology: Topology, row: Any) -> Outgoing:
    """The record for a row of `unpublished_dead_letters`; its token is the row's id."""
    headers = [
        *_original_headers(row["headers"]),
        ("saga-dlq-kind", row["kind"].encode()),
        ("saga-dlq-reason", row["reason"].encode()),
        ("saga-dlq-detail", row["detail"].encode()[:1024]),
        ("saga-dlq-original-topic", row["topic"].encode()),
        ("saga-dlq-original-partition", b"%d" % row["partition"]),
    ]
    for name, column in (("saga-dlq-original-offset", "first_offset"), ("saga-dlq-next-offset", "next_offset")):
        if row[column] is not None:
            headers.append((name, b"%d" % row[column]))
    if row["command_id"] is not None:
        headers.append(("saga-dlq-command-id", row["command_id"].encode()))
    partition = row["partition"] % topology.counts[topology.dead_letters]
    value = row["value"]
    if value is not None and len(value) < row["value_length"]:
        headers.append(("saga-dlq-value-length", b"%d" % row["value_length"]))  # the table keeps its beginning only
    # A null key, value or header stays null, although nothing else that we send has one.
    return Outgoing(topology.dead_letters, partition, cast("bytes", row["key"]), value, headers, row["id"])


def _original_headers(raw: bytes) -> list[tuple[str, bytes]]:
    headers = []
    for name, text, *encoded in msgspec.json.decode(raw):
        unreadable = base64.b64decode(encoded[0]) if encoded else None
        headers.append((name, cast("bytes", unreadable if text is None else text.encode())))
    return headers
