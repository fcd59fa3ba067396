"""The hand that kills: counts the passages of one point, and ends the process at the wanted one with SIGKILL."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, Self

from tests.crash.points import POINTS, Armed, NoSuchPoint, read_armed

AT: Final = "SAGA_CRASH_AT"
FILE: Final = "SAGA_CRASH_FILE"
USAGE: Final = 2
SOON_S: Final = 0.25


class Mark(NamedTuple):
    """A passage of a point, and whether the work that passes undoes something."""

    point: str
    backward: bool = True


class Hook:
    """Counts passages from when it is armed: by SAGA_CRASH_AT from the start, or later by what a file says.

    A test writes the file while the process runs, so that a process that is warm already can be killed.
    """

    def __init__(self, armed: Armed | None = None, file: Path | None = None) -> None:
        self._armed = armed
        self._file = file
        self._text = ""
        self._count = 0

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str]) -> Self:
        """Take the two variables out of the environment, which the program's settings read; raises NoSuchPoint."""
        at, file = environment.pop(AT, ""), environment.pop(FILE, "")
        return cls(read_armed(at) if at else None, Path(file) if file else None)

    def is_here(self, *marks: Mark) -> bool:
        """Count passages; answers whether the process must die now."""
        self._look()
        armed = self._armed
        for mark in marks:
            if mark.point not in POINTS:
                _give_up(f"the program passes {mark.point}, which is no point")
            if armed is not None and mark.point == armed.point and (mark.backward or not armed.backward):
                self._count += 1
                if self._count == armed.hit:
                    return True
        return False

    def passes(self, point: str, *, backward: bool = True) -> None:
        """Count a passage, and die if it is the one."""
        if self.is_here(Mark(point, backward)):
            self.die()

    def die(self) -> NoReturn:
        """End this process as `kill -9` would, and leave a line that says where."""
        os.write(1, f"{last_words(self._armed)}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
        raise SystemExit(137)  # not reached: nothing survives the line above

    def _look(self) -> None:
        if self._file is None:
            return
        try:
            text = self._file.read_text()
        except FileNotFoundError:
            text = ""
        if text == self._text:
            return
        self._text, self._count = text, 0
        try:
            self._armed = read_armed(text) if text else None
        except NoSuchPoint as error:
            _give_up(str(error))


def last_words(armed: Armed | None) -> str:
    """What a process says when it dies here."""
    return f"killed at {armed}"


def around(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a function of a class or module by one that is made of it; AttributeError where there is none."""
    setattr(owner, name, make(getattr(owner, name)))


def hasten(owner: Any, name: str) -> None:
    """Let a chore come soon: a run waits for it, and it is no other for coming more often."""
    around(owner, name, lambda _: SOON_S)


def _give_up(sentence: str) -> NoReturn:
    os.write(2, f"{sentence}\n".encode())
    os._exit(USAGE)
