"""Get past what aiokafka cannot read: fetch the bytes ourselves, keep what is good, name what is not."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CorruptRecordException, KafkaError, OffsetOutOfRangeError, for_code
from aiokafka.structs import TopicPartition

from coordinator.kafka import inside
from coordinator.kafka.raw import RawReader, Reading
from coordinator.kafka.records import Skipped

_LARGEST_FETCH_BYTES = 64 * 1024 * 1024


async def read_past(
    consumer: AIOKafkaConsumer, tp: TopicPartition, position: int, *, fetch_bytes: int, max_records: int
) -> Reading:
    """Read the partition from `position` on by hand, with a Skipped for each range that cannot be read.

    Raises OffsetOutOfRangeError, or another KafkaError when the broker does not serve the partition now.
    """
    while True:
        raw = await inside.fetch_raw(consumer, tp, position, fetch_bytes)
        if raw.error_code == CorruptRecordException.errno:
            return await _skip_unserved(consumer, tp, position)
        if raw.error_code == OffsetOutOfRangeError.errno:
            raise OffsetOutOfRangeError({tp: position})
        if raw.error_code:
            raise for_code(raw.error_code)(f"fetching {tp.topic}-{tp.partition}")
        reader = RawReader(
            tp.topic, tp.partition, position=position, high_watermark=raw.high_watermark, aborted=raw.aborted
        )
        reading = reader.read(raw.data, max_records)
        if not reading.truncated:
            return reading
        if fetch_bytes >= _LARGEST_FETCH_BYTES:
            return _gap(tp, position, position + 1, "a batch that never ends")
        fetch_bytes = min(fetch_bytes * 8, _LARGEST_FETCH_BYTES)


async def _skip_unserved(consumer: AIOKafkaConsumer, tp: TopicPartition, position: int) -> Reading:
    """Find the first offset that the broker can serve again: its own log is broken before it."""
    end = (await consumer.end_offsets([tp]))[tp]
    bad, good, step = position, end, 1
    while bad + step < end:
        if await _is_served(consumer, tp, bad + step):
            good = bad + step
            break
        bad += step
        step *= 2
    while good - bad > 1:
        middle = (bad + good) // 2
        if await _is_served(consumer, tp, middle):
            good = middle
        else:
            bad = middle
    return _gap(tp, position, max(good, position + 1), "the broker itself cannot read its log here")


async def _is_served(consumer: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> bool:
    raw = await inside.fetch_raw(consumer, tp, offset, 1)
    if raw.error_code not in (0, CorruptRecordException.errno):
        raise KafkaError(f"{tp.topic}-{tp.partition} is not served: {for_code(raw.error_code).__name__}")
    return raw.error_code == 0


def _gap(tp: TopicPartition, first: int, following: int, detail: str) -> Reading:
    return Reading([Skipped(tp.topic, tp.partition, first, following, "corrupt", detail)], following, truncated=False)
