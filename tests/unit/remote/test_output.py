"""Tables fit the terminal, moments are those of the reader, and colours stay where they are seen."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from coordinator.remote import times
from coordinator.remote.output import Column, Output, fitted, member, plain
from coordinator.remote.refusals import Refusal
from tests.unit.remote.fake import SAGA_ID

COLUMNS = [Column("ID", member("id"), whole=True), Column("KEY", member("key")), Column("DETAIL", member("detail"))]


def printed(width: int, items: list[dict[str, Any]], *, terminal: bool = True) -> list[str]:
    output = Output()
    file = io.StringIO()
    output.console = Console(
        file=file, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None, highlight=False
    )
    output.items(items, COLUMNS)
    return file.getvalue().splitlines()


def test_a_table_fits_the_terminal_and_keeps_ids_whole() -> None:
    """What is cut ends with an ellipsis; the id can be copied; each item has one line."""
    item = {"id": SAGA_ID, "key": "k" * 50, "detail": "d" * 90}
    lines = printed(80, [item, item])
    assert len(lines) == 3
    plain_lines = printed(80, [item], terminal=False)
    assert len(plain_lines[1]) <= 80
    assert SAGA_ID in plain_lines[1]
    assert "…" in plain_lines[1]


def test_the_widest_gives_way_first() -> None:
    """Small columns stay readable; where even that does not help, ids are not cut."""
    assert fitted([36, 50, 10], [True, False, False], 80) == [36, 30, 10]
    assert fitted([36, 50, 50], [True, False, False], 80) == [36, 20, 20]
    assert fitted([36, 10, 10], [True, False, False], 20) == [36, 6, 6]
    assert fitted([5, 5], [False, False], 80) == [5, 5]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (0, "0"),
        ("größe", "größe"),
        ("a\nb\x1b[0m\u202eevil", "a\ufffdb\ufffd[0m\ufffdevil"),
        ({"a": [1]}, '{"a":[1]}'),
    ],
)
def test_values_become_text_that_steers_nothing(value: Any, text: str) -> None:
    """Neither escape sequences nor characters that turn the direction of writing get through."""
    assert plain(value) == text


def test_moments_are_local_or_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local ones have no Z; milliseconds are shown where everything is; what is no moment is shown as it is."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    text = "2026-05-01T10:00:05.250Z"
    assert times.Times(utc=False).show(text) == "2026-05-01 15:30:05"
    assert times.Times(utc=True, fine=True).show(text) == "2026-05-01 10:00:05.250Z"
    assert times.Times(utc=True).show(None) == "-"
    assert times.Times(utc=True).show("soon") == "soon"
    monkeypatch.undo()
    time.tzset()


def test_moments_are_given_as_people_say_them() -> None:
    """With a zone, without one (local), or as a span; anything else is refused."""
    assert times.moment_of("2026-05-01T12:00:00+02:00") == "2026-05-01T10:00:00.000Z"
    early, late = times.moment_of("2h"), times.moment_of("2h", ahead=True)
    assert early is not None
    assert late is not None
    assert early < late
    assert times.moment_of(None) is None
    for wrong in ("", "2 h", "tomorrow", "-2h", "2026-13-01"):
        with pytest.raises(Refusal):
            times.moment_of(wrong)
