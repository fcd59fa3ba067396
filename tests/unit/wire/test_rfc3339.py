"""Moments: milliseconds inside, RFC 3339 outside, and no third spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.wire.rfc3339 import format_ms, parse_ms

FIRST_MS = -62_135_596_800_000
LAST_MS = 253_402_300_799_999


@given(st.integers(FIRST_MS, LAST_MS))
def test_every_millisecond_round_trips(moment_ms: int) -> None:
    """From year 1 to year 9999 no moment changes on its way over the wire, and all texts have one shape."""
    text = format_ms(moment_ms)
    assert parse_ms(text) == moment_ms
    assert len(text) == len("2025-01-31T12:00:00.000Z")


@pytest.mark.parametrize(
    ("text", "moment_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.5Z", 500),
        ("1970-01-01T00:00:00.123999999Z", 123),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:00:00.001-01:00", 1),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
    ],
)
def test_other_spellings_of_rfc_3339_are_read(text: str, moment_ms: int) -> None:
    """Offsets and up to nine digits of fraction are understood; digits beyond milliseconds are cut off."""
    assert parse_ms(text) == moment_ms


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "0", "2025-01-31", "2025-01-31T12:00:00", "2025-01-31 12:00:00Z", "2025-01-31t12:00:00z"),
        *("2025-01-31T12:00Z", "20250131T120000Z", "2025-W05-5T12:00:00Z", "2025-02-30T12:00:00Z"),
        *("2025-01-31T24:00:01Z", "2025-01-31T12:00:60Z", "2025-01-31T12:00:00.Z", "2025-01-31T12:00:00,5Z"),
        *("2025-01-31T12:00:00+0100", "2025-01-31T12:00:00+24:00", "2025-01-31T12:00:00Z\n", "0000-01-01T00:00:00Z"),
        *("2025-01-31T12:00:00.0000000000Z", "٢٠٢٥-01-31T12:00:00Z", " 2025-01-31T12:00:00Z"),
    ],
)
def test_anything_else_is_no_moment(text: str) -> None:
    """No local time, no other separators, no impossible dates, no digits of other scripts."""
    with pytest.raises(ValueError, match=r"."):
        parse_ms(text)


@pytest.mark.parametrize("moment_ms", [FIRST_MS - 1, LAST_MS + 1, 10**30])
def test_moments_beyond_the_calendar_are_refused(moment_ms: int) -> None:
    """What the wire cannot say is an error here, not a strange text there."""
    with pytest.raises(ValueError, match="years 1 to 9999"):
        format_ms(moment_ms)
