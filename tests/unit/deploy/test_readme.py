"""The lines of README.md and CONTRIBUTING.md can be typed as they stand."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.command import load
from deploy.local.places import PROJECT
from sagas.order_fulfillment import OrderInput

README = (PROJECT / "README.md").read_text()
CONTRIBUTING = (PROJECT / "CONTRIBUTING.md").read_text()


def _lines(text: str) -> Iterator[str]:
    """The indented lines outside of fences, joined where a quote goes on."""
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for block in re.findall(r"(?m)(?:^ {4}.*\n)+", outside):
        pending = ""
        for line in block.splitlines():
            pending += line + "\n"
            if pending.count("'") % 2 == 0:
                yield pending.strip()
                pending = ""
        assert not pending, pending


COMMANDS = [*_lines(README), *_lines(CONTRIBUTING)]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_shell_takes_the_line(command: str) -> None:
    """Each line is whole, and no shell would take a part of a URL for a pattern."""
    assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0
    if "curl" in command:
        assert not re.search(r"\shttp\S*[?&*]", command)


def test_every_target_exists() -> None:
    """What is to be made can be made."""
    makefile = (PROJECT / "Makefile").read_text()
    quoted = re.findall(r"`([^`\n]+)`", README + CONTRIBUTING)
    wanted = {target for text in [*COMMANDS, *quoted] for target in re.findall(r"^make ([a-z-]+)", text)}
    assert {"demo", "stack", "setup", "lock"} <= wanted
    assert not {name for name in wanted if not re.search(rf"(?m)^{name}:", makefile)}


def test_the_command_is_where_the_readme_says() -> None:
    """`saga` is called by its place in .venv, with verbs and options that it has; make-venv.sh puts it there."""
    called = [words for command in COMMANDS for words in re.findall(r"(?<!\w)saga ([^#&\n]+)", command)]
    assert {"migrate", "topics", "serve", "check", "doctor", "retry", "audit"} <= {words.split()[0] for words in called}
    for words in called:
        _is_a_command(shlex.split(words))
    assert not any(re.search(r"(^|&& )saga ", command) for command in COMMANDS)
    assert '"$bin/saga"' in (PROJECT / "deploy" / "make-venv.sh").read_text()


def _is_a_command(words: list[str]) -> None:
    """Look for the command, in its group where it is of one, and for each option."""
    command: Any = load(words[0], words[1:])
    if hasattr(command, "commands"):
        command = command.commands.get(words[1], command) if len(words) > 1 else command
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known, words


def test_python_is_named_by_its_place() -> None:
    """Nobody has our packages in the Python of the machine."""
    assert not re.findall(r"(?<![/\w])python3? -m", README + CONTRIBUTING)


def test_the_order_is_one_that_the_sample_takes() -> None:
    """The body that the README posts fits the definition that it names."""
    [post] = [command for command in COMMANDS if "/v1/sagas -H" in command]
    words = shlex.split(post)
    body = json.loads(words[words.index("-d") + 1])
    assert body["definition"] == "OrderFulfillment"
    OrderInput.model_validate(body["input"], strict=True)


def test_the_made_command_works_anywhere(tmp_path: Path) -> None:
    """`.venv/bin/saga` finds the sources from every folder."""
    saga = PROJECT / ".venv" / "bin" / "saga"
    if not saga.exists():
        pytest.skip("this Python's packages were not installed by deploy/make-venv.sh")
    done = subprocess.run([saga, "definitions"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "OrderFulfillment" in done.stdout
