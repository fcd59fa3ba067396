"""The coordinator dies while somebody waits for its API."""

from __future__ import annotations

import pytest

from tests.crash.runs import Run, runs_of
from tests.crash.scenes import play
from tests.crash.stage import Stage


@pytest.mark.parametrize("run", runs_of("A"), ids=str)
async def test_a_start_begins_one_saga(stage: Stage, run: Run) -> None:
    """Wherever the coordinator dies while a client starts a saga, asking again tells of the one saga that there is."""
    await play(stage, run)


@pytest.mark.parametrize("run", runs_of("B"), ids=str)
async def test_a_verb_is_done_once_and_audited(stage: Stage, run: Run) -> None:
    """Wherever the coordinator dies while an operator acts, act and audit are both there or neither, and become one."""
    await play(stage, run)
