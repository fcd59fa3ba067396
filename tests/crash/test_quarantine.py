"""The coordinator dies while it sets records aside."""

from __future__ import annotations

import pytest

from tests.crash.runs import Run, runs_of
from tests.crash.scenes import play
from tests.crash.stage import Stage


@pytest.mark.parametrize("run", runs_of("Q"), ids=str)
async def test_a_bad_record_becomes_one_letter(stage: Stage, run: Run) -> None:
    """Wherever the coordinator dies on a bad record's way, the record is kept once and published, and blocks nobody."""
    await play(stage, run)
