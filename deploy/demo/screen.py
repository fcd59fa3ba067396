"""What a person sees while a family is played: a live table on a terminal, lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy.demo.families import Chapter
from deploy.demo.seen import Seen
from deploy.demo.stories.model import Story

TERMINAL: Final = frozenset({"completed", "failed", "abandoned"})
STATUSES: Final = ("started", "pending", "compensating", "suspended", "completed", "failed")
COLOURS: Final = {"completed": "green", "failed": "yellow", "suspended": "bold red", "compensating": "magenta"}
NOTES: Final = 5  # shown below the table
COUNTS_EVERY_S: Final = 1.0  # between two lines that only count
NARROW: Final = 4  # columns and fewer are wide enough for a step's longest words

_UNDO_WORDS: Final = {
    "owed": "to undo",
    "issued": "undoing",
    "backing_off": "pausing",
    "compensated": "undone",
    "dead_lettered": "given up",
}
_OUTCOME_WORDS: Final = {
    "waiting": "",
    "issued": "asked",
    "backing_off": "pausing",
    "completed": "done",
    "failed": "refused",
    "unknown": "unknown",
    "skipped": "skipped",
}


@dataclass
class Progress:
    """How far everything is: statuses by business key, the special sagas by story, and what was noted."""

    requests: int
    statuses: Mapping[str, str] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    notes: list[tuple[float, str]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """The time since the first saga."""
        return time.monotonic() - self.began

    @property
    def counts(self) -> dict[str, int]:
        """How many sagas have which status, in the order of a saga's life."""
        counts = dict.fromkeys(STATUSES, 0)
        for status in self.statuses.values():
            counts[status] = counts.get(status, 0) + 1
        return {status: count for status, count in counts.items() if count}

    @property
    def has_ended(self) -> bool:
        """Whether every saga has ended."""
        return self.have_ended(self.requests)

    def have_ended(self, requests: int) -> bool:
        """Whether so many sagas are known, and all of them have ended."""
        return len(self.statuses) == requests and TERMINAL.issuperset(self.statuses.values())

    def note(self, line: str) -> None:
        """Remember something that a watcher should hear of."""
        self.notes.append((self.seconds, line))


class Screen(Protocol):
    """Shows progress until it is closed."""

    def show(self, progress: Progress) -> None:
        """Show how far everything is now."""

    def close(self) -> None:
        """Leave the last state on the screen."""


def screen_for(console: Console, chapter: Chapter) -> Screen:
    """Choose the live table for a terminal and lines for everything else."""
    return LiveScreen(console, chapter) if console.is_terminal else PlainScreen(console, chapter)


def step_word(seen: Seen, position: int) -> str:
    """Say in a word or two how one step of a saga stands."""
    undo, outcome = seen.undos[position], seen.outcomes[position]
    asked, undone = seen.attempts[position], seen.undo_attempts[position]
    if undo != "none":
        return _UNDO_WORDS[undo] + (f" x{undone}" if undone > 1 else "")
    return _OUTCOME_WORDS[outcome] + (f" x{asked}" if asked > 1 and outcome != "waiting" else "")


class PlainScreen:
    """One line whenever something has changed; made for logs."""

    def __init__(self, console: Console, chapter: Chapter) -> None:
        self._console = console
        self._chapter = chapter
        self._counts = ""
        self._next_counts = 0.0
        self._lines: dict[str, str] = {}
        self._noted = 0

    def show(self, progress: Progress) -> None:
        """Print what is new."""
        for seconds, line in progress.notes[self._noted :]:
            self._print(seconds, line)
        self._noted = len(progress.notes)
        counts = _counts_line(progress, self._chapter.family.thing)
        if counts != self._counts and (progress.seconds >= self._next_counts or progress.has_ended):
            self._print(progress.seconds, counts)
            self._counts = counts
            self._next_counts = progress.seconds + COUNTS_EVERY_S
        for story in self._chapter.stories:
            seen = progress.seen.get(story.name)
            if seen is None:
                continue
            words = [step_word(seen, place) for place in self._chapter.family.places]
            columns = zip(self._chapter.family.columns, words, strict=True)
            steps = ", ".join(f"{name} {word}" for name, word in columns if word)
            line = f"{story.name}: {seen.status} ({steps})"
            if self._lines.get(story.name) != line:
                self._print(progress.seconds, line)
                self._lines[story.name] = line

    def close(self) -> None:
        """Nothing is left open."""

    def _print(self, seconds: float, line: str) -> None:
        self._console.print(f"{seconds:5.1f} s  {line}", markup=False, highlight=False, soft_wrap=True)


class LiveScreen:
    """A table that is drawn anew in place."""

    def __init__(self, console: Console, chapter: Chapter) -> None:
        self._chapter = chapter
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def show(self, progress: Progress) -> None:
        """Draw the table."""
        self._live.update(_picture(progress, self._chapter), refresh=True)

    def close(self) -> None:
        """Take the table away; the verdicts come in its place."""
        self._live.stop()


def _picture(progress: Progress, chapter: Chapter) -> Group:
    names = chapter.family.columns
    title = _counts_line(progress, chapter.family.thing)
    # As narrow as can be: a family must fit a terminal of 80 columns and 24 lines.
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("story", no_wrap=True)
    table.add_column("saga", no_wrap=True)
    for name in names:
        table.add_column(name, min_width=10 if len(names) <= NARROW else None)
    for story in chapter.stories:
        if story.requests > 1:
            table.add_row(story.name, _share(progress, story))
            continue
        seen = progress.seen.get(story.name)
        if seen is None:
            table.add_row(story.name)
            continue
        words = [Text(step_word(seen, place), style=_style(seen, place)) for place in chapter.family.places]
        table.add_row(story.name, Text(seen.status, style=COLOURS.get(seen.status, "")), *words)
    notes = [
        Text(f"{seconds:5.1f} s  {line}", style="dim", no_wrap=True, overflow="ellipsis")
        for seconds, line in progress.notes[-NOTES:]
    ]
    return Group(table, *notes)


def _share(progress: Progress, story: Story) -> str:
    prefix = f"{story.word}-"
    statuses = [status for key, status in progress.statuses.items() if key.startswith(prefix)]
    return f"{statuses.count(story.expected.status)} of {story.requests}"


def _style(seen: Seen, position: int) -> str:
    if seen.undos[position] == "compensated":
        return "cyan"
    if seen.undos[position] == "dead_lettered" or seen.outcomes[position] in {"failed", "unknown"}:
        return "red"
    return "green" if seen.outcomes[position] == "completed" and seen.undos[position] == "none" else "magenta"


def _counts_line(progress: Progress, thing: str) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in progress.counts.items())
    return f"{len(progress.statuses)} of {progress.requests} {thing}s: {counts}" if counts else f"no {thing}s yet"
