"""Chance for the search: whoever asks an oracle gets every answer, one run after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Oracle:
    """Answers questions from a script; `said` is what it told during a run, for people, `run` the run's number."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.run = 0
        self._script: list[int] = []
        self._asked: list[int] = []

    def choose(self, answers: tuple[str, ...]) -> int:
        """Pick one of the answers: the scripted one, and the first where the script has ended.

        An empty one goes without saying.
        """
        place = len(self._asked)
        chosen = self._script[place] if place < len(self._script) else 0
        self._asked.append(len(answers))
        if answers[chosen]:
            self.said.append(answers[chosen])
        return chosen

    def runs(self, action: Callable[[], T]) -> Iterator[T]:
        """Run an action once for each way in which its questions can be answered."""
        waiting: list[list[int]] = [[]]
        while waiting:
            self._script = script = waiting.pop()
            self.run += 1
            if self._asked:
                self._asked, self.said = [], []
            yield action()
            for place in range(len(script), len(self._asked)):
                beginning = script + [0] * (place - len(script))
                waiting += [[*beginning, other] for other in range(1, self._asked[place])]


class Held:
    """The participants that flow control holds back at present: all of them or none, as the oracle says."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._run = -1
        self._chosen = False

    def __contains__(self, _participant: object) -> bool:
        """Whether a participant is held back; the answer stands for one run."""
        if self._run != self._oracle.run:
            self._run = self._oracle.run
            self._chosen = self._oracle.choose(("", "flow control holds back")) == 1
        return self._chosen
