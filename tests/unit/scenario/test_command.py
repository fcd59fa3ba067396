"""`saga test`: scenarios from the command line, with an exit code that a build can rely on."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.cli import app

GOOD = "begin OrderFulfillment\n    started\n    send ReserveItems to inventory, attempt 1\n"
WRONG = "begin OrderFulfillment\n    completed\n"
SENSELESS = "begin OrderFulfillment\njump\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a scenario's file that agrees with the machine."""
    path = tmp_path / "order.saga"
    path.write_text(GOOD)
    return path


def run(*arguments: object) -> tuple[int, str]:
    """Run `saga test`; answers exit code and output."""
    result = CliRunner().invoke(app, ["test", *map(str, arguments)])
    return result.exit_code, result.output


def test_scenarios_that_agree_end_well(file: Path) -> None:
    """Exit code 0 says that every scenario was played and agrees."""
    assert run(file) == (0, "1 agree, 0 differ, 0 unplayable\n")


def test_a_difference_is_shown_and_fails(file: Path) -> None:
    """A scenario that differs is printed line by line with exit code 1, and the file is left as it is."""
    file.write_text(WRONG)
    code, output = run(file)
    assert code == 1
    assert "-    completed\n+    started\n" in output
    assert file.read_text() == WRONG


def test_a_file_can_be_written_anew(file: Path) -> None:
    """With --rewrite the file reads as the machine plays it, what changed is shown, and the end is good."""
    file.write_text(WRONG)
    code, output = run("--rewrite", file)
    assert code == 0
    assert "+    started" in output
    assert file.read_text() == GOOD


def test_what_cannot_be_played_is_not_taken_for_a_difference(file: Path, tmp_path: Path) -> None:
    """A senseless line and a missing file are named with exit code 2; the other files are played all the same."""
    senseless = tmp_path / "senseless.saga"
    senseless.write_text(SENSELESS)
    code, output = run(senseless, tmp_path / "none.saga", file)
    assert code == 2
    assert f"{senseless}: line 2: a scenario cannot say 'jump'" in output
    assert f"{tmp_path / 'none.saga'}: " in output
    assert "1 agree, 0 differ, 2 unplayable" in output


def test_definitions_are_those_of_the_settings(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users test their own definitions: SAGA_DEFINITIONS names them, and a wrong name ends with exit code 2."""
    monkeypatch.setenv("SAGA_DEFINITIONS", "tests.scenarios.definitions:definitions")
    file.write_text('begin PartyPlanning {"party_id": "p-1"} ...\n')
    assert run(file)[0] == 0
    monkeypatch.setenv("SAGA_DEFINITIONS", "tests.scenarios.nowhere:definitions")
    assert run(file)[0] == 2
