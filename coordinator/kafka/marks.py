"""The records that were read last, to find out later whether a log still has them.

A broker may lose the end of a log that it had served. An offset alone does not tell, once others have written past it
again: the records between the cut and the offset would never be read.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CorruptRecordException, OffsetOutOfRangeError, for_code
from aiokafka.structs import TopicPartition

from coordinator.kafka import inside
from coordinator.kafka.raw import RawReader
from coordinator.kafka.records import Record, Skipped

_KEPT = 32  # of each partition: whoever reads again goes back by a few polls


class Mark(NamedTuple):
    """A record that was at an offset."""

    offset: int
    digest: bytes


class Marks:
    """The last record of each of the last polls, by partition."""

    def __init__(self) -> None:
        self._marks: defaultdict[int, deque[Mark]] = defaultdict(lambda: deque(maxlen=_KEPT))

    def add(self, partition: int, record: Record) -> None:
        """Remember a record that was read."""
        self._marks[partition].append(Mark(record.offset, _digest(record)))

    def before(self, partition: int, offset: int) -> Mark | None:
        """The nearest one before an offset that is known."""
        known = (mark for mark in reversed(self._marks[partition]) if mark.offset < offset)
        return max(known, key=lambda mark: mark.offset, default=None)

    def forget(self, partition: int) -> None:
        """The log is another one."""
        self._marks[partition].clear()


def is_mark_of(record: Record, mark: Mark) -> bool:
    """Whether this is the record that was read."""
    return _digest(record) == mark.digest


async def is_there(consumer: AIOKafkaConsumer, tp: TopicPartition, mark: Mark, *, fetch_bytes: int) -> bool | None:
    """Whether the log has the record at its place; None while its leader does not show it, raises KafkaError.

    What was compacted, or cannot be read any more, is taken to be there: what is asked is whether the log was cut.
    """
    raw = await inside.fetch_raw(consumer, tp, mark.offset, fetch_bytes, inside.READ_UNCOMMITTED)
    if raw.error_code == CorruptRecordException.errno:
        return True
    if raw.error_code == OffsetOutOfRangeError.errno:
        first: int = (await consumer.beginning_offsets([tp]))[tp]
        return mark.offset < first
    if raw.error_code:
        raise for_code(raw.error_code)(f"fetching {tp.topic}-{tp.partition}")
    if not raw.data:
        return None
    reader = RawReader(
        tp.topic, tp.partition, position=mark.offset, high_watermark=raw.high_watermark, aborted=raw.aborted
    )
    for item in reader.read(raw.data, 1).items:
        if not isinstance(item, Skipped) and item.offset == mark.offset:
            return is_mark_of(item, mark)
    return True


def _digest(record: Record) -> bytes:
    parts = [record.timestamp, record.key, record.value, [value for _, value in record.headers]]
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=8).digest()
