"""What the screen says about a step, and that lines for logs are said once."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from deploy.demo.families import Chapter
from deploy.demo.screen import LiveScreen, PlainScreen, Progress, screen_for, step_word
from deploy.demo.seen import Seen
from deploy.demo.stories.order import order
from deploy.demo.stories.travel import travel

ORDERS = Chapter(order, order.stories(2))
TRIPS = Chapter(travel, travel.stories(2))


def seen(outcome: str, undo: str = "none", *, attempts: int = 1, undo_attempts: int = 0) -> Seen:
    """Give a saga whose first step stands like this."""
    rest = ("waiting",) * 3
    return Seen("7b0e", "pending", 2, (outcome, *rest), (undo, *("none",) * 3), (attempts,) * 4, (undo_attempts,) * 4)


@pytest.mark.parametrize(
    ("saga", "word"),
    [
        (seen("waiting"), ""),
        (seen("issued"), "asked"),
        (seen("issued", attempts=2), "asked x2"),
        (seen("failed"), "refused"),
        (seen("completed", "owed"), "to undo"),
        (seen("completed", "issued", undo_attempts=3), "undoing x3"),
        (seen("unknown", "compensated", undo_attempts=1), "undone"),
        (seen("completed", "dead_lettered", undo_attempts=4), "given up x4"),
    ],
)
def test_a_step_is_told_in_a_word(saga: Seen, word: str) -> None:
    """Outcome and undo of a step become one word, with the number of attempts when there were several."""
    assert step_word(saga, 0) == word


def test_lines_say_only_what_is_new() -> None:
    """Without a terminal the same state is printed once, and a note once."""
    output = io.StringIO()
    screen = PlainScreen(Console(file=output, width=200), ORDERS)
    progress = Progress(10, {"a": "pending", "b": "completed"}, {"card declined": seen("issued")})
    progress.note("something happened")
    for _ in range(3):
        screen.show(progress)
    lines = [line.split(" s  ", 1)[1] for line in output.getvalue().splitlines()]
    assert lines == [
        "something happened",
        "2 of 10 orders: 1 pending, 1 completed",
        "card declined: pending (inventory asked)",
    ]


def test_a_terminal_gets_the_live_table() -> None:
    """On a terminal the sagas are shown in a table that is drawn in place, on a pipe in lines."""
    output = io.StringIO()
    screen = screen_for(Console(file=output, force_terminal=True, width=120), ORDERS)
    try:
        screen.show(Progress(10, {"a": "failed"}, {"card declined": seen("failed")}))
    finally:
        screen.close()
    assert isinstance(screen, LiveScreen)
    assert "refused" in output.getvalue()
    assert isinstance(screen_for(Console(file=io.StringIO()), ORDERS), PlainScreen)


def test_each_family_has_its_own_columns() -> None:
    """What is shown of a trip are the parts of a trip."""
    output = io.StringIO()
    booked = Seen(
        "7b0e", "pending", 5, ("completed",) * 3 + ("issued", *("waiting",) * 2), ("none",) * 6, (1,) * 6, (0,) * 6
    )
    PlainScreen(Console(file=output, width=200), TRIPS).show(Progress(8, {"a": "pending"}, {"dear trip": booked}))
    assert "1 of 8 trips: 1 pending" in output.getvalue()
    assert "dear trip: pending (hotel done, flight done, car done, approval asked)" in output.getvalue()


def test_the_end_is_known_when_every_order_has_ended() -> None:
    """A suspended saga has not ended, and neither has one that was not sent yet."""
    assert Progress(2, {"a": "failed", "b": "completed"}).has_ended
    assert not Progress(2, {"a": "failed", "b": "suspended"}).has_ended
    assert not Progress(2, {"a": "failed"}).has_ended
    assert Progress(2, {"a": "failed"}).have_ended(1)
    assert not Progress(2, {"a": "suspended"}).have_ended(1)
