"""Schemas and examples of unusual models: what cannot be known is left out, never guessed wrongly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import BaseModel, Field

from coordinator.describe.asyncapi import asyncapi
from coordinator.describe.document import document
from coordinator.describe.examples import REF, NoExample, example
from coordinator.engine.topology import Topology
from coordinator.errors import DefinitionError
from coordinator.saga.definition import SagaDefinition
from tests.unit.describe.holiday import parcels

if TYPE_CHECKING:
    from fractions import Fraction

TOPOLOGY = Topology("saga.", {})


class Colour(StrEnum):
    """A choice."""

    RED = "red"


class Cat(BaseModel):
    """One of two."""

    kind: Literal["cat"]


class Dog(BaseModel):
    """The other."""

    kind: Literal["dog"]


class Everything(BaseModel):
    """A model with a field of each sort."""

    parcel_id: Annotated[str, Field(min_length=6, max_length=8)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
    short: Annotated[str, Field(max_length=2)]
    above: Annotated[int, Field(gt=3)]
    below: Annotated[int, Field(lt=-3)]
    most: Annotated[float, Field(le=0.5)]
    least: Annotated[float, Field(ge=0.5)]
    yes: bool
    day: date
    colour: Colour
    pair: tuple[int, str]
    many: Annotated[list[Cat], Field(min_length=2)]
    table: dict[str, int]
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    maybe: int | None
    anything: Any


class Chain(BaseModel):
    """A model that holds itself."""

    parcel_id: str
    next: Chain


class Coded(BaseModel):
    """A model with a pattern and no example."""

    parcel_id: Annotated[str, Field(pattern="^XY-[0-9]{7}$")]


class Callback(BaseModel):
    """A model that JSON Schema cannot say."""

    parcel_id: str
    call: Callable[[], None]


def of_input(model: type[BaseModel]) -> SagaDefinition:
    return replace(parcels[0], input=model)


def made(model: type[BaseModel]) -> Any:
    whole = model.model_json_schema(ref_template=REF + "{model}")
    return example(whole, whole.get("$defs", {}))


def test_an_example_fits_whatever_a_model_asks_for() -> None:
    """Limits, choices, formats, pairs, lists and nested models: the model itself takes the example."""
    value = made(Everything)
    assert Everything.model_validate(value)
    assert Draft202012Validator(Everything.model_json_schema()).is_valid(value)


@pytest.mark.parametrize("model", [Coded, Chain])
def test_where_nothing_can_be_guessed_there_is_no_example(model: type[BaseModel]) -> None:
    """The message is described all the same."""
    with pytest.raises(NoExample):
        made(model)
    message = asyncapi([of_input(model)], TOPOLOGY)["components"]["messages"]["carrier.Ship"]
    assert "examples" not in message
    assert message["payload"]


def test_a_discriminator_is_left_out() -> None:
    """OpenAPI's object of that name is none in AsyncAPI; the choice itself stays."""
    schemas = asyncapi([of_input(Everything)], TOPOLOGY)["components"]["schemas"]
    assert schemas["Everything"]["properties"]["pet"]["oneOf"] == [{"$ref": f"{REF}Cat"}, {"$ref": f"{REF}Dog"}]
    assert "discriminator" not in schemas["Everything"]["properties"]["pet"]


def test_a_model_without_a_schema_is_named_in_a_sentence() -> None:
    """Whoever asks for the document learns why there is none."""
    sentence = r"^a model cannot be written as JSON Schema: .*Callable"
    with pytest.raises(DefinitionError, match=sentence):
        asyncapi([of_input(Callback)], TOPOLOGY)
    with pytest.raises(DefinitionError, match=sentence):
        document(of_input(Callback))


def test_a_function_whose_answer_cannot_be_known_makes_any_object() -> None:
    """Names that exist for a type checker only, and answers that are no models, are no mistake."""

    def unreadable(order: Any, results: Any) -> Fraction:
        raise NotImplementedError

    def plain(order: Any, results: Any) -> dict[str, int]:
        raise NotImplementedError

    for payload in (unreadable, plain):
        step = replace(parcels[0].steps[0], payload=payload)  # type: ignore[arg-type]
        schemas = asyncapi([replace(parcels[0], steps=(step,))], TOPOLOGY)["components"]["schemas"]
        assert schemas["message.carrier.Ship"]["properties"]["payload"] == {"type": "object"}


def test_paths_of_two_versions_get_models_of_their_own() -> None:
    """The same step may carry something else in the next version."""
    one, two = (
        replace(definition, steps=(replace(definition.steps[0], payload={"what": path}),))
        for definition, path in zip(parcels, ("input.parcel_id", "input.kilos"), strict=True)
    )
    schemas = asyncapi([one, two], TOPOLOGY)["components"]["schemas"]
    assert schemas["ParcelV1ShipPayload"]["properties"]["what"]["type"] == "string"
    assert schemas["ParcelV2ShipPayload"]["properties"]["what"]["type"] == "integer"
