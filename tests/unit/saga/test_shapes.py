"""Steps that cannot stand where they are, and paths that lead nowhere, are refused with the sentence that says why."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from coordinator.errors import DefinitionError
from coordinator.saga.definition import SagaDefinition, Step, external, minutes, parallel
from coordinator.saga.model import Kind


class Address(BaseModel):
    """Something to go into."""

    city: str


class Trip(BaseModel):
    """An input with everything that a path can meet."""

    trip_id: str
    to: Address
    via: Address | None = None
    either: Address | int = 0
    tags: dict[str, str] = {}


class Room(BaseModel):
    """A result."""

    price: int
    hotel: Address


def step(name: str, **changes: Any) -> Step:
    """Make a step that works but for the changes."""
    return Step(name, **{"participant": "hotel", "action": "Book"} | changes)


def define(*steps: Step) -> SagaDefinition:
    return SagaDefinition("Trip", version=1, input=Trip, business_key="trip_id", steps=steps)


def refusal(*steps: Step) -> str:
    """Say why a definition of these steps is refused."""
    with pytest.raises(DefinitionError) as refused:
        define(*steps)
    return str(refused.value).removeprefix("Trip version 1: ")


PIVOT = step("pay", kind=Kind.PIVOT)
ROOM = step("room", result=Room)


@pytest.mark.parametrize(
    ("sentence", "steps"),
    [
        (
            "the steps of group 'both' must stand next to each other",
            (*parallel("both", step("a")), step("b"), *parallel("both", step("c"))),
        ),
        ("a saga has one pivot at most", (PIVOT, step("again", kind=Kind.PIVOT))),
        (
            "step 'pay': the pivot is the point of no return: no compensation",
            (step("pay", kind=Kind.PIVOT, compensation="Refund"),),
        ),
        ("step 'pay': the pivot stands alone, not in a group", parallel("both", PIVOT)),
        ("step 'yes': the pivot needs a command of its own", (external("yes", timeout=minutes(1), kind=Kind.PIVOT),)),
        ("step 'tell': a retriable step stands behind the pivot", (step("tell", kind=Kind.RETRIABLE),)),
        ("step 'tell': a retriable step stands behind the pivot", (step("tell", kind=Kind.RETRIABLE), PIVOT)),
        (
            "step 'tell': behind the pivot nothing is undone: no compensation",
            (PIVOT, step("tell", kind=Kind.RETRIABLE, compensation="Untell")),
        ),
        ("step 'tell': behind the pivot every step is retriable", (PIVOT, step("tell"))),
    ],
)
def test_a_step_in_the_wrong_place_is_refused(sentence: str, steps: tuple[Step, ...]) -> None:
    """What can be undone, then one point of no return, then what is tried until it works; groups hold together."""
    assert refusal(*steps) == sentence


@pytest.mark.parametrize(
    ("sentence", "path"),
    [
        ("a path is text, for example 'input.city'", 7),
        ("'input' names no field", "input"),
        ("'room' names no field", "room"),
        ("'inputs.to' begins with neither 'input' nor a step's name", "inputs.to"),
        ("the result of 'later' is not there before this step", "later.price"),
        ("the result of 'pay' is not there before this step", "pay.price"),
        ("step 'maybe' may be left out, and then 'maybe.price' is nothing: use a function", "maybe.price"),
        ("step 'silent' declares no result, so nothing promises 'silent.price'", "silent.price"),
        ("'input.from': Trip has no field 'from'", "input.from"),
        ("'input.to.street': Address has no field 'street'", "input.to.street"),
        ("'room.hotel.zip': Address has no field 'zip'", "room.hotel.zip"),
        ("'input.trip_id.length': no 'length' in there", "input.trip_id.length"),
        ("'input.tags.colour': no 'colour' in there", "input.tags.colour"),
        ("'input.either.city': nothing promises what is in 'either'", "input.either.city"),
        ("'input.': Trip has no field ''", "input."),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(sentence: str, path: Any) -> None:
    """Paths are checked against the models before the first run, and the refusal names step, field and path."""
    before = (ROOM, step("silent"), step("maybe", result=Room, when=lambda _trip, _results: True))
    pay = step("pay", payload={"deep": {"field": path}}, result=Room)
    assert refusal(*before, pay, step("later", result=Room)) == f"step 'pay': payload field 'deep.field': {sentence}"


def test_steps_that_wait_for_each_other_are_refused() -> None:
    """Two steps of a group each of which carries the other's result could never begin."""
    one = step("one", result=Room, payload={"price": "other.price"})
    other = step("other", result=Room, payload={"price": "one.price"})
    assert refusal(*parallel("both", one, other)) == (
        "step 'one': payload field 'price': steps 'one' and 'other' need each other's results"
    )


def test_a_group_of_none_is_refused() -> None:
    """A group without steps says nothing."""
    with pytest.raises(DefinitionError, match=r"^the group 'both' has no steps$"):
        parallel("both")


def test_paths_that_lead_somewhere_are_taken() -> None:
    """Whole objects, parts of them, and fields of what may be absent: the saga's run says whether it is."""
    paths = {"whole": "input.to", "part": "input.to.city", "maybe": "input.via.city", "of": {"room": "room.hotel.city"}}
    assert define(ROOM, step("pay", payload=paths)).steps[1].payload == paths


def test_stages_are_groups_and_single_steps_in_order() -> None:
    """Neighbours of one group are one stage; groups side by side stay apart."""
    steps = (step("a"), *parallel("x", step("b"), step("c")), *parallel("y", step("d")), PIVOT)
    definition = define(*steps)
    assert definition.stages == ((0,), (1, 2), (3,), (4,))
    assert (definition.stage_of, definition.pivot) == ((0, 1, 1, 2, 3), 4)
