"""The stories themselves: what they send is possible, and what they expect covers what can happen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import BaseModel

from coordinator.saga.definition import SagaDefinition, seconds
from coordinator.saga.model import Outcome, SagaStatus
from deploy.demo import definitions
from deploy.demo.families import FAMILIES
from deploy.demo.stories import bank, choreography, order, travel
from deploy.demo.stories.model import UNKNOWN, Family, excess_replies
from sagas import choreographies as shipped_choreographies
from sagas import definitions as shipped_definitions
from sagas.order_fulfillment import OrderInput

STORIES = [(family, story) for family in FAMILIES for story in family.stories(3)]
HURRIED = {definition.name: definition for definition in definitions.definitions}
SHIPPED = {definition.name: definition for definition in shipped_definitions}

INPUTS: dict[str, type[BaseModel]] = {"OrderChoreography": OrderInput}
INPUTS |= {name: definition.input for name, definition in SHIPPED.items()}

families = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def test_every_request_fits_the_shipped_input() -> None:
    """Nothing is refused for its form: what is refused is refused by the participants' data."""
    for family, story in STORIES:
        for request in family.requests(story):
            INPUTS[family.definition].model_validate_json(json.dumps(request.input), strict=True)
            assert request.input[family.key] == request.key


def test_names_and_keys_are_unique() -> None:
    """A story is asked for by its name, a fault aimed by business key: no two share one, whatever their family."""
    names = [story.name for _, story in STORIES]
    keys = [request.key for family, story in STORIES for request in family.requests(story)]
    assert len(names) == len({*names, *(family.name for family in FAMILIES), "all"}) - len(FAMILIES) - 1
    assert len(keys) == len(set(keys))


@families
def test_there_is_a_refusal_at_each_step_that_can_be_refused(family: Family) -> None:
    """For each step up to the pivot one story, without faults, is refused there."""
    refused = {
        family.outcomes(story.expected).index("failed")
        for story in family.stories(1)
        if not story.switches and "failed" in story.expected.outcomes.values()
    }
    wanted = {
        "order": set(range(len(order.STEPS))),
        "bank": {0, 1, 2},
        "travel": {2, 3, 4},
        "choreography": {1, 2, 3},
    }
    assert refused == wanted[family.name]


def test_expectations_use_the_dictionary() -> None:
    """Statuses, outcomes and steps are words that there are, and undone steps are steps that may have been done."""
    for family, story in STORIES:
        expected = story.expected
        assert expected.status in set(SagaStatus)
        assert set(expected.outcomes.values()) <= set(Outcome)
        assert set(expected.undone) <= set(family.done(expected))
        named = {
            *expected.outcomes,
            *expected.attempts,
            *expected.undo_attempts,
            *expected.overtaken,
            *expected.letters,
        }
        assert named <= set(family.steps)


def test_everything_that_was_done_is_undone_last_first() -> None:
    """The undone steps of a saga that failed are its done steps in reverse, and a completed one has none."""
    for family, story in STORIES:
        backward = tuple(reversed(family.done(story.expected)))
        assert story.expected.undone == (backward if story.expected.status == "failed" else ())


@families
def test_every_effect_has_a_line_and_every_request_an_amount(family: Family) -> None:
    """No step that leaves something in a table is left out of the books."""
    if (definition := HURRIED.get(family.definition)) is not None:
        assert tuple(family.lines) == tuple(step.name for step in definition.steps if not step.external)
    assert set(family.commands.values()) == set(family.lines)
    assert set(family.columns.values()) <= set(family.steps)
    for request in family.requests(family.stories(2)[0]):
        assert request.amounts.keys() == family.lines.keys()
        assert all(request.amounts.values())


@pytest.mark.parametrize("name", SHIPPED)
def test_the_demos_definitions_are_the_shipped_ones_with_less_patience(name: str) -> None:
    """Only timeouts and budgets differ from what ships, and an external step waits no longer than a person watches."""
    ours, theirs = HURRIED[name], SHIPPED[name]
    same = tuple(
        replace(mine, timeout=step.timeout, retry=step.retry, compensation_retry=step.compensation_retry)
        for mine, step in zip(ours.steps, theirs.steps, strict=True)
    )
    assert replace(ours, steps=same, recovery=theirs.recovery) == theirs
    assert all(step.timeout <= seconds(5) for step in ours.steps)


@families
def test_a_family_can_be_run_by_itself(family: Family) -> None:
    """The module of definitions has a tuple by the family's name; its participants are those of its definitions."""
    own: tuple[SagaDefinition, ...] = getattr(definitions, family.name)
    watched = [each.name for each in definitions.choreographies]
    assert family.definition in [*(definition.name for definition in own), *watched]
    assert family.participants == own[0].participants


def test_the_demos_choreography_is_the_shipped_one_with_less_patience() -> None:
    """Only how long the next event may take differs, and only where the demo lets one be missed."""
    [ours], [theirs] = definitions.choreographies, shipped_choreographies
    hurried = [event.type for event, shipped in zip(ours.events, theirs.events, strict=True) if event != shipped]
    assert hurried == [choreography.RESERVED]
    same = tuple(replace(mine, within=event.within) for mine, event in zip(ours.events, theirs.events, strict=True))
    assert replace(ours, events=same) == theirs


def test_a_stumbling_step_stays_within_the_budget_and_a_stuck_one_uses_it_up() -> None:
    """Failures that end must not park a saga; a parked one was asked for as often as the budget says, and again."""
    refund = HURRIED["OrderFulfillment"].steps[1].compensation_retry.attempts
    notice = HURRIED["BankTransfer"].steps[3].retry.attempts
    stories = {story.name: story for _, story in STORIES}
    assert (stories["refund stumbles"].switches[0].times or refund) < refund
    assert stories["refund stuck"].expected.undo_attempts == {order.PAY: refund + 1}
    assert stories["notice bounces"].switches[0].times == notice
    assert stories["mailbox full"].expected.attempts == {bank.NOTICE: notice + 2}
    for _, story in STORIES:
        endless = any(switch.kind in {"fail_undo", "retry"} and switch.times is None for switch in story.switches)
        missed = any(switch.kind == "drop" for switch in story.switches)
        assert (story.expected.parked is not None) == (endless or missed or story.away is not None)
        assert story.away is None or story.requests == 1


def test_the_slow_hotel_is_within_its_timeout() -> None:
    """It is waited for, not asked again: what the story shows is that the others were asked meanwhile."""
    assert seconds(travel.SLOW_S) < HURRIED["TravelBooking"].steps[0].timeout


def test_only_dear_trips_wait_for_somebody() -> None:
    """Trips above the shipped limit are approved, refused or left alone; the others are not asked about."""
    for family, story in STORIES:
        if family is travel.travel:
            [request, *_] = family.requests(story)
            bookings = request.amounts[travel.PAY]
            asked = story.expected.outcomes.get(travel.APPROVAL) not in {"skipped", None}
            assert asked == (bookings > 200_000)
            assert (story.answer is not None) == (asked and story.expected.outcomes[travel.APPROVAL] != UNKNOWN)


def test_the_surplus_of_replies_is_counted() -> None:
    """Three copies of the replies of four participants are eight more than needed."""
    assert excess_replies([story for _, story in STORIES]) == 8
