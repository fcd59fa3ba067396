"""What a nursery starts is a process like any other: it says how it ended, can be killed, and outlives nobody."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.processes import Child
from tests.crash.hook import AT, USAGE
from tests.crash.nursery import BORN_S, Nursery

COORDINATOR = "tests.crash.coordinator"
NOWHERE = {"SAGA_DATABASE__URL": "postgresql://a@127.0.0.1:9/x", "SAGA_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9"}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Give a nursery, which starts in a while."""
    nursery = Nursery()
    yield nursery
    nursery.close()


def waiting(nursery: Nursery, log: Path) -> Child:
    """A coordinator that waits for a database that is not there."""
    ports = {"SAGA_API__PORT": "0", "SAGA_METRICS__PORT": "0"}
    child = nursery.start("waiting", COORDINATOR, "serve", environment={**NOWHERE, **ports}, log=log)
    child.wait_for_line("Postgres", timeout_s=BORN_S)
    assert child.exit_code is None
    return child


def test_a_program_has_its_words_its_output_and_its_exit_code(nursery: Nursery, tmp_path: Path) -> None:
    """It reads the environment that it was given, writes to its file alone, and ends with its own code."""
    child = nursery.start("wrong", COORDINATOR, "serve", environment={AT: "X9:1"}, log=tmp_path / "log")
    assert child.wait(BORN_S) == USAGE
    assert "X9" in child.output()


def test_a_process_is_killed_alone(nursery: Nursery, tmp_path: Path) -> None:
    """It leads a group of its own; its end is told with the signal, and its sibling lives on."""
    one, other = (waiting(nursery, tmp_path / name) for name in ("one", "other"))
    assert os.getpgid(one.pid) == one.pid
    one.kill()
    assert one.exit_code == -signal.SIGKILL
    assert other.exit_code is None
    other.kill()


def test_nobody_outlives_the_nursery(tmp_path: Path) -> None:
    """When the tests end, however they do, nothing of theirs goes on."""
    nursery = Nursery()
    child = waiting(nursery, tmp_path / "log")
    process = psutil.Process(child.pid)
    nursery.close()
    gone, _ = psutil.wait_procs([process], timeout=10)
    assert gone == [process]
