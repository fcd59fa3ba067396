"""The transcripts beside this file are the machine's specification by example; `pytest --rewrite` renews them."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.saga.diagram import arrows
from coordinator.saga.machine import TRANSITIONS
from coordinator.saga.model import SagaStatus
from tests.transcripts.runner import play

TRANSCRIPTS = sorted(Path(__file__).parent.glob("*.saga"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_the_machine_answers_as_the_transcript_says(path: Path, rewrite: bool) -> None:
    """Each answer of the machine is the one that a person has read and approved."""
    written = path.read_text()
    played, _ = play(written)
    if rewrite:
        path.write_text(played)
    else:
        assert played == written


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_every_transcript_opens_with_a_promise(path: Path) -> None:
    """A transcript says in its first line what it proves."""
    assert path.read_text().startswith("# ")


def test_no_arrow_is_untested() -> None:
    """Every rule is exercised by a transcript, and the drawn changes of status are those that happen."""
    exercised = set[tuple[SagaStatus, type, SagaStatus]]()
    for path in TRANSCRIPTS:
        exercised |= play(path.read_text())[1].exercised
    untested = TRANSITIONS.keys() - {(status, event) for status, event, _ in exercised}
    assert not untested
    changes = {(status, event.__name__, to) for status, event, to in exercised if status is not to}
    assert changes == set(arrows())
