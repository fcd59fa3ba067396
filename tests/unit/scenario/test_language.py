"""The language of scenarios: what can be said, what cannot, and that a mistake is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

import coordinator.scenario
from coordinator.saga.effects import IssueCommand
from coordinator.scenario.parser import OPTIONS, ScenarioError, parse
from coordinator.scenario.player import play
from coordinator.scenario.words import read_length, write_length
from tests.scenarios.definitions import definitions

ROOT = Path(__file__).parents[3]
BEGIN = "begin OrderFulfillment ..."


def problem(*lines: str) -> str:
    """Play lines that cannot be played; answers the complaint."""
    with pytest.raises(ScenarioError) as found:
        play("\n".join(lines), definitions)
    return str(found.value)


def answers(*lines: str) -> list[str]:
    """Play lines; answers what follows from the last of them."""
    text, _ = play("\n".join(lines), definitions)
    told = text.splitlines()
    return [line.strip() for line in told[told.index(lines[-1]) + 1 :]]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["jump"], "line 1: a scenario cannot say 'jump'; it can say given, begin,"),
        (["begin Nothing"], "line 1: there is no definition Nothing; known are BankTransfer, OrderFulfillment,"),
        (["reply reserve_inventory completed"], "line 1: the saga has not begun: `begin NAME` comes first"),
        (["# A comment counts as a line.", BEGIN, "reply make_tea completed"], "line 3: OrderFulfillment has no step"),
        ([BEGIN, "reply reserve_inventory done"], "line 2: 'done' is no reply"),
        (
            [BEGIN, "reply reserve_inventory failed sometimes"],
            "line 2: 'reply reserve_inventory failed sometimes' is no",
        ),
        ([BEGIN, "reply reserve_inventory completed attemps=2"], "line 2: reply takes no attemps="),
        ([BEGIN, "reply reserve_inventory completed attempt=two"], "line 2: attempt=two is no whole number"),
        ([BEGIN, "reply reserve_inventory completed {1}"], "line 2: {1} is no JSON object"),
        ([BEGIN, "suspend"], "line 2: suspend needs by="),
        ([BEGIN, "wait a while"], "line 2: 'a while' is no length of time like 1m30s"),
        ([BEGIN, 'reply reserve_inventory completed problem="open'], "line 2: No closing quotation"),
        ([BEGIN, BEGIN], "line 2: 'begin OrderFulfillment ...' is no sentence of a scenario"),
        (["begin OrderFulfillment steps=0"], "line 1: OrderFulfillment version 1: a saga needs at least one step"),
        (["begin OrderFulfillment deadline=soon"], "line 1: deadline=soon is no length of time like 1m30s"),
        (['begin Trip input={"booking_id": 1}'], "line 1: input/booking_id: Input should be a valid string"),
        ([BEGIN, "reply reserve_inventory failed ...", "wait"], "line 3: nothing is awaited: say how long to wait"),
    ],
)
def test_a_line_that_makes_no_sense_is_named_with_what_is_wrong(lines: list[str], complaint: str) -> None:
    """A mistake in a scenario is told with its line and a sentence, and is never taken for something else."""
    assert problem(*lines).startswith(complaint)


def test_what_follows_is_not_read_but_written() -> None:
    """Answers that are written below a line play no part: the machine's own stand there afterwards."""
    text, _ = play("begin OrderFulfillment\n    completed\n    all is well\n", definitions)
    assert text == "begin OrderFulfillment\n    started\n    send ReserveItems to inventory, attempt 1\n"


def test_an_untold_answer_is_left_out() -> None:
    """A line that ends in ` ...` is played, and its answer is not shown."""
    text, player = play(f"{BEGIN}\nreply reserve_inventory completed ...\n", definitions)
    assert text == f"{BEGIN}\nreply reserve_inventory completed ...\n"
    assert player.saga.version == 2


def test_a_written_result_is_checked_and_a_missing_one_is_taken_for_good() -> None:
    """A result in a file must fit the step's model, as in the world; where none is written it is taken to fit."""
    assert "incident result_schema" in answers(BEGIN, 'reply reserve_inventory completed {"id": 1}')[-1]
    assert answers(BEGIN, "reply reserve_inventory completed")[0] == "applied: started -> pending"


def test_the_manual_says_what_can_be_said() -> None:
    """docs/scenarios.md has the language as the code has it, and both name each verb."""
    said = (coordinator.scenario.__doc__ or "").split("What can be said:\n\n")[1].split("\n\n")[0]
    assert said in (ROOT / "docs" / "scenarios.md").read_text()
    assert [verb for verb in OPTIONS if verb not in said] == []


def test_each_verb_of_the_language_is_understood() -> None:
    """No verb is listed that a scenario cannot say."""
    said = {line.verb for line in parse("\n".join(EVERYTHING)) if line.verb}
    assert said == OPTIONS.keys()
    play("\n".join(EVERYTHING), definitions)


EVERYTHING = (
    "# Every verb once.",
    'given input {"party_id": "p-1", "guests": ["ann"], "food": true, "mail": true, "thanks": true}',
    "held mail",
    "begin PartyPlanning",
    "reply order_food completed",
    "timer deadline order_food action attempt=1",
    "released mail",
    "wait",
    "suspend by=anna",
    "resume by=anna",
    "reply send_mail failed",
    "skip send_mail by=anna",
    "retry by=anna",
    "compensate by=anna",
    "resolve send_mail completed by=anna",
    "outside thanks fails by=bert",
    "abandon by=anna",
    "show",
)


@pytest.mark.parametrize(
    ("text", "length_ms"), [("250ms", 250), ("1m30s", 90_000), ("1d2h", 93_600_000), ("2h", 7_200_000), ("0s", 0)]
)
def test_lengths_of_time_are_written_as_they_are_read(text: str, length_ms: int) -> None:
    """A length of time reads the same after it was understood."""
    assert read_length(text) == length_ms
    assert write_length(length_ms) == text


@pytest.mark.parametrize("text", ["", "soon", "5", "1m 30s", "-1s", "1y"])
def test_anything_else_is_no_length_of_time(text: str) -> None:
    """What is no length of time is not guessed at."""
    assert read_length(text) is None


def test_a_wait_fires_timers_in_the_order_of_their_moments() -> None:
    """Timers that come due in one wait happen one after the other, each at its own moment."""
    _, player = play(f"{BEGIN}\nwait 3m\n", definitions)
    moments = [happened.after.steps[0].deadline_ms for happened in player.history]
    assert moments == [120_250, 240_250]
    assert isinstance(player.begun.effects[0], IssueCommand)
