"""A participant dies between command and offset."""

from __future__ import annotations

import pytest

from tests.crash.runs import Run, runs_of
from tests.crash.scenes import play
from tests.crash.stage import Stage


@pytest.mark.parametrize("run", runs_of("P"), ids=str)
async def test_a_command_has_one_effect(stage: Stage, run: Run) -> None:
    """Wherever a participant dies on a command's way, the command has one effect and is answered."""
    await play(stage, run)
