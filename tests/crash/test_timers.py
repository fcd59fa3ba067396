"""The coordinator dies while it lets a timer happen."""

from __future__ import annotations

import pytest

from tests.crash.runs import Run, runs_of
from tests.crash.scenes import play
from tests.crash.stage import Stage


@pytest.mark.parametrize("run", runs_of("T"), ids=str)
async def test_a_timer_fires_once(stage: Stage, run: Run) -> None:
    """Wherever the coordinator dies on a timer's way, the timer fires in the end, and an attempt is counted once."""
    await play(stage, run)
