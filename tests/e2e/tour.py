"""Reads docs/tour.md: blocks of commands, what is shown of their output, and what is asked of them in comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

ENDS, UNTIL = r"ends with (\d+)", r"until (\d+) s"
NEEDS_PROMETHEUS, STAYS = "needs prometheus", "stays"
KNOWN = re.compile(rf"{ENDS}|{UNTIL}|{NEEDS_PROMETHEUS}|{STAYS}")
BLOCK = re.compile(r"(?ms)(?:^<!-- ([^\n]*) -->\n)?^```console\n(.*?)^```$")


@dataclass(frozen=True)
class Typed:
    """One command, and the lines that are shown below it: `...` is anything within a line, or any lines."""

    text: str
    shown: tuple[str, ...]
    line: int
    ends_with: int = 0
    within_s: float = 0.0
    needs_prometheus: bool = False
    stays: bool = False

    def matches(self, output: str) -> bool:
        """Say whether the output is what is shown; how many blanks there are does not matter."""
        pattern = "".join(r"(?:.*\n)*?" if line == "..." else _pattern(line) for line in self.shown)
        return re.fullmatch(pattern, "".join(f"{_squeezed(line)}\n" for line in output.splitlines())) is not None


def read_tour(text: str) -> Iterator[Typed]:
    """Yield the commands in their order; raises ValueError for a comment or a block that means nothing."""
    for block in BLOCK.finditer(text):
        asked = [word.strip() for word in (block[1] or "").split(";") if word.strip()]
        if unknown := [word for word in asked if KNOWN.fullmatch(word) is None]:
            raise ValueError(f"a comment before a block says {unknown}")
        ends = next((int(found[1]) for word in asked if (found := re.fullmatch(ENDS, word))), 0)
        within = next((float(found[1]) for word in asked if (found := re.fullmatch(UNTIL, word))), 0.0)
        first = text.count("\n", 0, block.start(2)) + 1
        for place, lines in _commands(block[2].splitlines()):
            yield Typed(
                lines[0].removeprefix("$ "),
                tuple(lines[1:]),
                first + place,
                ends,
                within,
                needs_prometheus=NEEDS_PROMETHEUS in asked,
                stays=STAYS in asked,
            )


def _commands(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    starts = [place for place, line in enumerate(lines) if line.startswith("$ ")]
    if not starts or starts[0] != 0:
        raise ValueError(f"a block begins with no command: {lines[:1]}")
    for place, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield place, lines[place:end]


def _pattern(line: str) -> str:
    return re.escape(_squeezed(line)).replace(re.escape("..."), ".*") + "\n"


def _squeezed(line: str) -> str:
    return " ".join(line.split())
