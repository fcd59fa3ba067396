"""Processes are killed at the points that matter most; `python -m pytest tests/crash` kills them at all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deploy.local.stack import LocalStack
from tests.crash.report import TOOK, lines
from tests.crash.runs import COMPENSATING, HAPPY, Run
from tests.crash.scenes import play
from tests.crash.stage import Stage, Stages
from tests.needs import need_real_kafka

CHOSEN = (
    Run("R8", 1, COMPENSATING),  # a statement cut in the middle
    Run("R9", 2, HAPPY),  # a commit whose outcome is unknown
    Run("R10", 1, COMPENSATING),  # committed, and nothing published
    Run("O1a", 1, HAPPY),  # half of what leaves together is on Kafka
    Run("O2", 1, COMPENSATING),  # on Kafka, and still in the outbox
    Run("T4", 1, COMPENSATING),  # an attempt that may be counted
    Run("A4", 1, HAPPY),  # a client that does not know whether it has begun a saga
    Run("B4", 1, COMPENSATING),  # an operator who does not know whether it was done
    Run("Q4", 1, HAPPY),  # a bad record between its table and its topic
    Run("P5", 1, COMPENSATING),  # an undo that may be committed
    Run("P6", 1, HAPPY),  # a reply that may be on Kafka
    Run("S1", 1, HAPPY),  # a claim that nobody heard of
)


@pytest.fixture(scope="module")
async def stages(stack: LocalStack) -> AsyncIterator[Stages]:
    """Give stages to the runs."""
    need_real_kafka(stack, "static members of a group")
    stages = Stages(stack)
    try:
        yield stages
    finally:
        await stages.close()


@pytest.fixture
async def stage(stages: Stages) -> Stage:
    """Give a stage on which nothing is wrong."""
    return await stages.current()


@pytest.mark.parametrize("run", CHOSEN, ids=str)
async def test_a_kill_at_a_point_leaves_no_trace(stage: Stage, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed there and started again, the process lets every saga end as it must, and nothing is lost or doubled."""
    await play(stage, run)
    with capsys.disabled():
        print("\n" + lines(TOOK[-1:])[1], end=" ")  # noqa: T201
