"""Reading past what aiokafka cannot decode, on bytes as a broker stores them."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from participants.kit.inbox import RAW_BYTES_MAX, DeadLetter
from participants.kit.salvage import Fetched, Item, decode

TP = TopicPartition("payment.commands", 3)
CHECKSUM_AT = 17
ATTRIBUTES_AT = 21
RECORDS_AT = 61
MANY = 1_000


def stored(base: int, count: int, **options: Any) -> bytearray:
    """Build a batch of records v0, v1 ... as it lies in the log at offset `base`."""
    builder = BatchBuilder(1_000_000, options.get("codec", 0))
    for number in range(count):
        builder.append(timestamp=number, key=b"k", value=b"v%d" % number, headers=[("name", b"x")])
    batch = bytearray(builder._build())
    struct.pack_into(">q", batch, 0, base)
    return batch


def signed(batch: bytearray) -> bytearray:
    """Make the checksum right again after a change."""
    struct.pack_into(">I", batch, CHECKSUM_AT, calc_crc32c(bytes(batch[ATTRIBUTES_AT:])))
    return batch


def with_odd_header(batch: bytearray, value: bytes) -> bytearray:
    """Give the record with `value` a header name that is not UTF-8."""
    batch[batch.index(b"name", batch.index(value))] = 0xFF
    return signed(batch)


def read(*batches: bytearray, position: int = 0, high_watermark: int = MANY, max_records: int = MANY) -> Iterator[Item]:
    """Read a log to its end, fetch by fetch."""
    data, end = b"".join(batches), position
    for batch in batches:
        end = max(end, struct.unpack_from(">q", batch)[0] + struct.unpack_from(">i", batch, 23)[0] + 1)
    while position < min(end, high_watermark):
        stretch = decode(TP, position, Fetched(0, high_watermark, [], _from(data, position)), max_records)
        assert stretch.next_offset > position
        position = stretch.next_offset
        yield from stretch.items


def _from(data: bytes, position: int) -> bytes:
    """Cut off what a broker would not send: batches that end before the position."""
    at = 0
    while at + 27 <= len(data):
        base, length = struct.unpack_from(">qi", data, at)
        is_last = length < 49 or at + 12 + length >= len(data)
        if is_last or base + struct.unpack_from(">i", data, at + 23)[0] >= position:
            break
        at += 12 + length
    return data[at:]


def letters(items: list[Item]) -> list[DeadLetter]:
    return [item for item in items if isinstance(item, DeadLetter)]


def offsets(items: list[Item]) -> list[int]:
    return [item.offset for item in items if not isinstance(item, DeadLetter)]


@pytest.mark.parametrize("codec", [0, 1])
@pytest.mark.parametrize("max_records", [1, MANY])
def test_a_readable_log_is_read_as_it_is(codec: int, max_records: int) -> None:
    """Without anything unreadable there are all records, from the position on, and no letter."""
    items = list(read(stored(0, 3, codec=codec), stored(3, 3, codec=codec), position=1, max_records=max_records))
    assert offsets(items) == [1, 2, 3, 4, 5]
    assert letters(items) == []


def test_an_odd_header_costs_one_record() -> None:
    """A record whose header name is not UTF-8 becomes a letter with its bytes; its neighbours in the batch come."""
    items = list(read(stored(0, 2), with_odd_header(stored(2, 3), b"v1"), stored(5, 1)))
    assert [item.offset for item in items] == [0, 1, 2, 3, 4, 5]
    (letter,) = letters(items)
    assert (letter.topic, letter.partition, letter.offset, letter.reason) == ("payment.commands", 3, 3, "corrupt")
    assert (letter.key, letter.value) == (b"k", b"v1")
    assert letter.headers == '[["\N{REPLACEMENT CHARACTER}ame","x"]]'
    assert "utf-8" in letter.detail


def test_a_compressed_batch_is_taken_apart_too() -> None:
    """An odd header inside a compressed batch costs its record only."""
    odd = with_odd_header(stored(0, 3), b"v1")
    squeezed = odd[:RECORDS_AT] + gzip.compress(odd[RECORDS_AT:])
    squeezed[8:12] = (len(squeezed) - 12).to_bytes(4)
    squeezed[ATTRIBUTES_AT + 1] |= 0x01
    items = list(read(signed(squeezed)))
    assert (offsets(items), [one.value for one in letters(items)]) == ([0, 2], [b"v1"])


def test_rolled_back_records_stay_invisible() -> None:
    """Reading by hand delivers nothing of a transaction that was rolled back, odd headers or not."""
    rolled_back = with_odd_header(stored(0, 2), b"v1")
    rolled_back[ATTRIBUTES_AT + 1] |= 0x10
    rolled_back[43:51] = (77).to_bytes(8)
    log = bytes(signed(rolled_back) + with_odd_header(stored(2, 2), b"v0"))
    stretch = decode(TP, 0, Fetched(0, MANY, [(77, 0)], log), MANY)
    assert [item.offset for item in stretch.items] == [2, 3]
    assert (offsets(stretch.items), stretch.next_offset) == ([3], 4)


@pytest.mark.parametrize("position", [2, 4])
def test_a_broken_checksum_costs_one_batch(position: int) -> None:
    """A batch with a wrong checksum becomes one letter with its bytes, from wherever it is met."""
    broken = stored(2, 5)
    broken[CHECKSUM_AT] ^= 0xFF
    items = list(read(stored(0, 2), broken, stored(7, 2), position=position))
    assert offsets(items) == [7, 8]
    (letter,) = letters(items)
    assert (letter.offset, letter.value) == (position, bytes(broken))
    assert f"offsets {position} to 6" in letter.detail


def test_an_unknown_codec_costs_one_batch() -> None:
    """A batch in a codec that nobody here knows becomes one letter."""
    unknown = stored(0, 5)
    unknown[ATTRIBUTES_AT + 1] |= 0x07
    items = list(read(signed(unknown), stored(5, 1)))
    assert [item.offset for item in items] == [0, 5]
    assert len(letters(items)) == 1


@pytest.mark.parametrize("length", [3, 1_000_000])
def test_a_batch_without_an_end_is_left_step_by_step(length: int) -> None:
    """Where neither length nor checksum can be trusted, only one offset is given up at a time."""
    endless = stored(0, 2)
    endless[8:12] = length.to_bytes(4)
    endless[CHECKSUM_AT] ^= 0xFF
    stretch = decode(TP, 0, Fetched(0, MANY, [], bytes(endless)), MANY)
    assert ([item.offset for item in stretch.items], stretch.next_offset) == ([0], 1)
    assert len(letters(stretch.items)) == 1


def test_a_huge_batch_is_a_bounded_letter() -> None:
    """A letter holds at most 64 KiB of an unreadable batch."""
    builder = BatchBuilder(1_000_000, 0)
    builder.append(timestamp=0, key=None, value=b"x" * 200_000, headers=[])
    batch = bytearray(builder._build())
    batch[CHECKSUM_AT] ^= 0xFF
    (letter,) = letters(list(read(batch)))
    assert letter.value is not None
    assert len(letter.value) == RAW_BYTES_MAX


@given(st.integers(0, 10_000), st.integers(1, 255), st.booleans())
def test_damage_costs_no_neighbour_and_no_standstill(place: int, flip: int, is_signed: bool) -> None:
    """Whatever byte of a batch is damaged, reading goes on, and the batch before it is delivered as it is."""
    batch = stored(3, 4)
    where = 12 + place % (len(batch) - 12)
    batch[where] ^= flip
    is_signed = is_signed and where >= RECORDS_AT  # brokers check the header of what is produced
    if is_signed:
        signed(batch)
    reached, items = 0, []
    while reached < 7:
        log = _from(bytes(stored(0, 3) + batch), reached)
        stretch = decode(TP, reached, Fetched(0, 7, [], log), MANY)
        assert stretch.next_offset > reached
        reached = stretch.next_offset
        items += stretch.items
    assert offsets(items)[:3] == [0, 1, 2]
    if where >= CHECKSUM_AT and not is_signed:
        assert offsets(items) == [0, 1, 2]
