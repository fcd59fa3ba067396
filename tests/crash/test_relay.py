"""The coordinator dies between commit and deletion of what is to be sent."""

from __future__ import annotations

import pytest

from tests.crash.runs import Run, runs_of
from tests.crash.scenes import play
from tests.crash.stage import Stage


@pytest.mark.parametrize("run", runs_of("O"), ids=str)
async def test_a_command_is_never_lost(stage: Stage, run: Run) -> None:
    """Wherever the coordinator dies on a command's way, Kafka gets the command under its one id, with one effect."""
    await play(stage, run)
