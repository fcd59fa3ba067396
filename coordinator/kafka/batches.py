"""From messages to Kafka's record batches: grouping, packing, and nothing lost when a batch is full."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import TopicPartition

from coordinator.kafka.records import Outgoing

TOO_LARGE = "too_large"


class Published(msgspec.Struct, frozen=True):
    """What became of the messages of one publish() call; each token is in exactly one of the three lists."""

    acknowledged: list[object]
    """Kafka has stored these."""
    failed: list[object]
    """Unknown or not sent: keep their outbox rows and send again."""
    refused: list[tuple[object, str]]
    """Never acceptable: (token, "too_large" or "invalid: why")."""
    error: str | None
    """Why the first of `failed` failed."""


class Batch:
    """Messages of one partition on their way; `error` is set, or `stored`, once Kafka has answered."""

    __slots__ = ("builder", "error", "messages", "partition", "size", "stored")

    def __init__(self, partition: TopicPartition, builder: Any, messages: list[Outgoing]) -> None:
        self.partition = partition
        builder.close()  # an open batch lingers, and send() could add to it
        self.builder = builder
        self.messages = messages
        self.size: int = builder.size()
        self.stored = False
        self.error: BaseException | None = None


class Flight:
    """The batches of one publish() call that wait for their acknowledgement; `missing` counts the call itself too.

    Between two batches the call may have to look up a topic, and the first is answered meanwhile: only when the call
    has queued them all, and settled for itself, is the last answer the last.
    """

    __slots__ = ("batches", "landed", "missing", "queued_s", "since_s")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.batches: list[Batch] = []
        self.missing = 1
        self.since_s = loop.time()
        self.queued_s: float | None = None  # since when Kafka has had something to answer
        self.landed: asyncio.Future[None] = loop.create_future()

    def settle(self) -> None:
        """Count one answer, or the end of the queueing; the last one wakes the waiting call."""
        self.missing -= 1
        if self.missing == 0 and not self.landed.done():
            self.landed.set_result(None)


def group(messages: Iterable[Outgoing]) -> dict[TopicPartition, list[Outgoing]]:
    """Sort messages by partition, each partition's in the order given."""
    groups: dict[tuple[str, int], list[Outgoing]] = {}
    for message in messages:
        key = (message.topic, message.partition)
        known = groups.get(key)
        if known is None:
            groups[key] = [message]
        else:
            known.append(message)
    return {TopicPartition(topic, partition): own for (topic, partition), own in groups.items()}


def pack(
    partition: TopicPartition,
    messages: Iterable[Outgoing],
    *,
    limit_bytes: int,
    compression: int,
    now_ms: int,
) -> tuple[list[Batch], list[tuple[object, str]]]:
    """Fill as few batches of at most `limit_bytes` as the messages need; also return (token, reason) of the refused.

    `now_ms` becomes each record's timestamp; `compression` is the codec's number in the batch header.
    """
    batches: list[Batch] = []
    refused: list[tuple[object, str]] = []
    builder, own = BatchBuilder(limit_bytes, compression), list[Outgoing]()
    for message in messages:
        headers = message.headers
        try:
            added = builder.append(timestamp=now_ms, key=message.key, value=message.value, headers=headers)
            if added is None:  # full: the record is NOT in the batch
                batches.append(Batch(partition, builder, own))
                builder, own = BatchBuilder(limit_bytes, compression), []
                builder.append(timestamp=now_ms, key=message.key, value=message.value, headers=headers)
        except (TypeError, ValueError, AttributeError) as error:
            refused.append((message.token, f"invalid: {error}"))
            continue
        if not own and builder.size() > limit_bytes:  # the first record of a batch is taken whatever its size
            refused.append((message.token, TOO_LARGE))
            builder = BatchBuilder(limit_bytes, compression)
            continue
        own.append(message)
    batches.append(Batch(partition, builder, own))
    return [batch for batch in batches if batch.messages], refused
