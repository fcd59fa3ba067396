"""What `saga check` says: numbers, warnings, a counterexample that can be read, and an exit code."""

from __future__ import annotations

import itertools
import re
import time

import pytest
from typer.testing import CliRunner

from coordinator.check.choices import Oracle
from coordinator.check.report import check
from coordinator.check.warnings import warnings
from coordinator.cli import app
from coordinator.saga import moves
from coordinator.saga.definition import Retry, minutes, seconds
from coordinator.saga.model import Outcome
from tests.unit.check.samples import define, plain, step

SHIPPED = "sagas:definitions"
SAMPLES = "tests.unit.check.samples:definitions"


def saga(*words: str, definitions: str = SAMPLES) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["check", *words], env={"SAGA_DEFINITIONS": definitions})
    return result.exit_code, result.stdout, result.stderr


def test_a_sound_definition_is_reported_with_numbers_and_bounds() -> None:
    """How many states and transitions were seen, what was proven, and within which bounds."""
    code, said, _ = saga("Transfer")
    first, numbers = said.splitlines()[:2]
    assert code == 0
    assert first == "Transfer version 1: OK"
    assert "states" in numbers
    assert "transitions" in numbers
    assert "within: at most 2 attempts" in said


def test_a_refuted_definition_ends_with_a_counterexample_and_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shortest way to the broken promise, as a transcript."""
    monkeypatch.setattr(moves, "TO_BE_UNDONE", (Outcome.COMPLETED,))
    code, said, _ = saga("Transfer")
    assert code == 1
    assert said.startswith("Transfer version 1: REFUTED: the saga failed, and debit may still be done\n")
    assert "\nbegin Transfer\n    started\n    send Debit to bank-a, attempt 1\n" in said


def test_a_counterexample_reads_like_a_transcript(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens stands at the margin, what the machine answers is indented."""
    monkeypatch.setattr(moves, "TO_BE_UNDONE", (Outcome.COMPLETED,))
    report = check(plain(1))
    assert report.broken == "the saga failed, and s0 may still be done"
    assert report.counterexample == (
        "begin Small\n"
        "    started\n"
        "    send Do to s0-service, attempt 1\n"
        "wait\n"
        "    applied: started -> failed\n"
        "    s0: issued -> unknown"
    )


def test_without_a_name_every_definition_is_checked() -> None:
    """All that the settings name, each version of it."""
    code, said, _ = saga()
    assert code == 0
    assert "Transfer version 1: OK" in said
    assert "Transfer version 2: OK" in said


def test_a_search_that_lasts_tells_how_far_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a second, beside the result."""
    seconds_gone = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds_gone))
    _, _, told = saga("Transfer", "--version", "1")
    assert re.fullmatch(r"(Transfer: [\d,]+ states, [\d,]+ transitions so far\n)+", told)


def test_one_version_can_be_chosen() -> None:
    """A name and a version pick one definition."""
    code, said, _ = saga("Transfer", "--version", "2")
    assert code == 0
    assert "version 1" not in said


@pytest.mark.parametrize(
    ("words", "definitions", "problem"),
    [
        (["Nothing"], SAMPLES, "no definition Nothing"),
        (["Transfer", "--version", "9"], SAMPLES, "no definition Transfer version 9"),
        ([], "nowhere:definitions", "No module named 'nowhere'"),
    ],
)
def test_wrong_settings_end_with_two(words: list[str], definitions: str, problem: str) -> None:
    """What cannot be found is said in a sentence."""
    code, _, said = saga(*words, definitions=definitions)
    assert code == 2
    assert problem in said


def test_a_deadline_that_comes_before_the_timeouts_is_warned_of() -> None:
    """The timeouts of the stages sum beyond the saga's deadline."""
    definition = define(step("a", timeout=minutes(2)), step("b", timeout=minutes(4)), deadline=minutes(5))
    assert warnings(definition) == ["the timeouts of the stages sum to 0:06:00, the saga's deadline is 0:05:00"]


def test_pauses_longer_than_the_timeout_are_warned_of() -> None:
    """A retry budget outlasts the timeout."""
    patient = Retry(attempts=3, base=seconds(20))
    definition = define(step("a", retry=patient, timeout=seconds(30)))
    assert warnings(definition) == ["the pauses of the retries of a can last 0:00:50, its timeout is 0:00:30"]


def test_a_step_that_nothing_undoes_is_warned_of() -> None:
    """A failed saga leaves it as it is, and the search does not call that wrong."""
    assert warnings(define(step("a", compensation=None))) == ["nothing undoes a: a failed saga leaves it as it is"]


def test_an_oracle_gives_every_answer() -> None:
    """Also to questions that are asked only because of an earlier answer."""
    oracle = Oracle()

    def ask() -> tuple[str, ...]:
        if oracle.choose(("yes", "no")) == 0:
            oracle.choose(("red", "green", "blue"))
        return tuple(oracle.said)

    assert set(oracle.runs(ask)) == {("yes", "red"), ("yes", "green"), ("yes", "blue"), ("no",)}
