"""Past what aiokafka cannot read: one fetch by hand, a dead letter for what is unreadable in it, the rest as records.

aiokafka decodes while it delivers, raises at the first bad record or batch, and stays before it for ever. Here the same
bytes are decoded by the same classes, and the one batch at which they raise is taken apart record by record. What this
reaches into without a promise was read in, and is tested against, aiokafka 0.14.
"""

# ruff: noqa: SLF001

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException, KafkaError, OffsetOutOfRangeError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint_py as decode_varint  # the C one reads past the end
from aiokafka.structs import ConsumerRecord

from participants.kit.inbox import HEADERS_MAX, RAW_BYTES_MAX, DeadLetter, printable

log = structlog.get_logger()

FETCH_BYTES: Final = 1024 * 1024
MAGIC: Final = 2
# Base offset, length, (epoch,) magic, (checksum, attributes,) last offset delta, (times, producer,) number of records.
HEADER: Final = struct.Struct(">qi4xb6xi30xi")
LENGTH_COUNTS_FROM: Final = 12

Item: TypeAlias = "ConsumerRecord[bytes, bytes] | DeadLetter"


class Stretch(NamedTuple):
    """A part of one partition: records and dead letters in the order of their offsets, and where to read on."""

    items: list[Item]
    next_offset: int


class Fetched(NamedTuple):
    """One partition's part of a fetch response; `aborted` are (producer id, first offset) pairs."""

    error_code: int
    high_watermark: int
    aborted: list[tuple[int, int]]
    data: bytes


async def read_by_hand(consumer: AIOKafkaConsumer, tp: TopicPartition, position: int, max_records: int) -> Stretch:
    """Read on from `position`, past one unreadable spot at most.

    Raises a KafkaError when the broker does not serve the partition now: nothing is stepped over then.
    """
    fetched = await _fetch(consumer, tp, position, FETCH_BYTES)
    if fetched.error_code == OffsetOutOfRangeError.errno:
        return Stretch([], position)  # aiokafka knows what to do about this one
    if fetched.error_code == CorruptRecordException.errno:
        following = await _first_served(consumer, tp, position)
        return Stretch([_gap(tp, position, following, "the broker cannot read its log here", b"")], following)
    if fetched.error_code:
        error = for_code(fetched.error_code)(f"fetching {tp.topic}-{tp.partition}")
        if error.invalid_metadata:
            consumer._client.force_metadata_update()
        raise error
    return decode(tp, position, fetched, max_records)


def decode(tp: TopicPartition, position: int, fetched: Fetched, max_records: int) -> Stretch:
    """Decode a fetch as aiokafka would, to its end or past the first batch that cannot be read."""
    items: list[Item] = []
    reading: PartitionRecords | None = None
    try:
        batches = MemoryRecords(fetched.data)
        if fetched.data and not batches.has_next():
            raise CorruptRecordException("a batch without an end")  # noqa: TRY301 (one place takes all apart)
        reading = PartitionRecords(tp, batches, fetched.aborted, position, None, None, True, READ_COMMITTED)
        for record in reading:
            items.append(record)
            if len(items) >= max_records:
                break
    except Exception as error:  # noqa: BLE001 (decoders raise what they like)
        reached = position if reading is None else reading.next_fetch_offset
        rest = _take_apart(tp, reached, fetched, error)
        return Stretch([*items, *rest.items], rest.next_offset)
    return Stretch(items, reading.next_fetch_offset)


def _take_apart(tp: TopicPartition, position: int, fetched: Fetched, error: Exception) -> Stretch:
    """Save what can be saved of the batch that holds `position`, or that comes next."""
    raw, base, following = _find_batch(fetched.data, position, fetched.high_watermark)
    if base > position:
        # A batch before this one could not be read, and even its header says wrongly where it is.
        return Stretch([_gap(tp, position, base, repr(error), fetched.data)], base)
    items: list[Item] = []
    try:
        batch = _DefaultRecordBatchPy(bytearray(raw))
        if batch.magic != MAGIC or batch.is_control_batch or not batch.validate_crc():
            raise error  # noqa: TRY301 (nothing in it can be trusted)
        following = batch.next_offset
        for item in _records(tp, iter(batch)):
            if position <= item.offset < following:
                items.append(item)
                position = item.offset + 1
    except Exception as why:  # noqa: BLE001 (a codec has errors of its own)
        return Stretch([*items, _gap(tp, position, following, repr(why), raw)], following)
    return Stretch(items, following)


def _find_batch(data: bytes, position: int, high_watermark: int) -> tuple[bytes, int, int]:
    """Find the batch that holds `position`: its bytes, its first offset, and a guess at the first offset behind it."""
    at = 0
    while at + HEADER.size <= len(data):
        base, length, _magic, last_delta, count = HEADER.unpack_from(data, at)
        end = at + LENGTH_COUNTS_FROM + length
        if end < at + HEADER.size or end > len(data):
            break
        if base + last_delta >= position:
            # This header may be wrong, too: the next batch knows best; without one it must agree with itself.
            following = base + last_delta + 1 if last_delta + 1 == count else position + 1
            if end + 8 <= len(data):
                following = struct.unpack_from(">q", data, end)[0]
            return data[at:end], base, following if position < following <= high_watermark else position + 1
        at = end
    return data[at:], position, position + 1


