"""Payload paths: `"input.card.token"` and `"book_hotel.price_cents"`, checked against the models before the first run.

The first word is `input` or the name of a step that is done before; the others are fields. A path is taken only when
the models promise that something is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from coordinator.saga.definition import SagaDefinition, Step

INPUT = "input"


class Fields(dict[str, Any]):
    """Payload paths by the fields of a model: every field that the model requires, and no other."""

    def __init__(self, model: type[BaseModel], paths: Mapping[str, Any]) -> None:
        super().__init__(paths)
        self.model = model


def walk(paths: Mapping[str, Any], field: str = "") -> Iterator[tuple[str, str]]:
    """List the fields of a payload, nested ones as `card.token`, each with its path."""
    for name, path in paths.items():
        whole = f"{field}.{name}" if field else name
        if isinstance(path, Mapping):
            yield from walk(path, whole)
        else:
            yield whole, path


Compiled = tuple[tuple[str, str, Any, str], ...]


def compiled(paths: Mapping[str, Any]) -> Compiled:
    """Payload paths taken apart: (field, origin, how to get it, path), or (field, "", Compiled, "") for an object."""
    return tuple(_part(name, path) for name, path in paths.items())


def _part(name: str, path: Any) -> tuple[str, str, Any, str]:
    if isinstance(path, Mapping):
        return name, "", compiled(path), ""
    origin, _, fields = path.partition(".")
    return name, origin, attrgetter(fields), path


def problems(definition: SagaDefinition) -> list[str]:
    """List what is wrong with the payload paths of a definition."""
    found = []
    for step in definition.steps:
        if step.payload is None or callable(step.payload):
            continue
        found += [f"step {step.name!r}: payload: {sentence}" for sentence in _misfits(step.payload)]
        for field, path in walk(step.payload):
            sentence = _problem(definition, step, path)
            if sentence:
                found.append(f"step {step.name!r}: payload field {field!r}: {sentence}")
    return found


def needs(step: Step) -> set[str]:
    """The steps whose results the payload paths of a step name."""
    if step.payload is None or callable(step.payload):
        return set()
    return {path.partition(".")[0] for _, path in walk(step.payload) if isinstance(path, str)} - {INPUT}


def _misfits(paths: Mapping[str, Any]) -> list[str]:
    """Say which fields a payload has too few or too many for its model."""
    if not isinstance(paths, Fields):
        return []
    fields = paths.model.model_fields
    missing = [name for name, field in fields.items() if field.is_required() and name not in paths]
    unknown = [name for name in paths if name not in fields]
    return [
        *(f"{paths.model.__name__} requires {name!r}" for name in missing),
        *(f"{paths.model.__name__} has no field {name!r}" for name in unknown),
    ]


def _problem(definition: SagaDefinition, step: Step, path: Any) -> str | None:
    if not isinstance(path, str):
        return "a path is text, for example 'input.city'"
    origin, *fields = path.split(".")
    if origin == INPUT:
        return _missing(definition.input, fields, path)
    position = definition.index.get(origin)
    if position is None:
        return f"{path!r} begins with neither 'input' nor a step's name"
    source = definition.steps[position]
    if step.name in needs(source) and source is not step:
        return f"steps {step.name!r} and {origin!r} need each other's results"
    if definition.stage_of[position] >= definition.stage_of[definition.index[step.name]]:
        return f"the result of {origin!r} is not there before this step"
    if source.when is not None:
        return f"step {origin!r} may be left out, and then {path!r} is nothing: use a function"
    if source.result is None:
        return f"step {origin!r} declares no result, so nothing promises {path!r}"
    return _missing(source.result, fields, path)


def _missing(model: type[BaseModel], fields: list[str], path: str) -> str | None:
    """Say which part of a path a model does not promise, or None."""
    if not fields:
        return f"{path!r} names no field"
    shape: Any = model
    for before, name in zip(["", *fields], fields, strict=False):
        if shape is Any:
            return f"{path!r}: nothing promises what is in {before!r}"
        if not (isinstance(shape, type) and issubclass(shape, BaseModel)):
            return f"{path!r}: no {name!r} in there"
        chosen = shape.model_fields.get(name)
        if chosen is None:
            return f"{path!r}: {shape.__name__} has no field {name!r}"
        shape = _without_none(chosen.annotation)
    return None


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        real = [one for one in get_args(annotation) if one is not type(None)]
        return real[0] if len(real) == 1 else Any
    return annotation
