"""How long runs took, and of what."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

PHASES: Final = ("killed", "back", "at rest", "judged")


@dataclass
class Took:
    """The seconds of one run: until the process was dead, back, nothing moved any more, and all was judged."""

    run: str
    seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def reached(self, phase: str) -> None:
        """Note that a phase is over."""
        now = time.monotonic()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now

    @property
    def passed(self) -> bool:
        """Whether the run came to its end."""
        return PHASES[-1] in self.seconds


TOOK: Final[list[Took]] = []


def lines(runs: Iterable[Took]) -> list[str]:
    """A table of runs with a line of sums."""
    known = list(runs)
    width = max((len(took.run) for took in known), default=0)
    rows = [
        " ".join([f"{took.run:<{width}}", *(f"{took.seconds.get(phase, 0.0):7.2f}" for phase in PHASES)])
        + ("" if took.passed else "  NOT PASSED")
        for took in known
    ]
    total = sum(sum(took.seconds.values()) for took in known)
    passed = sum(took.passed for took in known)
    head = " ".join([f"{'':<{width}}", *(f"{phase:>7}" for phase in PHASES)])
    return [head, *rows, f"{len(known)} runs, {passed} passed, {total:.0f} s"]
