"""What a person reads when a definition has changed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from coordinator.saga.content import content_of
from coordinator.saga.definition import Retry, SagaDefinition, Step, minutes, seconds
from coordinator.saga.differences import LINES_MAX, differences
from sagas.order_fulfillment import OrderInput, ReserveItemsResult, order_fulfillment
from tests.unit.saga import contents

STEPS = order_fulfillment.steps
NAMES = [step.name for step in STEPS]
CONFIG = '{"config": {"extra": "ignore", "frozen": true, "strict": true}}'


def changed(position: int, **changes: Any) -> SagaDefinition:
    """Make the order saga with a changed step."""
    step = dataclasses.replace(STEPS[position], **changes)
    return dataclasses.replace(order_fulfillment, steps=(*STEPS[:position], step, *STEPS[position + 1 :]))


class Larger(OrderInput):
    """An order with a gift card."""

    gift: bool = False


Larger.__qualname__ = "OrderInput"

CASES = {
    "timeout": (changed(1, timeout=seconds(30)), ["step process_payment: timeout was 60000 ms, is 30000 ms"]),
    "budget": (
        changed(1, retry=Retry(attempts=5, base=seconds(1))),
        [
            "step process_payment: retry attempts was 3, is 5",
            "step process_payment: retry base was 500 ms, is 1000 ms",
        ],
    ),
    "message": (changed(0, action="Reserve"), ["step reserve_inventory: action was ReserveItems, is Reserve"]),
    "without": (
        changed(0, compensation=None),
        ["step reserve_inventory: compensation is gone, was ReleaseReservation"],
    ),
    "more": (
        changed(0, compensation_timeout=minutes(3)),
        ["step reserve_inventory: compensation_timeout is new: 180000 ms"],
    ),
    "renamed": (
        changed(3, name="say_so"),
        ["step send_confirmation is gone", "step say_so is new"],
    ),
    "order": (
        dataclasses.replace(order_fulfillment, steps=(STEPS[1], STEPS[0], *STEPS[2:])),
        [f"the order of the steps was {', '.join(NAMES)}, is {', '.join((NAMES[1], NAMES[0], *NAMES[2:]))}"],
    ),
    "key": (
        dataclasses.replace(order_fulfillment, business_key="customer_id"),
        ["business_key was order_id, is customer_id"],
    ),
    "input": (
        dataclasses.replace(order_fulfillment, input=Larger),
        ['input schema properties gift is new: {"default": false, "type": "boolean"}'],
    ),
    "result": (
        changed(3, result=ReserveItemsResult),
        [f"step send_confirmation: result checks SendOrderConfirmationResult is gone, was {CONFIG}"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_difference_is_a_sentence(case: str) -> None:
    """Each change of a definition is said in a line that names the step, what was and what is."""
    after, lines = CASES[case]
    found = differences(content_of(order_fulfillment).document, content_of(after).document)
    assert found[: len(lines)] == lines
    assert case == "result" or len(found) == len(lines)


def test_changed_code_is_named() -> None:
    """A change of a function is said in words, without its digest."""
    before, after = (content_of(contents.definition(contents.above(limit))).document for limit in (1, 2))
    assert differences(before, after) == ["the code of when of step pack has changed"]
    without = content_of(contents.definition()).document
    assert differences(without, after) == ["step pack: when is new: a function"]


def test_equal_contents_have_no_difference() -> None:
    """A content does not differ from itself."""
    document = content_of(order_fulfillment).document
    assert differences(document, document) == []


def test_a_long_list_is_cut() -> None:
    """A definition that has nothing in common with the old one does not fill the screen."""
    many = tuple(Step(f"step_{number}", "inventory", "Act", "Undo") for number in range(LINES_MAX + 10))
    after = dataclasses.replace(order_fulfillment, steps=many)
    found = differences(content_of(order_fulfillment).document, content_of(after).document)
    assert len(found) == LINES_MAX + 1
    assert found[-1] == f"and {len(STEPS) + len(many) - LINES_MAX} more differences"
