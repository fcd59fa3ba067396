"""docs/tour.md, played as a newcomer plays it: each command is executed, and shows what the page says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.places import PROJECT, RunDirectory
from deploy.local.processes import Child, Processes
from deploy.local.stack import LocalStack
from tests.e2e.tour import Typed, read_tour
from tests.needs import need_real_kafka

PAGE = PROJECT / "docs" / "tour.md"
READY_S, COMMAND_S, END_S = 180.0, 60.0, 60.0
AGAIN_S = 0.5  # between two looks at what is waited for
TOUR = list(read_tour(PAGE.read_text()))

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def stage(stack: LocalStack) -> Iterator[Child]:
    """Give what the tour's first command starts, on the session's servers."""
    need_real_kafka(stack)
    for tool in ("make", "bash", "curl"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}, which the tour uses")
    [staying] = [typed for typed in TOUR if typed.stays]
    run = RunDirectory()
    with Processes(run) as processes:
        # The page's own command; only the making of .venv is left out, for tests run in an environment already.
        command = [*shlex.split(staying.text), "-o", "setup", f"PY={sys.executable}"]
        child = processes.start("stage", command, environment=stack.environment())
        child.wait_for_line(re.escape(staying.shown[-1]), timeout_s=READY_S)
        assert staying.matches(child.output()), child.output()
        yield child
        child.stop(grace_s=END_S)
    run.close()


class Shell:
    """A shell in the project's folder that lives from command to command: what one sets the next one has."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state"
        self._state.touch()
        bin_ = folder / "bin"
        bin_.mkdir()
        # `saga` as .venv/bin has it, of this tree whatever the environment was made for.
        for name, module in (("saga", " -m coordinator"), ("python", "")):
            (bin_ / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{module} "$@"\n')
            (bin_ / name).chmod(0o755)
        self._bin = bin_

    def type(self, command: str) -> tuple[int, str]:
        """Type a command; its exit code, and what a terminal would show."""
        state = shlex.quote(str(self._state))
        lines = ["set -a -o pipefail", f". {state}", f'PATH={shlex.quote(str(self._bin))}:"$PATH"', command]
        script = "\n".join([*lines, "code=$?", f"export -p > {state}", "exit $code"])
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SAGA_")}
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=PROJECT,
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        return done.returncode, done.stdout


def test_each_command_shows_what_the_page_says(stage: Child, tmp_path: Path) -> None:
    """Shipping breaks, is seen, understood, previewed, repaired in bulk and audited, by the page's own commands."""
    shell = Shell(tmp_path)
    left_out = []
    for typed in TOUR:
        if typed.stays:
            continue
        if typed.needs_prometheus and "no Prometheus" in stage.output():
            left_out.append(typed)
            continue
        _play(shell, typed)
    for typed in left_out:
        warnings.warn(f"docs/tour.md:{typed.line} was not played, it needs Prometheus: {typed.text}", stacklevel=1)


def test_nothing_is_played_that_does_not_exist(tmp_path: Path) -> None:
    """A command that is not there, or that shows something else, does not pass."""
    shell = Shell(tmp_path)
    for text in ("saga nosuchcommand", "nosuchprogram", "python -m deploy.stage nosuchverb", "echo other"):
        with pytest.raises(pytest.fail.Exception, match=re.escape(text)):
            _play(shell, Typed(text, ("this",), 1))
    _play(shell, Typed("X=1", (), 1))
    _play(shell, Typed("echo this $X; exit 3", ("... 1",), 1, ends_with=3))


def test_the_page_is_read_whole() -> None:
    """Every line of the page that looks like a command is one that is played."""
    text = PAGE.read_text()
    assert len(re.findall(r"(?m)^\$ ", text)) == len(TOUR)
    assert text.count("```") == 2 * text.count("```console")
    assert not re.findall(r"(?m)^ {4}(?:saga|make|curl|python) ", text)


def _play(shell: Shell, typed: Typed) -> None:
    deadline = time.monotonic() + typed.within_s
    while True:
        code, output = shell.type(typed.text)
        if code == typed.ends_with and typed.matches(output):
            return
        if time.monotonic() >= deadline:
            shown = "\n".join(typed.shown)
            pytest.fail(
                f"docs/tour.md:{typed.line}: {typed.text}\nended with {code}, the page says {typed.ends_with}; it"
                f" showed\n{output}\nthe page shows\n{shown}",
                pytrace=False,
            )
        time.sleep(AGAIN_S)
