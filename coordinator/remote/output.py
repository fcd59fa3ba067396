"""What a command shows, in the shape that was asked for.

    table, wide  for people: fits the terminal, never cuts an id, no colour where it would not be seen
    json         exactly what the API said; jsonl: one item on a line; yaml: the same for reading

Whatever a server says may come from anybody: characters that would steer a terminal are not printed.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from coordinator.remote.client import Answer, dumped
from coordinator.remote.times import Times

Shape: TypeAlias = Literal["table", "wide", "json", "jsonl", "yaml"]
Item: TypeAlias = Mapping[str, Any]
NARROWEST: Final = 6
UNBOUNDED: Final = 100_000
MOMENTS: Final = ("at", "since", "until", "deadline")
STYLES: Final[dict[str, str]] = {
    "completed": "green",
    "compensated": "green",
    "done": "green",
    "ok": "green",
    "failed": "yellow",
    "compensating": "yellow",
    "backing_off": "yellow",
    "warn": "yellow",
    "owed": "yellow",
    "refused": "yellow",
    "paused": "yellow",
    "suspended": "bold red",
    "dead_lettered": "bold red",
    "unknown": "bold red",
    "bad": "bold red",
    "open": "bold red",
    "abandoned": "magenta",
    "skipped": "dim",
    "none": "dim",
}


class Column(NamedTuple):
    """A column of a table: `whole` is never cut, `wide` is shown where there is room for everything."""

    title: str
    cell: Callable[[Item], Any]
    whole: bool = False
    wide: bool = False


def member(name: str) -> Callable[[Item], Any]:
    """A cell that is a member of the item."""
    return lambda item: item.get(name)


def plain(value: Any) -> str:
    """A value as text that steers no terminal."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else str(value) if isinstance(value, int | float) else dumped(value)
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def styled(value: Any) -> Text:
    """A value with the colour of its word, if it has one."""
    text = plain(value)
    return Text(text, STYLES.get(text, ""))


def console_of(file: Any) -> Console:
    """A console that knows no markup, and that cuts nothing where no terminal reads."""
    console = Console(file=file, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = UNBOUNDED
    return console


class Output:
    """Writes to standard output in one shape, and beside it, for people, to standard error."""

    def __init__(self, shape: Shape = "table", *, utc: bool = False) -> None:
        self.shape = shape
        self.times = Times(utc=utc, fine=shape == "wide")
        self.console = console_of(sys.stdout)
        self.aside = console_of(sys.stderr)

    @property
    def for_people(self) -> bool:
        """Whether a person reads it, as far as one can tell."""
        return self.shape in ("table", "wide")

    def say(self, sentence: str | RenderableType) -> None:
        """Tell the person something beside the answer."""
        self.aside.print(_safe(sentence) if isinstance(sentence, str) else sentence)

    def moment(self, name: str) -> Callable[[Item], str]:
        """A cell that is a moment."""
        return lambda item: self.times.show(item.get(name))

    def one(self, answer: Answer, render: Callable[[Any], RenderableType] | None = None) -> None:
        """Show one thing."""
        if self.for_people:
            self.console.print(self.details(answer.value) if render is None else render(answer.value))
        elif self.shape == "json":
            self.raw(answer.text)
        else:
            self.value(answer.value)

    def value(self, value: Any) -> None:
        """Show a value that a program will read."""
        if self.shape == "yaml":
            yaml: Any = importlib.import_module("yaml")  # a tenth of a second, for those who ask for it
            self.raw(yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip("\n"))
        elif self.shape == "json":
            self.raw(json.dumps(value, indent=2, ensure_ascii=False))
        else:
            self.raw(dumped(value))

    def raw(self, text: str) -> None:
        """Write a line as it is."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def items(self, items: Sequence[Item], columns: Sequence[Column]) -> None:
        """Show the items of a list, all that there are."""
        if self.shape == "jsonl":
            for item in items:
                self.raw(dumped(item))
        elif self.for_people:
            self.console.print(self.table(items, columns))
        else:
            self.value(list(items))

    def table(self, items: Iterable[Item], columns: Sequence[Column]) -> Table:
        """A table that fits: what may be cut is cut, widest first."""
        shown = [column for column in columns if self.shape == "wide" or not column.wide]
        rows = [[_cell(column.cell(item)) for column in shown] for item in items]
        natural = [
            max([len(column.title), *(row[place].cell_len for row in rows)]) for place, column in enumerate(shown)
        ]
        widths = fitted(natural, [column.whole for column in shown], self.console.width)
        grid = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
        for column, width in zip(shown, widths, strict=True):
            grid.add_column(column.title, no_wrap=True, overflow="ellipsis", width=width)
        for row in rows:
            grid.add_row(*row)
        return grid

    def details(self, value: Any) -> RenderableType:
        """Anything that the API says, as names and values, lists of things as tables below."""
        if not isinstance(value, dict):
            return Text(plain(value))
        return Group(*self._blocks(value))

    def _blocks(self, value: Item) -> list[RenderableType]:
        flat = Table(box=None, pad_edge=False, show_header=False, show_edge=False)
        flat.add_column(no_wrap=True, style="bold")
        flat.add_column(overflow="fold")
        below: list[RenderableType] = []
        for name, each in value.items():
            if isinstance(each, list) and each and all(isinstance(one, dict) for one in each):
                titles = list(dict.fromkeys(key for one in each for key in one))
                below += [Text(), Text(name, "bold"), self.table(each, [self._named(title) for title in titles])]
            elif isinstance(each, dict) and each:
                below += [Text(), Text(name, "bold"), *self._blocks(each)]
            else:
                flat.add_row(name, self._shown(name, each))
        return [flat, *below]

    def _named(self, name: str) -> Column:
        return Column(
            name.upper(), lambda item: self._shown(name, item.get(name)), whole=name == "id" or name.endswith("_id")
        )

    def _shown(self, name: str, value: Any) -> Text:
        if isinstance(value, str) and (name in MOMENTS or name.endswith("_at")):
            return Text(self.times.show(value))
        return styled(value)


def fitted(natural: Sequence[int], whole: Sequence[bool], room: int) -> list[int]:
    """Widths of columns with two blanks between them: the widest that may be cut gives way first."""
    widths = list(natural)
    while sum(widths) + 2 * (len(widths) - 1) > room:
        least = [place for place, kept in enumerate(whole) if not kept and widths[place] > NARROWEST]
        if not least:
            break
        widths[max(least, key=lambda place: widths[place])] -= 1
    return widths


def _cell(value: Any) -> Text:
    return value if isinstance(value, Text) else styled(value)


def _safe(sentence: str) -> Text:
    return Text("\n".join(plain(line) for line in sentence.split("\n")))
