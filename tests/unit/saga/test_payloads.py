"""What commands carry: made from the input and the results, or a sentence that says what is missing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict, Field

from coordinator.saga.definition import SagaDefinition, Step
from coordinator.saga.model import Outcome, StepState
from coordinator.saga.payloads import PAYLOAD_BYTES_MAX, Broken, LacksField, Material, payload_of, wants


class Line(BaseModel):
    """One line of an order."""

    sku: str
    count: int = 1


class Order(BaseModel):
    """An input with values of every shape."""

    model_config = ConfigDict(strict=True)

    order_id: str
    line: Line
    lines: list[Line] = []
    shelves: dict[str, list[Line]] = {}
    gift: Line | None = None
    price: Decimal = Decimal("1.50")
    at: datetime = datetime(2026, 1, 31, tzinfo=UTC)


class Room(BaseModel):
    """A result whose JSON calls its field otherwise than Python."""

    price_cents: int = Field(alias="priceCents")


GIVEN: dict[str, Any] = {
    "order_id": "o-1",
    "line": {"sku": "a"},
    "lines": [{"sku": "b", "count": 2}],
    "shelves": {"left": [{"sku": "c"}]},
}
LINES = [{"sku": "b", "count": 2}]


def material(results: dict[str, Any] | None = None, given: dict[str, Any] | None = None) -> Material:
    """Make what payloads are made of: an order, the room's result, and that of a step without a model."""
    steps = (
        Step("room", participant="hotel", action="Book", result=Room),
        Step("note", participant="desk", action="Write"),
        Step("pay", participant="bank", action="Pay"),
    )
    definition = SagaDefinition("Shop", version=1, input=Order, business_key="order_id", steps=steps)
    states = tuple(_state(step.name, results or {}) for step in steps)
    raw = json.dumps(GIVEN if given is None else given).encode()
    return Material(definition, raw, states)


def _state(name: str, results: dict[str, Any]) -> StepState:
    if name not in results:
        return StepState()
    return StepState(outcome=Outcome.COMPLETED, result=msgspec.Raw(json.dumps(results[name]).encode()))


def carried(payload: Any, made_of: Material | None = None) -> Any:
    """Work out the payload of the step `pay`."""
    raw = payload_of(Step("pay", participant="bank", action="Pay", payload=payload), made_of or material())
    return None if raw is None else json.loads(raw)


def test_without_a_payload_the_input_is_carried() -> None:
    """None stands for the saga's input, which is not written twice."""
    assert carried(None) is None


def test_paths_are_followed_through_models_into_nested_objects() -> None:
    """A mapping in a mapping is an object in an object; a whole model is written as JSON."""
    paths = {
        "id": "input.order_id",
        "first": {"what": "input.line.sku", "all": "input.line"},
        "cost": "room.price_cents",
    }
    assert carried(paths, material({"room": {"priceCents": 7}})) == {
        "id": "o-1",
        "first": {"what": "a", "all": {"sku": "a", "count": 1}},
        "cost": 7,
    }


def test_lists_and_maps_of_models_and_other_values_are_written_as_json() -> None:
    """What a path leads to may hold models at any depth, moments and decimals."""
    paths = {
        "list": "input.lines",
        "map": "input.shelves",
        "price": "input.price",
        "at": "input.at",
        "no": "input.gift",
    }
    assert carried(paths) == {
        "list": LINES,
        "map": {"left": [{"sku": "c", "count": 1}]},
        "price": "1.50",
        "at": "2026-01-31T00:00:00Z",
        "no": None,
    }


def test_a_function_gets_the_input_as_its_model_and_the_results() -> None:
    """Results are models where the step declares one, plain objects otherwise; the function may ask what there is."""

    def made(order: Order, results: Any) -> dict[str, Any]:
        return {
            "sku": order.line.sku,
            "cost": results["room"].price_cents,
            "by": results["note"]["by"],
            "steps": list(results),
            "count": len(results),
            "paid": "pay" in results,
        }

    found = carried(made, material({"room": {"priceCents": 7}, "note": {"by": "Jo"}}))
    assert found == {"sku": "a", "cost": 7, "by": "Jo", "steps": ["room", "note"], "count": 2, "paid": False}


