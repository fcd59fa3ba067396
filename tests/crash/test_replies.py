"""The coordinator dies between poll and offset."""

from __future__ import annotations

import pytest

from tests.crash.runs import Run, runs_of
from tests.crash.scenes import play
from tests.crash.stage import Stage


@pytest.mark.parametrize("run", runs_of("R"), ids=str)
async def test_a_reply_is_applied_once(stage: Stage, run: Run) -> None:
    """Wherever the coordinator dies on a reply's way, the reply is applied once and its saga ends as it must."""
    await play(stage, run)
