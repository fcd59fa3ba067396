"""What is remembered of records that were read."""

from __future__ import annotations

import msgspec

from coordinator.kafka.marks import Marks, is_mark_of
from coordinator.kafka.raw import RawRecord


def record(offset: int, value: bytes = b"v") -> RawRecord:
    """Make a record."""
    return RawRecord("t", 0, offset, 1_000 + offset, b"k", value, [("ce_id", b"%d" % offset)])


def test_the_nearest_record_before_an_offset_is_known() -> None:
    """Also after reading went back; of another partition, or of a log that is another one, nothing is known."""
    marks = Marks()
    for offset in (3, 7, 9, 5):
        marks.add(0, record(offset))
    assert [mark and mark.offset for mark in (marks.before(0, at) for at in (3, 4, 7, 8, 100))] == [None, 3, 5, 7, 9]
    assert marks.before(1, 100) is None
    marks.forget(0)
    assert marks.before(0, 100) is None


def test_a_record_is_known_by_all_that_was_sent() -> None:
    """Another time, key, value or header is another record; how often it is read makes no difference."""
    marks, one = Marks(), record(3)
    marks.add(0, one)
    mark = marks.before(0, 4)
    assert mark is not None
    assert is_mark_of(record(3), mark)
    for change in ({"timestamp": 1}, {"key": None}, {"value": b"w"}, {"headers": [("ce_id", b"4")]}):
        assert not is_mark_of(msgspec.structs.replace(one, **change), mark)
