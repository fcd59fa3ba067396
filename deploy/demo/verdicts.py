"""The last screens: what was expected, what happened, and whether the tables agree, story by story and in a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.demo.play import Told

AGREES, DISAGREES = ("agrees", "green"), ("DISAGREES", "bold red")


def show_findings(console: Console, told: Told) -> None:
    """Print a family's verdicts: per story what was expected, what happened, and whether the tables agree."""
    for finding in told.findings:
        _say(console, f"\n{finding.story.name}", finding.story.told, fine=finding.agrees)
        rows = (("expected", finding.expected), ("happened", finding.happened), ("tables", finding.tables))
        for name, line in rows:
            console.print(f"    {name:9} {line}", markup=False, highlight=False, soft_wrap=True)
        for problem in finding.problems:
            console.print(f"    {'WRONG':9} {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    if told.watched:
        console.print(f"\n{told.family.name}, watched all along", highlight=False)
    for line, fine in told.watched:
        _say(console, "", line, fine=fine)


def show_books(console: Console, books: Sequence[tuple[str, bool]]) -> None:
    """Print what the books say of all families together."""
    console.print("\nthe books", highlight=False)
    for line, fine in books:
        _say(console, "", line, fine=fine)


def show_table(console: Console, told: Told) -> None:
    """Print a family in a few columns: each story, how its sagas ended, and the verdict."""
    table = Table(title=f"\n{told.family.name}", title_justify="left", title_style="bold", expand=False)
    for name in ("story", "ended", "verdict"):
        table.add_column(name)
    for finding in told.findings:
        table.add_row(finding.story.name, finding.ended, _mark(fine=finding.agrees))
    for line, fine in told.watched:
        table.add_row("watched", line, _mark(fine=fine))
    console.print(table)


def _mark(*, fine: bool) -> Text:
    word, style = AGREES if fine else DISAGREES
    return Text(word, style=style)


def _say(console: Console, name: str, line: str, *, fine: bool) -> None:
    start = Text(f"{name}: " if name else "    ", style="bold")
    console.print(Text.assemble(start, _mark(fine=fine), f"  {line}"), soft_wrap=True)
