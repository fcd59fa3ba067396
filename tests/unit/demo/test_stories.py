"""The stories themselves: what they send is possible, and what they expect covers the issue's list."""

from __future__ import annotations

from coordinator.saga.definition import seconds
from coordinator.saga.model import Outcome, SagaStatus
from deploy.demo.definitions import definitions, order_fulfillment
from deploy.demo.stories import STEPS, excess_replies, order_stories, orders_of
from sagas.order_fulfillment import OrderInput
from sagas.order_fulfillment import order_fulfillment as shipped

STORIES = order_stories(3)


def test_every_order_fits_the_shipped_input() -> None:
    """No order is refused for its form: what is refused is refused by the participants' data."""
    for story in STORIES:
        for order in orders_of(story):
            OrderInput.model_validate(dict(order.input), strict=True)


def test_order_ids_are_unique() -> None:
    """Faults are aimed by order id, so no two orders share one."""
    ids = [order.id for story in STORIES for order in orders_of(story)]
    assert len(ids) == len(set(ids))


def test_there_is_a_refusal_at_each_step() -> None:
    """One story without faults is refused at each step index."""
    refused = [
        story.expected.outcomes.index("failed")
        for story in STORIES
        if not story.switches and "failed" in story.expected.outcomes
    ]
    assert sorted(refused) == list(range(len(STEPS)))


def test_expectations_use_the_dictionary() -> None:
    """Statuses and outcomes are words of the design, and undone steps are steps that may have been done."""
    for story in STORIES:
        expected = story.expected
        assert expected.status in set(SagaStatus)
        assert set(expected.outcomes) <= set(Outcome)
        assert set(expected.undone) <= set(expected.done)


def test_everything_that_was_done_is_undone_last_first() -> None:
    """A failed order's undone steps are its done steps in reverse."""
    for story in STORIES:
        if story.expected.status == "failed":
            assert story.expected.undone == tuple(reversed(story.expected.done))


def test_the_demos_definition_is_the_shipped_one_with_less_patience() -> None:
    """Only timeouts and budgets differ from OrderFulfillment version 1 as it ships."""
    assert definitions == (order_fulfillment,)
    assert (order_fulfillment.name, order_fulfillment.version) == (shipped.name, shipped.version)
    for ours, theirs in zip(order_fulfillment.steps, shipped.steps, strict=True):
        assert (ours.name, ours.participant) == (theirs.name, theirs.participant)
        assert (ours.action, ours.compensation, ours.result) == (theirs.action, theirs.compensation, theirs.result)
        assert ours.timeout <= seconds(3)


def test_a_stumbling_refund_stays_within_the_budget_and_a_stuck_one_uses_it_up() -> None:
    """Two failures must not park a saga; the parked one was asked for as often as the budget says, and once more."""
    budget = order_fulfillment.steps[1].compensation_retry.attempts
    for story in STORIES:
        times = [switch.times for switch in story.switches if switch.kind == "fail_undo"]
        if times == [None]:
            assert story.expected.parked
            assert story.expected.undo_attempts == {"process_payment": budget + 1}
        elif times:
            assert times[0] is not None
            assert times[0] < budget


def test_the_surplus_of_replies_is_counted() -> None:
    """Three copies of the replies of four participants are eight more than needed."""
    assert excess_replies(STORIES) == 8
