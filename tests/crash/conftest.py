"""One stage per module: its runs share servers, participants and topics; a run that fails gets no successor on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deploy.local.stack import LocalStack
from tests.crash.report import TOOK, lines
from tests.crash.stage import Stage, Stages
from tests.needs import need_real_kafka


@pytest.fixture(scope="module")
async def stages(real_stack: LocalStack) -> AsyncIterator[Stages]:
    """Give stages to the runs of a module."""
    stages = Stages(real_stack)
    try:
        yield stages
    finally:
        await stages.close()


@pytest.fixture(scope="module")
def real_stack(stack: LocalStack) -> LocalStack:
    """Give servers that keep what they have acknowledged."""
    need_real_kafka(stack, "static members of a group")
    return stack


@pytest.fixture
async def stage(stages: Stages) -> Stage:
    """Give the stage of a run."""
    return await stages.current()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how long each run took, and of what."""
    if TOOK:
        terminalreporter.section("seconds until the process was killed, back, all was at rest, and judged")
    for line in lines(TOOK) if TOOK else ():
        terminalreporter.write_line(line)
