"""One tier as a process: its output as it comes, its figures when it has ended, and an end in any case."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.prove.records import Record, Revision, Skipped
from tests.prove.tiers import Tier

SAYS = "SAGA_PROVE_RECORD"  # where tests append lines of JSON about what they measured
LOOK_S = 0.2
SHOWN_S = 10.0  # a tier that prints nothing is mentioned so often
TAIL_LINES = 30
Say = Callable[[str], None]


@dataclass
class Ended:
    """How a process ended; no exit code says that it had to be ended."""

    exit_code: int | None
    output: str
    duration_s: float


@dataclass
class Told:
    """What a tier told of itself."""

    figures: dict[str, Any] = field(default_factory=dict)
    tests: dict[str, int] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()


class Runner:
    """Runs tiers in a folder; their logs and reports go to `state`."""

    def __init__(self, root: Path, state: Path, say: Say) -> None:
        self._root = root
        self._state = state
        self._say = say

    def log(self, tier: Tier) -> Path:
        """Where the output of a tier is kept."""
        return self._state / f"{tier.name}.log"

    def run(self, tier: Tier, revision: Revision, machine: Mapping[str, str | int]) -> Record:
        """Run a tier to its end and say what became of it."""
        self._state.mkdir(parents=True, exist_ok=True)
        lines, report = self._state / f"{tier.name}.said", self._state / f"{tier.name}.xml"
        for left in (lines, report):
            left.unlink(missing_ok=True)
        arguments = [*tier.arguments, f"--junitxml={report}"] if tier.is_pytest else list(tier.arguments)
        began_at = datetime.now(UTC).isoformat(timespec="seconds")
        ended = self._play(tier, arguments, {SAYS: str(lines)} if tier.measures else {})
        told = read_pytest(report) if tier.is_pytest else read_program(ended.output)
        told.figures |= read_lines(lines)
        says_so = bool(told.tests.get("passed") or told.skipped) if tier.is_pytest else told.figures.get("passed")
        return Record(
            tier=tier.name,
            passed=ended.exit_code == 0 and says_so is True,
            revision=revision,
            machine=dict(machine),
            command=tier.command,
            began_at=began_at,
            duration_s=round(ended.duration_s, 3),
            exit_code=ended.exit_code,
            figures=told.figures,
            tests=told.tests,
            skipped=told.skipped,
        )

    def tail(self, tier: Tier) -> str:
        """The last lines that a tier has printed."""
        return "\n".join(self.log(tier).read_text(errors="replace").splitlines()[-TAIL_LINES:])

    def _play(self, tier: Tier, arguments: list[str], environment: Mapping[str, str]) -> Ended:
        began = time.monotonic()
        with self.log(tier).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-u", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._root,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        try:
            code = self._follow(tier, process, began)
        finally:
            _end(process)
        return Ended(code, self.log(tier).read_text(errors="replace"), time.monotonic() - began)

    def _follow(self, tier: Tier, process: subprocess.Popen[bytes], began: float) -> int | None:
        """Show what a process prints until it ends; None when its time is up."""
        mentioned, pending = time.monotonic(), ""
        with self.log(tier).open(errors="replace") as log:
            while True:
                code = process.poll()
                whole, newline, pending = (pending + log.read()).rpartition("\n")
                if newline:
                    self._say(whole)
                    mentioned = time.monotonic()
                if code is not None:
                    return code
                now = time.monotonic()
                if now - began > tier.limit_s:
                    self._say(f"{tier.name} has not ended within {tier.limit_s:g} s, and is ended")
                    return None
                if now - mentioned > SHOWN_S:
                    self._say(f"... {tier.name}, since {now - began:.0f} s")
                    mentioned = now
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_S)


def read_program(output: str) -> Told:
    """The figures in the last line of JSON that has a tier's name."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                figures = json.loads(line)
            except ValueError:
                continue
            if "tier" in figures:
                return Told({name: value for name, value in figures.items() if name != "tier"})
    return Told()


def read_pytest(report: Path) -> Told:
    """What pytest's report counts, and the name of every test that was skipped."""
    try:
        cases = list(ET.parse(report).getroot().iter("testcase"))  # noqa: S314 - the file is pytest's own
    except (FileNotFoundError, ET.ParseError):
        return Told()
    tests = dict.fromkeys(("passed", "failed", "skipped"), 0)
    skipped = []
    for case in cases:
        skip = case.find("skipped")
        bad = case.find("failure") is not None or case.find("error") is not None
        tests["failed" if bad else "passed" if skip is None else "skipped"] += 1
        if skip is not None:
            name = f"{case.get('classname', '').replace('.', '/')}::{case.get('name', '')}"
            skipped.append(Skipped(name, skip.get("message", "")))
    return Told({}, tests, tuple(skipped))


def read_lines(file: Path) -> dict[str, Any]:
    """What tests have written down: recoveries from faults as a list, any other figures added up by name."""
    figures: dict[str, Any] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        said: dict[str, Any] = json.loads(line)
        if "fault" in said:
            figures.setdefault("recoveries", []).append(said)
            continue
        for name, value in said.items():
            adds = isinstance(value, int | float) and not isinstance(value, bool)
            figures[name] = figures.get(name, 0) + value if adds else value
    return figures


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a process and its group: first they may clear up, then they must go."""
    for number, grace_s in ((signal.SIGINT, 20.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            continue
