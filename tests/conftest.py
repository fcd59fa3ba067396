"""What every tier of tests shares."""

from __future__ import annotations

import itertools
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from deploy.local.choice import LocalStackError
from deploy.local.stack import LocalStack
from tests.needs import need_real_kafka

RUNNING_STACK = "SAGA_TEST_STACK_JSON"
_numbers = itertools.count(1)


def pytest_configure() -> None:
    """Hear Ctrl-C, and let what is started hear it: a shell lets what it runs in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --rewrite: what is compared with a file on disk (scenarios, generated docs) is written anew."""
    parser.addoption("--rewrite", action="store_true", help="write expected files anew instead of comparing")


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Fail a test that sets up logging in this process: loggers keep the stream that they found first, for ever."""
    yield
    assert not structlog.get_config()["cache_logger_on_first_use"], "run what sets up logging as a process of its own"


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Say whether expected files are to be written anew."""
    return bool(request.config.getoption("--rewrite"))


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[LocalStack]:
    """One Kafka and one Postgres for the whole session, started by the first test that asks.

    Tests share it: use topics and databases of your own, and never stop or pause its servers.
    """
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")

    if terminal is None or capture is None:
        raise LocalStackError("pytest runs without its terminal reporter or capture plugin")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(line)

    file = os.environ.get(RUNNING_STACK)
    if file and not Path(file).exists():
        raise LocalStackError(f"{RUNNING_STACK}={file} is not there; is `python -m deploy.local --json` running?")
    with LocalStack.of_file(Path(file), say=say) if file else LocalStack(say=say) as running:
        yield running


@pytest.fixture
def real_kafka(stack: LocalStack) -> LocalStack:
    """Give the stack, for a test that needs more of Kafka than the in-memory broker has."""
    need_real_kafka(stack)
    return stack


@pytest.fixture
def fresh_database(stack: LocalStack) -> Iterator[str]:
    """Give the URL of a new, empty database, dropped after the test."""
    name = f"test_{next(_numbers)}_{secrets.token_hex(4)}"
    yield stack.create_database(name)
    stack.postgres.drop_database(name)


@pytest.fixture
def topic_prefix() -> str:
    """Give a prefix that no other test's topics, groups or ids have, like "t3f2a9c1."."""
    return f"t{next(_numbers)}{secrets.token_hex(3)}."


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every test that could not run, with the reason: -ra alone gives only its place."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("tests that could not run")
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.write_line(f"{report.nodeid}: {reason}")
