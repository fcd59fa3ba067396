"""Chance for the search: whoever asks an oracle gets every answer, one run after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Oracle:
    """Answers questions from a script; `said` is what it told during a run, for people."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._script: list[int] = []
        self._asked: list[int] = []

    def choose(self, answers: tuple[str, ...]) -> int:
        """Pick one of the answers: the scripted one, and the first where the script has ended."""
        place = len(self._asked)
        chosen = self._script[place] if place < len(self._script) else 0
        self._asked.append(len(answers))
        self.said.append(answers[chosen])
        return chosen

    def runs(self, action: Callable[[], T]) -> Iterator[T]:
        """Run an action once for each way in which its questions can be answered."""
        waiting: list[list[int]] = [[]]
        while waiting:
            self._script = script = waiting.pop()
            if self._asked:
                self._asked, self.said = [], []
            yield action()
            for place in range(len(script), len(self._asked)):
                beginning = script + [0] * (place - len(script))
                waiting += [[*beginning, other] for other in range(1, self._asked[place])]