def _records(tp: TopicPartition, batch: Any) -> Iterator[Item]:
    """Decode record after record; the length before each one leads over those that cannot be decoded."""
    for _ in range(batch._num_records):
        length, start = decode_varint(batch._buffer, batch._pos)
        end = start + length
        if length <= 0 or end > len(batch._buffer):
            raise CorruptRecordException(f"a record of {length} bytes")
        try:
            record = batch._read_msg(decode_varint)
        except Exception as error:  # noqa: BLE001 (decoders raise what they like)
            batch._pos = end
            yield _letter(tp, batch.base_offset, batch._buffer[start:end], error)
        else:
            key, value, headers = record.key, record.value, tuple(record.headers)
            about = (tp.topic, tp.partition, record.offset, record.timestamp, record.timestamp_type)
            yield ConsumerRecord(*about, key, value, None, len(key or b""), len(value or b""), headers)


def _letter(tp: TopicPartition, base: int, record: bytearray, error: Exception) -> DeadLetter:
    """Keep a record that cannot be decoded; raises when not even its offset can."""
    _timestamp, at = decode_varint(record, 1)  # one byte of attributes, unused
    delta, at = decode_varint(record, at)
    key: bytes | None = None
    value: bytes | None = bytes(record)
    headers: list[tuple[str, bytes]] = []
    try:
        key, at = _bytes(record, at)
        value, at = _bytes(record, at)
        count, at = decode_varint(record, at)
        for _ in range(min(count, HEADERS_MAX)):
            name, at = _bytes(record, at)
            content, at = _bytes(record, at)
            headers.append(((name or b"").decode(errors="replace"), content or b""))
    except (IndexError, ValueError):
        log.info("record_kept_in_part", partition=tp.partition, offset=base + delta)
    return _alert(tp, base + delta, base + delta + 1, f"{error!r}", key, value, tuple(headers))


def _bytes(record: bytearray, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(record, at)
    return (None, at) if length < 0 else (bytes(record[at : at + length]), at + length)


def _gap(tp: TopicPartition, first: int, following: int, detail: str, raw: bytes) -> DeadLetter:
    """Keep a range of offsets that nobody can tell apart, with the bytes as they were stored."""
    return _alert(tp, first, following, f"offsets {first} to {following - 1}: {detail}", None, raw, ())


def _alert(
    tp: TopicPartition,
    first: int,
    following: int,
    detail: str,
    key: bytes | None,
    value: bytes | None,
    headers: tuple[tuple[str, bytes], ...],
) -> DeadLetter:
    detail = detail[:2_000].replace("\0", "").encode(errors="replace").decode()
    log.error("unreadable_records", partition=tp.partition, first=first, count=following - first, detail=detail)
    return DeadLetter(
        topic=tp.topic,
        partition=tp.partition,
        offset=first,
        reason="corrupt",
        detail=detail,
        key=key[:RAW_BYTES_MAX] if key is not None else None,
        value=value[:RAW_BYTES_MAX] if value is not None else None,
        headers=printable(headers),
    )


async def _first_served(consumer: AIOKafkaConsumer, tp: TopicPartition, position: int) -> int:
    """Find the first offset behind `position` that the broker can serve again."""
    end = int((await consumer.end_offsets([tp]))[tp])
    bad, good, step = position, max(end, position + 1), 1
    while bad + step < good:
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
    return good


async def _is_served(consumer: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> bool:
    error_code = (await _fetch(consumer, tp, offset, 1)).error_code
    if error_code not in (0, CorruptRecordException.errno):
        raise for_code(error_code)(f"fetching {tp.topic}-{tp.partition}")
    return error_code == 0


async def _fetch(consumer: AIOKafkaConsumer, tp: TopicPartition, offset: int, max_bytes: int) -> Fetched:
    """Fetch one partition's bytes as they are stored, over the consumer's own connections, without waiting for more."""
    leader = consumer._client.cluster.leader_for_partition(tp)
    if leader is None or leader == -1:
        raise KafkaError(f"{tp.topic}-{tp.partition} has no leader")
    wanted = [(tp.topic, [(tp.partition, offset, max_bytes)])]
    request = FetchRequest(0, 1, max_bytes, READ_COMMITTED, wanted, rack_id="")
    response = await consumer._client.send(leader, request)
    for _topic, partitions in response.topics:
        for _partition, error_code, high_watermark, *rest in partitions:
            aborted = rest[2] if response.API_VERSION >= 11 else rest[-2]
            return Fetched(error_code, high_watermark, list(aborted or ()), bytes(rest[-1] or b""))
    raise KafkaError("an empty fetch response")
