"""The last screens: what disagrees is said, in the story's own lines, in the table, and in the exit code's reasons."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from deploy.demo.judging.sagas import Finding
from deploy.demo.performance import Report
from deploy.demo.play import Told
from deploy.demo.stories.bank import bank
from deploy.demo.verdicts import show_books, show_findings, show_table

GOOD, POOR, *_ = bank.stories(2)
FINE = Finding(
    GOOD, "2 x completed; nothing undone", "2 x completed; nothing undone", "2 x completed", "mails 2 sent", ()
)
WRONG = replace(FINE, story=POOR, ended="pending", problems=("source-too-poor-001: the saga is pending, not failed",))
LOST = ("looked at all the money 9 times: 1 EUR was lost", False)


def said(told: Told) -> str:
    """Give what is printed of a family."""
    output = io.StringIO()
    console = Console(file=output, width=120)
    show_findings(console, told)
    show_table(console, told)
    return output.getvalue()


def test_what_agrees_is_said_to() -> None:
    """Each story has its verdict twice: with what was expected and happened, and in the table of the family."""
    text = said(Told(bank, (FINE,), ()))
    assert "good transfer: agrees" in text
    assert "tables    mails 2 sent" in text
    assert text.count("agrees") == 2
    assert "DISAGREES" not in text


def test_what_disagrees_is_said_with_its_reason() -> None:
    """A wrong story and a wrong look stand out, and neither is hidden by what agrees."""
    text = said(Told(bank, (FINE, WRONG), (LOST,)))
    assert "WRONG     source-too-poor-001: the saga is pending, not failed" in text
    assert "DISAGREES  looked at all the money 9 times" in text
    assert text.count("DISAGREES") == 4


def test_one_thing_that_is_wrong_makes_the_demo_wrong() -> None:
    """A story, something that was watched, or a line of the books: each is a reason for the exit code 1."""
    fine = Told(bank, (FINE,), (("always the same sum", True),))
    assert Report((fine,), (("messages left in the outbox: 0", True),)).wrong == []
    assert Report((fine, replace(fine, findings=(FINE, WRONG))), ()).wrong == ["source too poor"]
    assert Report((replace(fine, watched=(LOST,)),), ()).wrong == [LOST[0]]
    books = (("messages left in the outbox: 3", False),)
    assert Report((fine,), books).wrong == ["messages left in the outbox: 3"]
    output = io.StringIO()
    show_books(Console(file=output, width=120), books)
    assert "DISAGREES  messages left in the outbox: 3" in output.getvalue()
