"""Read stored record batches by hand, where aiokafka gives up.

aiokafka raises on the first batch it cannot read, for ever, and with it loses what it had decoded before. This reader
steps over what is unreadable and says which offsets that were. It is slow and only used for a fetch that has failed.
Format: https://kafka.apache.org/documentation/#recordbatch (magic 2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import msgspec
from aiokafka.codec import (
    gzip_decode,
    has_lz4,
    has_snappy,
    has_zstd,
    lz4_decode,
    snappy_decode,
    zstd_decode,
)
from aiokafka.record.util import calc_crc32c
from aiokafka.record.util import decode_varint_py as decode_varint  # the C one reads past the end

from coordinator.kafka.records import Record, Skipped

_HEADER = struct.Struct(">qiibIhiqqqhii")
_MAGIC = 2
_BEFORE_LENGTH_ENDS = 12  # base offset and length, which the length does not count
_CHECKSUMMED_FROM = 21
_LOG_APPEND_TIME = 0x08
_TRANSACTIONAL = 0x10
_CONTROL = 0x20
_CODEC = 0x07
_MAX_HEADERS = 100_000

_always: Callable[[], bool] = lambda: True  # noqa: E731
_CODECS: dict[int, tuple[str, Callable[[], bool], Callable[[bytes], bytes]]] = {
    1: ("gzip", _always, gzip_decode),
    2: ("snappy", has_snappy, snappy_decode),
    3: ("lz4", has_lz4, lz4_decode),
    4: ("zstd", has_zstd, zstd_decode),
}


class RawRecord(msgspec.Struct, frozen=True):
    """A record read by hand; header names that are not UTF-8 have replacement characters."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class Reading(NamedTuple):
    """What a fetch held: records and gaps in order, and where to read on.

    `truncated`: the first batch did not fit into the fetch, so there is nothing to tell yet.
    """

    items: list[Record | Skipped]
    next_offset: int
    truncated: bool


