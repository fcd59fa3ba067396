"""The coordinator dies while it starts."""

from __future__ import annotations

import pytest

from tests.crash.runs import Run, runs_of
from tests.crash.scenes import play
from tests.crash.stage import Stage


@pytest.mark.parametrize("run", runs_of("S"), ids=str)
async def test_a_start_is_finished_by_the_next(stage: Stage, run: Run) -> None:
    """Wherever a coordinator dies while it starts, once or twice, the next start goes on with every saga."""
    await play(stage, run)
