"""What is kept of a record that is set aside, when it is tried again, and what it says when it comes back."""

from __future__ import annotations

import pytest

from coordinator.engine.letters import (
    LETTERS_PER_BATCH,
    Crowds,
    dead_record,
    headers_json,
    headers_of,
    pause_ms,
    reference_of,
)
from coordinator.engine.reading import BadArrival
from coordinator.saga.definition import RECOVERY, Retry, seconds
from coordinator.services.legibility import KeptRecord
from coordinator.store.batch import DeadRecord

ALMOST = 0.999_999_999


def record(value: bytes | None = b"{}", *headers: tuple[str, bytes | None]) -> KeptRecord:
    """Make a record as Kafka gives it."""
    return KeptRecord("t", 0, 7, b"key", value, headers)


def kept(made: KeptRecord, reason: str = "schema", roll: float = 0.5) -> DeadRecord:
    """Set a record aside."""
    arrival = BadArrival(0, 7, 8, reason, "why", made)
    return dead_record(arrival, reason, "why", "cluster", "t", RECOVERY, roll)


@pytest.mark.parametrize(("tries", "ceiling_s"), [(0, 10), (1, 20), (2, 40), (3, 80), (4, 160)])
def test_pauses_double_from_ten_seconds(tries: int, ceiling_s: int) -> None:
    """The pause before each of the five tries is drawn evenly from 0 to a ceiling that doubles."""
    assert pause_ms(RECOVERY, tries, 0.0) == 0
    assert pause_ms(RECOVERY, tries, 0.5) == ceiling_s * 500
    assert pause_ms(RECOVERY, tries, ALMOST) == ceiling_s * 1_000 - 1


def test_a_spent_budget_leaves_the_letter_to_a_person() -> None:
    """After the last try nothing is planned any more, and with a budget of none nothing ever is."""
    assert pause_ms(RECOVERY, 5, 0.5) is None
    assert pause_ms(RECOVERY, 60, 0.5) is None
    assert pause_ms(Retry(attempts=0, base=seconds(1)), 0, 0.5) is None


def test_the_cap_bounds_the_pause() -> None:
    """No pause is longer than the cap, however many tries there were."""
    recovery = Retry(attempts=100, base=seconds(10), factor=10.0, cap=seconds(60))
    assert pause_ms(recovery, 99, 0.5) == 30_000


def test_only_what_waiting_may_cure_is_tried_again() -> None:
    """A fault of ours and an unknown definition are tried again; a malformed record waits for a person."""
    assert kept(record(), "internal").pause_ms == 5_000
    assert kept(record(), "definition_unknown").pause_ms == 5_000
    assert kept(record(), "schema").pause_ms is None


def test_the_next_pause_counts_the_tries_of_the_letter() -> None:
    """A record that was sent again and fails again goes on with its letter's budget."""
    again = kept(record(b"{}", ("saga-redriven", b"12;3")), "internal")
    assert (again.letter_id, again.try_, again.pause_ms) == (12, 3, 40_000)
    last = kept(record(b"{}", ("saga-redriven", b"12;5")), "internal")
    assert (last.letter_id, last.pause_ms) == (12, None)


@pytest.mark.parametrize("header", [b"", b"12", b"12;", b"0;1", b"12;-1", b"1" * 19 + b";1", b"1;" + b"9" * 10, None])
def test_a_reference_that_nobody_wrote_is_none(header: bytes | None) -> None:
    """A header that is no reference, or one beyond what a row can hold, says nothing."""
    assert reference_of(record(b"{}", ("saga-redriven", header))) is None


def test_a_letter_says_whether_it_is_complete() -> None:
    """What was cut at 64 KiB, or in its headers, is marked; what waiting may cure is kept as a whole."""
    long = record(b"x" * 65_537)
    assert (kept(record()).complete, kept(long).complete) == (True, False)
    assert len(kept(long).value or b"") == 65_536
    assert kept(long, "internal").complete
    assert kept(long, "internal").value == long.value
    assert not kept(record(b"x" * (256 * 1024 + 1)), "internal").complete
    assert not kept(record(b"{}", ("baggage", b"x" * 1_025))).complete
    assert kept(record(b"{}", ("baggage", b"x" * 1_025)), "internal").complete
    assert not kept(record(b"{}", *[("h", b"")] * 51)).complete


def test_what_is_not_complete_is_never_tried_by_itself() -> None:
    """A record that was cut would come back as another record."""
    assert kept(record(b"x" * (256 * 1024 + 1)), "internal").pause_ms is None


def test_headers_survive_their_keeping() -> None:
    """Text, bytes that are no text, empty and null headers come back as they were, repeated names in their order."""
    headers = [("a", b"1"), ("a", b"\xff\xfe"), ("b", None), ("c", b""), ("d", "ü".encode())]
    assert headers_of(headers_json(headers)) == headers


def test_a_crowd_shares_a_row() -> None:
    """So many bad records of a batch are kept per partition; one row stands for the others, but for none of a saga."""
    crowds = Crowds()
    bad = [
        BadArrival(part, at, at + 1, "schema", "why", None) for at in range(LETTERS_PER_BATCH + 3) for part in (0, 1)
    ]
    assert [each.offset for each in bad if crowds.take(each, each.reason)] == [
        at for at in range(LETTERS_PER_BATCH, LETTERS_PER_BATCH + 3) for _ in (0, 1)
    ]
    assert not crowds.take(bad[0], "version_not_ready")
    again = BadArrival(0, 9, 10, "schema", "why", record(b"{}", ("saga-redriven", b"12;3")))
    assert not crowds.take(again, "schema")
    assert [(row.part, row.offset, row.next_offset, row.reason) for row in crowds.rows()] == [
        (part, LETTERS_PER_BATCH, LETTERS_PER_BATCH + 3, "crowd") for part in (0, 1)
    ]