class _UnreadableError(Exception):
    def __init__(self, reason: Literal["codec", "corrupt"], detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Batch(NamedTuple):
    base_offset: int
    next_offset: int
    magic: int
    crc: int
    attributes: int
    first_timestamp: int
    max_timestamp: int
    producer_id: int
    record_count: int
    body: bytes


class RawReader:
    """Reads one partition's fetched bytes from `position` on.

    `aborted` are (producer id, first offset) pairs of transactions that were rolled back; their records are left out.
    """

    def __init__(
        self,
        topic: str,
        partition: int,
        *,
        position: int,
        high_watermark: int,
        aborted: list[tuple[int, int]],
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._position = position
        self._high_watermark = max(high_watermark, position + 1)
        self._aborted = sorted(aborted, key=lambda pair: pair[1])
        self._rolled_back: set[int] = set()
        self._items: list[Record | Skipped] = []

    def read(self, data: bytes, max_records: int) -> Reading:
        """Decode whole batches until `max_records` are there or the bytes end."""
        start, taken = 0, 0
        while taken < max_records and start + _HEADER.size <= len(data):
            end = start + _BEFORE_LENGTH_ENDS + struct.unpack_from(">i", data, start + 8)[0]
            if end < start + _HEADER.size:
                broken = _parse_header(data, start, len(data))
                detail = "a batch header with an impossible length"
                self._skip(self._after_broken(broken, data, len(data)), "corrupt", detail)
                break
            if end > len(data):
                break
            before = len(self._items)
            self._take(_parse_header(data, start, end), data, start, end)
            taken += len(self._items) - before
            start = end
        truncated = start == 0 and not self._items and bool(data)
        return Reading(self._items, self._position, truncated)

    def _take(self, batch: _Batch, data: bytes, start: int, end: int) -> None:
        next_offset = batch.next_offset
        if batch.magic != _MAGIC or calc_crc32c(data[start + _CHECKSUMMED_FROM : end]) != batch.crc:
            detail = f"the checksum does not match (message format {batch.magic})"
            self._skip(self._after_broken(batch, data, end), "corrupt", detail)
            return
        if next_offset > self._position and self._is_visible(batch):
            try:
                self._records(batch)
            except _UnreadableError as error:
                self._skip(next_offset, error.reason, str(error))
        self._position = max(self._position, next_offset)

    def _after_broken(self, batch: _Batch, data: bytes, end: int) -> int:
        """Guess where a batch ends whose own header cannot be trusted: the next batch knows best."""
        guess = batch.next_offset
        if end + 8 <= len(data):
            following: int = struct.unpack_from(">q", data, end)[0]
            if self._position < following <= self._high_watermark:
                guess = following
        return min(max(guess, self._position + 1), self._high_watermark)

    def _is_visible(self, batch: _Batch) -> bool:
        while self._aborted and self._aborted[0][1] <= batch.base_offset:
            self._rolled_back.add(self._aborted.pop(0)[0])
        if batch.attributes & _CONTROL:
            if batch.body[:1] and _is_abort_marker(batch.body):
                self._rolled_back.discard(batch.producer_id)
            return False
        return not (batch.attributes & _TRANSACTIONAL and batch.producer_id in self._rolled_back)

    def _records(self, batch: _Batch) -> None:
        body = _decompress(batch.attributes & _CODEC, batch.body)
        for delta, place in _frames(body, batch.record_count):
            offset = batch.base_offset + delta
            if offset < self._position:
                continue
            if offset >= batch.next_offset:
                raise _UnreadableError("corrupt", f"a record says it is offset {offset}")
            try:
                record = self._record(batch, offset, body, place)
            except (IndexError, ValueError) as error:
                self._skip(offset + 1, "corrupt", f"a record that cannot be decoded: {error}")
            else:
                self._items.append(record)
            self._position = offset + 1

    def _record(self, batch: _Batch, offset: int, body: bytearray, place: tuple[int, int, int]) -> RawRecord:
        timestamp_delta, start, end = place
        key, at = _bytes(body, start, end)
        value, at = _bytes(body, at, end)
        count, at = decode_varint(body, at)
        if not 0 <= count <= _MAX_HEADERS:
            raise ValueError(f"{count} headers")
        headers: list[tuple[str, bytes | None]] = []
        for _ in range(count):
            name, at = _bytes(body, at, end)
            content, at = _bytes(body, at, end)
            headers.append(((name or b"").decode("utf-8", "replace"), content))
        if at != end:
            raise ValueError("its length is wrong")
        stamped = batch.attributes & _LOG_APPEND_TIME
        timestamp = batch.max_timestamp if stamped else batch.first_timestamp + timestamp_delta
        return RawRecord(self._topic, self._partition, offset, timestamp, key, value, headers)

    def _skip(self, next_offset: int, reason: Literal["codec", "corrupt"], detail: str) -> None:
        first = self._position
        last = self._items[-1] if self._items else None
        if isinstance(last, Skipped) and last.reason == reason and last.next_offset == first:
            self._items.pop()  # one entry for a run of unreadable batches
            first = last.first_offset
        self._items.append(Skipped(self._topic, self._partition, first, next_offset, reason, detail))
        self._position = next_offset


def _parse_header(data: bytes, start: int, end: int) -> _Batch:
    (base, _length, _epoch, magic, crc, attributes, last_delta, first_ms, max_ms, producer, _, _, count) = (
        _HEADER.unpack_from(data, start)
    )
    body = data[start + _HEADER.size : end]
    return _Batch(base, base + last_delta + 1, magic, crc, attributes, first_ms, max_ms, producer, count, body)


def _is_abort_marker(body: bytes) -> bool:
    data = bytearray(body)
    for _delta, (_timestamp, start, end) in _frames(data, 1):
        key, _ = _bytes(data, start, end)
        return key is not None and len(key) >= 4 and struct.unpack_from(">hh", key)[1] == 0
    return False


def _decompress(codec: int, body: bytes) -> bytearray:
    if codec == 0:
        return bytearray(body)
    name, is_there, decode = _CODECS.get(codec, (f"number {codec}", lambda: False, bytes))
    if not is_there():
        raise _UnreadableError("codec", f"no library for the compression codec {name}")
    try:
        return bytearray(decode(body))
    except Exception as error:  # each codec library has its own errors
        raise _UnreadableError("corrupt", f"{name} cannot decompress it: {error}") from error


def _frames(body: bytearray, count: int) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Yield (offset delta, (timestamp delta, start, end)) of each record; the length prefix leads over broken ones."""
    at = 0
    for _ in range(count):
        try:
            length, start = decode_varint(body, at)
            timestamp_delta, inner = decode_varint(body, start + 1)  # one byte of attributes, unused
            delta, inner = decode_varint(body, inner)
        except (IndexError, ValueError) as error:
            raise _UnreadableError("corrupt", f"the records run out of step: {error}") from error
        end = start + length
        if length < 0 or end > len(body):
            raise _UnreadableError("corrupt", f"the records run out of step: one has {length} bytes")
        yield delta, (timestamp_delta, inner, end)
        at = end


def _bytes(body: bytearray, at: int, end: int) -> tuple[bytes | None, int]:
    length, start = decode_varint(body, at)
    if length < 0:
        return None, start
    if start + length > end:
        raise ValueError("a field is longer than its record")
    return bytes(body[start : start + length]), start + length
