"""An upgrade decides what is in flight as the version before did: recorded logs, decided again, come to the same.

`pytest tests/unit/saga/test_histories.py --rewrite` writes the histories anew. Do that for a new script, never to let a
change of the machine pass: sagas that are in flight while it is rolled out have such logs.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coordinator.saga.model import SagaStatus
from sagas import definitions
from tests.unit.saga.history_scripts import SCRIPTS
from tests.unit.saga.replaying import replayed, written

FOLDER = Path(__file__).parent / "histories"


def file_of(name: str) -> Path:
    """Where a history is kept."""
    return FOLDER / f"{name}.jsonl"


@pytest.fixture(autouse=True, scope="module")
def written_anew(request: pytest.FixtureRequest) -> None:
    """Write all histories anew where that was asked for."""
    if request.config.getoption("--rewrite"):
        for name, script in SCRIPTS.items():
            file_of(name).write_text(written(script, definitions))


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.jsonl")) or sorted(SCRIPTS))
def test_a_recorded_log_comes_to_what_it_came_to_then(name: str) -> None:
    """Each entry is decided again from the log alone: status, effects and the whole state are those recorded."""
    text = file_of(name).read_text()
    again = replayed(text, definitions)
    for number, (was, is_) in enumerate(zip(text.splitlines(), again.splitlines(), strict=True), 1):
        assert is_ == was, f"{name}, line {number}"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_recorded_as_it_is_told(name: str) -> None:
    """What the machine and the log make of a script today is what is on file."""
    assert written(SCRIPTS[name], definitions) == file_of(name).read_text()


def test_every_shipped_definition_has_histories_of_every_kind() -> None:
    """Each definition has a history that completes, one that is undone, and one that was tried again."""
    told: dict[str, set[str]] = {}
    for file in FOLDER.glob("*.jsonl"):
        head, *lines = file.read_text().splitlines()
        name = str(re.search(r'"definition":"(\w+)"', head)[1])  # type: ignore[index]
        text = "\n".join(lines)
        ends = re.findall(r'"status":"(\w+)","version"', lines[-1])
        told.setdefault(name, set()).update(ends, re.findall(r'^\{"event":"(\w+)"', text, re.MULTILINE))
    assert told.keys() == {definition.name for definition in definitions}
    for events in told.values():
        assert {SagaStatus.COMPLETED, SagaStatus.FAILED} <= events
        assert {"StepFailed", "CompensationCompleted", "BackoffElapsed"} <= events


def test_a_machine_that_decides_otherwise_is_noticed() -> None:
    """A recorded state that the machine does not come to makes a difference, and so does an event that does not fit."""
    text = file_of("order-happy").read_text()
    assert replayed(text, definitions) == text
    for was, is_ in (('"attempt":1', '"attempt":2'), ('"status":"pending"', '"status":"started"')):
        assert was in text
        spoiled = text.replace(was, is_)
        assert replayed(spoiled, definitions) != spoiled
    lines = text.splitlines(keepends=True)
    spoiled = "".join([*lines[:3], lines[2], *lines[3:]])
    assert '"verdict":"stayed"' in replayed(spoiled, definitions)
