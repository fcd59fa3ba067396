"""Reading stored batches by hand: nothing good is lost, whatever one byte of a batch looks like."""

from __future__ import annotations

import struct

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from coordinator.kafka.raw import RawReader, Reading
from coordinator.kafka.records import Record, Skipped

BATCHES = 4
RECORDS = 5
END = BATCHES * RECORDS
AFTER_LENGTH = 12
LEADER_EPOCH = range(12, 16)  # the one field of the header that neither checksum nor reader looks at


def batch(base_offset: int) -> bytearray:
    """Make a stored batch of RECORDS records."""
    builder = BatchBuilder(100_000, 0)
    for n in range(base_offset, base_offset + RECORDS):
        builder.append(timestamp=1000 + n, key=b"k", value=b"v%d" % n, headers=[("h", b"x"), ("n", None)])
    stored = bytearray(builder._build())
    struct.pack_into(">q", stored, 0, base_offset)
    return stored


def sealed(stored: bytearray) -> bytearray:
    """Make the checksum right."""
    struct.pack_into(">I", stored, 17, calc_crc32c(bytes(stored[21:])))
    return stored


def read(batches: list[bytearray], *, position: int = 0, max_records: int = 1000) -> Reading:
    """Read the batches as if they had been fetched from `position`."""
    reader = RawReader("t", 3, position=position, high_watermark=END, aborted=[])
    return reader.read(b"".join(bytes(stored) for stored in batches), max_records)


def offsets(reading: Reading) -> tuple[list[int], list[tuple[int, int]]]:
    """Split a reading into the offsets of its records and the ranges of its gaps."""
    records: list[Record] = [item for item in reading.items if not isinstance(item, Skipped)]
    gaps = [(item.first_offset, item.next_offset) for item in reading.items if isinstance(item, Skipped)]
    return [record.offset for record in records], gaps


def all_batches() -> list[bytearray]:
    """Make BATCHES batches that follow each other."""
    return [batch(n * RECORDS) for n in range(BATCHES)]


def test_good_batches_are_read_completely() -> None:
    """Records come with topic, partition, offset, timestamp, key, value and headers as they were written."""
    reading = read(all_batches())
    assert offsets(reading) == (list(range(END)), [])
    assert reading.next_offset == END
    record = reading.items[7]
    assert not isinstance(record, Skipped)
    assert (record.topic, record.partition, record.offset, record.timestamp) == ("t", 3, 7, 1007)
    assert (record.key, record.value, list(record.headers)) == (b"k", b"v7", [("h", b"x"), ("n", None)])


def test_reading_starts_inside_a_batch() -> None:
    """Records of the first batch that lie before the position are left out."""
    reading = read(all_batches(), position=3)
    assert offsets(reading) == (list(range(3, END)), [])


def test_reading_stops_after_enough_records() -> None:
    """Whole batches are read until there are enough records; the rest is for the next time."""
    reading = read(all_batches(), max_records=6)
    assert offsets(reading) == (list(range(10)), [])
    assert reading.next_offset == 10


def test_a_batch_that_is_cut_off_waits() -> None:
    """The last batch of a fetch may be incomplete; alone it makes the fetch `truncated`."""
    first, second = batch(0), batch(RECORDS)
    reading = read([first, second[:-1]])
    assert (offsets(reading), reading.next_offset, reading.truncated) == (([0, 1, 2, 3, 4], []), 5, False)
    assert read([second[:-1]], position=RECORDS).truncated


@given(st.integers(0, BATCHES - 1), st.data())
def test_one_wrong_byte_costs_one_batch_at_most(victim: int, data: st.DataObject) -> None:
    """Whatever byte of a batch behind its length is wrong, all other batches are read, and no offset is unaccounted."""
    batches = all_batches()
    at = data.draw(st.integers(AFTER_LENGTH, len(batches[victim]) - 1))
    batches[victim][at] ^= data.draw(st.integers(1, 255))
    reading = read(batches)
    good, gaps = offsets(reading)
    own = set(range(victim * RECORDS, (victim + 1) * RECORDS))
    assert set(good) >= set(range(END)) - own
    missing = [offset for first, following in gaps for offset in range(first, following)]
    assert sorted(good + missing) == list(range(reading.next_offset))
    assert set(missing) <= own
    assert (missing == []) == (at in LEADER_EPOCH)


@given(st.integers(0, BATCHES - 1), st.data())
def test_one_wrong_byte_under_a_right_checksum_loses_nothing_else(victim: int, data: st.DataObject) -> None:
    """A sender's nonsense, correctly checksummed, costs records of its own batch only, and raises nothing."""
    batches = all_batches()
    at = data.draw(st.integers(61, len(batches[victim]) - 1))
    batches[victim][at] ^= data.draw(st.integers(1, 255))
    sealed(batches[victim])
    good, gaps = offsets(read(batches))
    own = set(range(victim * RECORDS, (victim + 1) * RECORDS))
    assert good == sorted(set(good))
    assert set(good) >= set(range(END)) - own
    assert all(set(range(first, following)) <= own for first, following in gaps)


def test_one_bad_record_leaves_its_neighbours() -> None:
    """A record that cannot be decoded costs itself only: its length leads to the next one."""
    stored = batch(0)
    at = stored.index(b"v2") - 1  # the length of the value
    stored[at] = 0x7E
    reading = read([sealed(stored), batch(RECORDS)])
    assert offsets(reading) == ([0, 1, 3, 4, 5, 6, 7, 8, 9], [(2, 3)])


def test_a_run_of_broken_batches_is_one_gap() -> None:
    """Neighbouring ranges with the same reason are reported as one."""
    batches = all_batches()
    for stored in batches[1:3]:
        stored[-1] ^= 1
    assert offsets(read(batches)) == ([0, 1, 2, 3, 4, 15, 16, 17, 18, 19], [(5, 15)])


def test_a_broken_end_of_batch_never_reaches_beyond_the_log() -> None:
    """A header that claims a thousand offsets more than the log has skips to the end of the log, not beyond."""
    stored = batch(0)
    struct.pack_into(">i", stored, 23, 1000)
    assert offsets(read([stored])) == ([], [(0, END)])
    assert offsets(read([stored, batch(RECORDS)])) == ([5, 6, 7, 8, 9], [(0, 5)])
