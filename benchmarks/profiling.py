"""Where the coordinator's time goes: py-spy where it is at hand (it costs next to nothing), else cProfile."""

from __future__ import annotations

import pstats
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

LINES = 45


def sampler() -> str | None:
    """The py-spy program, from the PATH or beside this interpreter; None when there is none."""
    return shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))


class Sampling:
    """Samples a running process into FILE as collapsed stacks, from construction to `finish`."""

    def __init__(self, program: str, pid: int, file: Path) -> None:
        # No native frames: with them the coordinator ran at a twentieth of its speed.
        command = [program, "record", "-p", str(pid), "-d", "3600", "-r", "100", "-f", "raw"]
        self._popen = subprocess.Popen([*command, "-o", str(file)], stdout=subprocess.DEVNULL)
        self._file = file

    def finish(self) -> str:
        """End sampling; answers the functions that used the most time."""
        self._popen.send_signal(2)
        self._popen.wait(60)
        return _top_of_samples(self._file)


def _top_of_samples(file: Path) -> str:
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in file.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_without_line(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for frame in set(frames):
            whole[frame] += int(count)
    samples = max(1, own.total())
    tables = []
    for title, ranked in (("own", own), ("with what they call", whole)):
        tables.append(f"\n{title} time, of {samples} samples:")
        tables += [f"{count / samples:7.1%}  {frame}" for frame, count in ranked.most_common(LINES)]
    return "\n".join(tables)


def _without_line(frame: str) -> str:
    head, _, line = frame.rpartition(":")
    return f"{head})" if head and line.rstrip(")").isdigit() else frame


def print_top_of_profile(file: Path) -> None:
    """Print the functions that used the most time according to cProfile."""
    for order in ("tottime", "cumulative"):
        pstats.Stats(str(file)).sort_stats(order).print_stats(LINES)
