"""A definition that cannot work is refused when it is made, with the sentence that says why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from coordinator.errors import DefinitionError
from coordinator.saga.definition import Retry, SagaDefinition, Step, minutes, seconds


class Order(BaseModel):
    """An input with every kind of field that a business key could name."""

    order_id: str
    number: int
    note: str = ""


def define(**changes: Any) -> SagaDefinition:
    """Make a definition that works but for the changes."""
    good: dict[str, Any] = {
        "name": "Shop",
        "version": 1,
        "input": Order,
        "business_key": "order_id",
        "steps": (step(),),
    }
    return SagaDefinition(**good | changes)


def step(name: str = "pay", **changes: Any) -> Step:
    """Make a step that works but for the changes."""
    good: dict[str, Any] = {"participant": "payment", "action": "Pay", "compensation": "Refund"}
    return Step(name, **good | changes)


def one_step(**changes: Any) -> SagaDefinition:
    """Make a definition of one step that works but for the changes."""
    return define(steps=(step(**changes),))


async def later(_order: Any, _results: Any) -> bool:
    """Be a function whose answer nobody would wait for."""
    return False


NAME = "the name must be CamelCase letters and digits, at most 63"
VERSION = "the version must be a whole number from 1 to 32767"
STEP_NAME = "a step's name is lower-case letters, digits and underscores, at most 63"
EXPIRY = "the expiry must lie between the timeout and 30 days"
ATTEMPTS = "the attempts must be a whole number from 1 to 100"
PAUSES = "the pauses must satisfy 0 <= base <= cap"
DEADLINE = "the deadline must lie between one millisecond and 30 days"
FUNCTION = "must be a function of two arguments: the input and the results"
PLAIN = "must be a plain function: a definition waits for nothing"
GROUP = "a group's name is lower-case letters, digits and underscores, at most 63"
PROGRESS = "the longest progress must lie between the timeout and 30 days"
FACTOR = "the factor must lie between 1 and 100"
MONTH = timedelta(days=31)
OUTSIDE: dict[str, Any] = {"participant": "", "action": "", "compensation": None}


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        (NAME, {"name": "order-fulfillment"}),
        (NAME, {"name": "A" * 64}),
        (VERSION, {"version": 0}),
        (VERSION, {"version": 32_768}),
        (VERSION, {"version": True}),
        (VERSION, {"version": 1.5}),
        ("a saga needs at least one step", {"steps": ()}),
        ("a saga has at most 64 steps", {"steps": tuple(step(f"s{n}") for n in range(65))}),
        ("the step name 'pay' is used twice", {"steps": (step(), step())}),
        ("the input must be a pydantic model", {"input": dict}),
        ("the business key 'nonsense' is no field of Order", {"business_key": "nonsense"}),
        ("the business key 'number' must be a required text field of Order", {"business_key": "number"}),
        ("the business key 'note' must be a required text field of Order", {"business_key": "note"}),
        (DEADLINE, {"deadline": timedelta(0)}),
        (DEADLINE, {"deadline": MONTH}),
        ("recovery: the attempts must be a whole number from 0 to 100", {"recovery": Retry(attempts=-1)}),
        (f"recovery: {PAUSES}", {"recovery": Retry(cap=MONTH)}),
        (f"recovery: {FACTOR}", {"recovery": Retry(factor=101)}),
    ],
)
def test_a_saga_that_cannot_work_is_refused(sentence: str, changes: dict[str, Any]) -> None:
    """The refusal names the definition, its version and the mistake."""
    with pytest.raises(DefinitionError) as refusal:
        define(**changes)
    name, version = changes.get("name", "Shop"), changes.get("version", 1)
    assert str(refusal.value) == f"{name} version {version}: {sentence}"


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        (STEP_NAME, {"name": "Pay"}),
        (STEP_NAME, {"name": "pay:now"}),
        (STEP_NAME, {"name": "p" * 64}),
        (
            "'Payment' is no participant's name: lower-case letters, digits and hyphens",
            {"participant": "Payment"},
        ),
        ("'pay' is no command's name: CamelCase letters and digits", {"action": "pay"}),
        ("'re-fund' is no command's name: CamelCase letters and digits", {"compensation": "re-fund"}),
        ("the compensation cannot be the action itself", {"compensation": "Pay"}),
        ("the result must be a pydantic model or None", {"result": dict}),
        ("the timeout must lie between one millisecond and 30 days", {"timeout": timedelta(0)}),
        ("the timeout must lie between one millisecond and 30 days", {"timeout": MONTH, "expiry": MONTH}),
        (
            "the compensation timeout must lie between one millisecond and 30 days",
            {"compensation_timeout": MONTH},
        ),
        (EXPIRY, {"timeout": minutes(2), "expiry": minutes(1)}),
        (EXPIRY, {"expiry": MONTH}),
        (f"retry: {ATTEMPTS}", {"retry": Retry(attempts=0)}),
        (f"retry: {ATTEMPTS}", {"retry": Retry(attempts=101)}),
        (f"retry: {ATTEMPTS}", {"retry": Retry(attempts=True)}),
        (f"retry: {ATTEMPTS}", {"retry": Retry(attempts=2.5)}),  # type: ignore[arg-type]
        (f"retry: {PAUSES}", {"retry": Retry(base=seconds(-1))}),
        (f"retry: {PAUSES}", {"retry": Retry(base=seconds(2), cap=seconds(1))}),
        (f"retry: {FACTOR}", {"retry": Retry(factor=0.5)}),
        (f"retry: {FACTOR}", {"retry": Retry(factor=float("nan"))}),
        (f"compensation retry: {ATTEMPTS}", {"compensation_retry": Retry(attempts=0)}),
        (f"compensation retry: {PAUSES}", {"compensation_retry": Retry(cap=MONTH)}),
        (f"compensation retry: {FACTOR}", {"compensation_retry": Retry(factor=0)}),
        (GROUP, {"group": "Bookings"}),
        (GROUP, {"group": ""}),
        (f"when {FUNCTION}", {"when": lambda _order: True}),
        (f"when {FUNCTION}", {"when": lambda _order, _results, _more: True}),
        (f"when {FUNCTION}", {"when": "input.note"}),
        (f"payload {FUNCTION}", {"payload": dict}),
        (f"payload {FUNCTION}", {"payload": lambda *, _order, _results: {}}),
        (f"when {PLAIN}", {"when": later}),
        (f"payload {PLAIN}", {"payload": later}),
        ("the payload must be paths by field or a function", {"payload": "input.note"}),
        ("the payload must be paths by field or a function", {"payload": ["input.note"]}),
        ("the kind must be one of Kind", {"kind": "pivot"}),
        (PROGRESS, {"timeout": minutes(2), "progress_max": minutes(1)}),
        (PROGRESS, {"progress_max": MONTH}),
        ("a step with a participant needs an action", {"action": "", "compensation": None}),
        ("an external step sends nothing, so there is no compensation", {"participant": "", "action": ""}),
        (
            "an external step sends nothing, so it has neither payload nor progress",
            {**OUTSIDE, "payload": {"note": "input.note"}},
        ),
        (
            "an external step sends nothing, so it has neither payload nor progress",
            {**OUTSIDE, "progress_max": minutes(2)},
        ),
    ],
)
def test_a_step_that_cannot_work_is_refused(sentence: str, changes: dict[str, Any]) -> None:
    """The refusal names the step as well."""
    with pytest.raises(DefinitionError) as refusal:
        one_step(**changes)
    assert str(refusal.value) == f"Shop version 1: step {changes.get('name', 'pay')!r}: {sentence}"


def test_a_definition_says_where_its_steps_are_and_whose() -> None:
    """Steps are found by name, and participants are listed once, in order of first use."""
    definition = define(steps=(step("a"), step("b", participant="stock"), step("c")))
    assert definition.index == {"a": 0, "b": 1, "c": 2}
    assert definition.participants == ("payment", "stock")


def test_a_compensation_has_the_timeout_of_its_action_unless_it_says_otherwise() -> None:
    """Lengths of time are milliseconds inside."""
    assert step(timeout=minutes(1)).compensation_timeout_ms == 60_000
    assert step(compensation_timeout=seconds(1.5)).compensation_timeout_ms == 1_500
    assert step(expiry=minutes(2)).expiry_ms == 120_000


def test_pauses_double_up_to_their_cap_and_are_drawn_evenly_below_it() -> None:
    """Full jitter: the pause lies between nothing and the ceiling of the attempt."""
    retry = Retry(attempts=100, base=seconds(1), factor=2, cap=seconds(5))
    assert [retry.pause_ms(used, 1.0) for used in (1, 2, 3, 4, 99)] == [1_000, 2_000, 4_000, 5_000, 5_000]
    assert retry.pause_ms(2, 0.0) == 0
    assert retry.pause_ms(2, 0.25) == 500
