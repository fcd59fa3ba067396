"""The commands over the API start in a blink: nobody at three in the morning waits for a driver of Kafka to load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = {"asyncpg", "aiokafka", "alembic", "sqlalchemy", "fastapi", "starlette", "uvloop", "uvicorn", "structlog"}
PROBE = """
import sys
from coordinator.command import app
sys.argv = ["saga", *sys.argv[1:]]
try:
    app(prog_name="saga")
except SystemExit:
    pass
sys.stderr.write("\\nLOADED " + " ".join(sys.modules))
"""


def loaded(*words: str, **environment: str) -> set[str]:
    """The modules that a command has loaded when it ends."""
    env = {**os.environ, "SAGA_URL": "http://127.0.0.1:9", "SAGA_CONFIG": "/nowhere", **environment}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    return set(done.stderr.rpartition("LOADED ")[2].split())


@pytest.mark.parametrize("words", [("list",), ("bulk", "--help"), ("definitions",), ("doctor", "--help")])
def test_a_command_over_the_api_loads_no_server_drivers(words: tuple[str, ...]) -> None:
    """Neither the coordinator's inside nor what it needs."""
    modules = loaded(*words)
    assert not HEAVY & modules
    assert not {"coordinator.engine", "coordinator.store", "coordinator.kafka", "coordinator.cli"} & modules


def test_help_does_not_even_load_a_client() -> None:
    """The list of commands is written down apart."""
    assert not {*HEAVY, "httpx2", "yaml", "coordinator.remote.session"} & loaded("--help")


def test_definitions_without_a_server_are_those_of_the_settings() -> None:
    """As before there were contexts; and so the probe sees what is loaded, and the tests above could fail."""
    assert {"asyncpg", "aiokafka", "coordinator.cli"} <= loaded("definitions", "--help", SAGA_URL="")


def test_a_serving_process_does_not_load_what_migrates() -> None:
    """Alembic and what it needs are two fifths of the imports: a coordinator that starts again does without them."""
    probe = 'import sys, coordinator.bootstrap, coordinator.cli; sys.stderr.write("LOADED " + " ".join(sys.modules))'
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = set(done.stderr.rpartition("LOADED ")[2].split())
    assert "coordinator.store.migrations" in modules
    assert not {"alembic", "sqlalchemy", "mako"} & modules