def test_a_function_may_return_a_model_or_models_inside_an_object() -> None:
    """Models are written by their fields' names, however deep they stand."""
    assert carried(lambda order, _results: order.line) == {"sku": "a", "count": 1}
    assert carried(lambda order, _results: {"lines": order.lines}) == {"lines": LINES}
    room = Room(priceCents=3)
    assert carried(lambda _order, _results: room) == {"price_cents": 3}
    assert carried(lambda _order, _results: {"room": room}) == {"room": {"price_cents": 3}}


def _round() -> list[Any]:
    """Make a list that holds itself."""
    made: list[Any] = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    ("sentence", "payload", "results", "given"),
    [
        ("room: this step has no result", {"cost": "room.price_cents"}, {}, GIVEN),
        ("room/priceCents: Field required", {"cost": "room.price_cents"}, {"room": {}}, GIVEN),
        ("input/line: Field required", {"sku": "input.line.sku"}, {}, {"order_id": "o-1"}),
        ("input.gift.sku: sku is missing", {"sku": "input.gift.sku"}, {}, GIVEN),
        ("nothing: this step has no result", lambda _order, results: results["nothing"], {}, GIVEN),
        ("payload of pay: sku: Field required", lambda _order, _results: Line.model_validate({}), {}, GIVEN),
    ],
)
def test_what_is_missing_is_named(sentence: str, payload: Any, results: dict[str, Any], given: dict[str, Any]) -> None:
    """The text is what a person at night reads first: which step's result, or which field."""
    with pytest.raises(LacksField) as lacking:
        carried(payload, material(results, given))
    assert str(lacking.value) == sentence


@pytest.mark.parametrize(
    ("sentence", "payload"),
    [
        ("payload of pay: KeyError('Ghent')", lambda order, _results: {"share": order.shelves["Ghent"]}),
        ("payload of pay: an object is wanted, not list", lambda _order, _results: [1]),
        ("payload of pay: an object is wanted, not NoneType", lambda _order, _results: None),
        (
            f"payload of pay: {PAYLOAD_BYTES_MAX + 1} bytes as JSON; the limit is {PAYLOAD_BYTES_MAX}",
            lambda _order, _results: {"a": "x" * (PAYLOAD_BYTES_MAX + 1 - len('{"a":""}'))},
        ),
    ],
)
def test_a_broken_function_is_told_from_a_missing_field(sentence: str, payload: Any) -> None:
    """It is the definition's mistake, not the participant's."""
    with pytest.raises(Broken) as broken:
        carried(payload)
    assert str(broken.value) == sentence


@pytest.mark.parametrize(
    "value",
    [object(), float("nan"), [float("inf")], "\ud800", _round(), 2**63, [-(2**63) - 1], "a\0b", {"\0": 1}],
    ids=lambda one: str(type(one)),
)
def test_what_is_no_json_is_the_function_s_mistake(value: Any) -> None:
    """An object of the program's own, a number or text that JSON lacks, an object in itself: nothing is sent."""
    with pytest.raises(Broken, match=r"^payload of pay: "):
        carried(lambda _order, _results: {"a": value})


def test_a_payload_of_exactly_the_limit_is_taken() -> None:
    """The limit itself is allowed."""
    assert carried(lambda _order, _results: {"a": "x" * (PAYLOAD_BYTES_MAX - len('{"a":""}'))})


def test_a_condition_is_asked_and_its_answer_is_plain() -> None:
    """No condition means yes; whatever a condition returns counts as yes or no."""
    assert wants(Step("pay", participant="bank", action="Pay"), material())
    for answer, wanted in ((True, True), (0, False), ("", False), ([1], True)):
        assert wants(_asking(answer), material()) is wanted


def _asking(answer: Any) -> Step:
    return Step("pay", participant="bank", action="Pay", when=lambda _order, _results: answer)


def test_a_condition_that_breaks_is_named_as_such() -> None:
    """The text says that it was the condition, and of which step."""
    step = Step("pay", participant="bank", action="Pay", when=lambda order, _results: order.colour == "red")
    with pytest.raises(Broken, match=r"^when of pay: AttributeError\(.*colour"):
        wants(step, material())
