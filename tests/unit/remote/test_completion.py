"""What a shell offers behind a word."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from coordinator.command import install
from coordinator.remote.completing import STATUSES
from coordinator.remote.contexts import Config, Context, write_config
from coordinator.remote.shells import VARIABLE
from coordinator.saga.model import SagaStatus
from tests.unit.remote.fake import SAGA_ID, Fake, problem, saga


def offered(fake: Fake, line: str, **env: str) -> list[str]:
    """What bash would offer at the end of a line."""
    install()
    words = line.split(" ")
    asked = {VARIABLE: "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), **env}
    return fake.run(env=asked).stdout.split()


def test_commands_and_options_are_offered(fake: Fake) -> None:
    """At every level."""
    assert offered(fake, "saga re") == ["retry", "resolve", "resume", "replay"]
    assert offered(fake, "saga incidents re") == ["resolve"]
    assert offered(fake, "saga list --stat") == ["--status"]
    assert offered(fake, "saga serve --ro") == ["--role"]


def test_statuses_are_the_words_of_the_machine(fake: Fake) -> None:
    """All of them, and no others."""
    assert offered(fake, "saga list --status ") == list(STATUSES)
    assert set(STATUSES) == set(SagaStatus)


def test_contexts_are_those_of_the_file(fake: Fake, tmp_path: Path) -> None:
    """Also of another file that the line names; a file that makes no sense offers nothing."""
    file = tmp_path / "config.toml"
    write_config(file, Config(None, {"prod": Context("https://p.example"), "test": Context("https://t.example")}))
    assert offered(fake, "saga list --context p", SAGA_CONFIG=str(file)) == ["prod"]
    assert offered(fake, "saga context use ", SAGA_CONFIG=str(file)) == ["prod", "test"]
    file.write_text("current =")
    assert offered(fake, "saga list --context p", SAGA_CONFIG=str(file)) == []


def test_ids_and_names_are_asked_of_the_server(fake: Fake) -> None:
    """Sagas that wait for a person come first; nothing is offered where the server does not answer."""
    other = SAGA_ID.replace("7", "8")
    fake.says("GET", "/v1/sagas", {"sagas": [saga()], "next_cursor": None})
    fake.says("GET", "/v1/sagas", {"sagas": [saga(id=other), saga()], "next_cursor": None})
    assert offered(fake, "saga show 0189") == [SAGA_ID, other]
    fake.says("GET", "/v1/definitions", {"definitions": [{"name": "Trip"}, {"name": "Order"}]})
    assert offered(fake, "saga start T") == ["Trip"]
    away = Fake()
    away.says("GET", "/v1/sagas", problem(503, "away"), 503)
    assert offered(away, "saga show ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_every_shell(fake: Fake, shell: str) -> None:
    """It calls `saga`; bash takes it."""
    install()
    script = fake.run("completion", shell).stdout
    assert f"{VARIABLE}=complete_{shell}" in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_another_shell_is_refused(fake: Fake) -> None:
    """With what there is."""
    done = fake.run("completion", "tcsh")
    assert done.exit_code == 2
    assert "bash" in done.stderr
