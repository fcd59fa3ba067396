"""Dead letters as records: of the dead-letter topic, with why they are there, and of their own topic once more."""

from __future__ import annotations

from typing import Any, cast

from coordinator.engine.letters import REDRIVEN, headers_of
from coordinator.engine.topology import Topology
from coordinator.kafka.records import Outgoing


def dead_letter_record(topology: Topology, row: Any) -> Outgoing:
    """The record for a row of `unpublished_dead_letters`; its token is the row's id."""
    headers = [
        *cast("list[tuple[str, bytes]]", headers_of(row["headers"])),
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


def redriven_record(topology: Topology, row: Any) -> Outgoing:
    """The record that sends a claimed letter again, as it came but for its reference; the token is (id, try)."""
    reference = (REDRIVEN, f"{row['id']};{row['tries']}".encode())
    headers = [pair for pair in headers_of(row["headers"]) if pair[0] != REDRIVEN]
    return Outgoing(
        topology.replies,
        topology.partition(topology.replies, row["partition"]),
        cast("bytes", row["key"]),
        row["value"],
        cast("list[tuple[str, bytes]]", [*headers, reference]),
        (row["id"], row["tries"]),
    )
