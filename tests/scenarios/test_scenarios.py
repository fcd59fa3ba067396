"""The scenarios beside this file are the machine's specification by example; `pytest --rewrite` renews them."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.saga.diagram import BEGINS, arrows, standstills
from coordinator.saga.effects import Moved
from coordinator.saga.machine import TRANSITIONS
from coordinator.saga.model import SagaStatus, dump_state, load_state
from coordinator.scenario.files import difference, read
from coordinator.scenario.player import play
from tests.scenarios.definitions import definitions

Pair = tuple[SagaStatus, type]
SCENARIOS = sorted(Path(__file__).parent.glob("*.saga"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_machine_answers_as_the_scenario_says(path: Path, rewrite: bool) -> None:
    """Each answer of the machine is the one that a person has read and approved."""
    lines = difference(path, definitions, rewrite=rewrite)
    assert rewrite or not lines, "\n".join(lines)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_opens_with_a_promise(path: Path) -> None:
    """A scenario says in its first line, in a sentence, what it proves."""
    first = read(path).splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_change_can_be_written_and_read_back(path: Path) -> None:
    """Each event moves a saga by one version or not at all, and what the database keeps of it is all of it."""
    for happened in play(read(path), definitions)[1].history:
        before, after = happened.before, happened.after
        assert after is before or after.version == before.version + 1
        state = load_state(dump_state(after))
        assert (state.steps, state.facing) == (after.steps, after.facing)
        assert (state.starts_ms, state.expires_ms) == (after.starts_ms, after.expires_ms)


def test_no_arrow_is_untested() -> None:
    """Every rule is exercised by a scenario, and the printed claims of where it leads are exactly what happens."""
    begun = set[SagaStatus]()
    exercised, moved, stayed = set[Pair](), set[tuple[SagaStatus, str, SagaStatus]](), set[tuple[SagaStatus, str]]()
    for path in SCENARIOS:
        player = play(read(path), definitions)[1]
        begun.add(player.begun.saga.status)
        for happened in player.history:
            before, event, after = happened.before.status, type(happened.event), happened.after.status
            if not isinstance(happened.decision, str):
                exercised.add((before, event))
            if before is not after:
                moved.add((before, event.__name__, after))
            elif isinstance(happened.decision, Moved):
                stayed.add((before, event.__name__))
    assert not TRANSITIONS.keys() - exercised
    assert moved == set(arrows())
    assert stayed == set(standstills())
    assert begun == set(BEGINS)
