"""The schemas of what definitions put into messages: inputs, results, and payloads as far as they can be known.

A payload without paths or function is the input. One of paths gets a model made from the fields that the paths lead to.
One of a function is known when the function says that it returns a pydantic model; otherwise it is any object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field, PydanticUserError, create_model
from pydantic.json_schema import models_json_schema

from coordinator.errors import DefinitionError
from coordinator.saga.definition import SagaDefinition, Step
from coordinator.saga.paths import INPUT

Schema: TypeAlias = dict[str, Any]
Model: TypeAlias = type[BaseModel]

_ANY_OBJECT: Schema = {"type": "object"}
_READ = "#/components/schemas/{model}"
_MADE = "#/components/schemas/payload.{model}"  # a model may look different when it is written


class Shapes:
    """The models of some definitions as components, each named once and without clashes."""

    def __init__(self, definitions: Iterable[SagaDefinition]) -> None:
        self._of_paths: dict[tuple[str, int, str], Model] = {}
        read: list[Model] = []
        made: list[Model] = []
        for definition in definitions:
            read.append(definition.input)
            for step in definition.steps:
                read += [step.result] if step.result else []
                if callable(step.payload):
                    made += filter(None, [_returned(step.payload)])
                elif step.payload is not None:
                    model = _of_paths(definition, step)
                    self._of_paths[_key(definition, step)] = model
                    read.append(model)
        self._read, of_read = _schemas(read, "validation", _READ)
        self._made, of_made = _schemas(made, "serialization", _MADE)
        self.components = of_read | {f"payload.{name}": schema for name, schema in of_made.items()}

    def input(self, definition: SagaDefinition) -> Schema:
        """The schema of a saga's input."""
        return self._read[definition.input]

    def result(self, step: Step) -> Schema:
        """The schema of a step's result."""
        return _ANY_OBJECT if step.result is None else self._read[step.result]

    def payload(self, definition: SagaDefinition, step: Step) -> Schema:
        """The schema of what a step's action carries."""
        if step.payload is None:
            return self.input(definition)
        if callable(step.payload):
            model = _returned(step.payload)
            return _ANY_OBJECT if model is None else self._made[model]
        return self._read[self._of_paths[_key(definition, step)]]


def inputs(definitions: Iterable[SagaDefinition], template: str) -> tuple[dict[Model, Schema], dict[str, Schema]]:
    """The schemas of the inputs by model, and the components that they refer to as the template says."""
    return _schemas([definition.input for definition in definitions], "validation", template)


def _key(definition: SagaDefinition, step: Step) -> tuple[str, int, str]:
    return definition.name, definition.version, step.name


def _schemas(
    models: list[Model], mode: Literal["validation", "serialization"], template: str
) -> tuple[dict[Model, Schema], dict[str, Schema]]:
    wanted = [(model, mode) for model in dict.fromkeys(models)]
    try:
        # What a payload function returns is written by its fields' names; what is read goes by their aliases.
        found, whole = models_json_schema(wanted, by_alias=mode == "validation", ref_template=template)
    except PydanticUserError as error:
        raise DefinitionError(f"a model cannot be written as JSON Schema: {error.message}") from error
    components = {name: _tidied(schema) for name, schema in whole.get("$defs", {}).items()}
    return {model: found[model, mode] for model, _ in wanted}, components


def _tidied(node: Any) -> Any:
    """The schema without OpenAPI's discriminators, which AsyncAPI has in another shape."""
    if isinstance(node, dict):
        return {
            key: _tidied(child)
            for key, child in node.items()
            if not (key == "discriminator" and isinstance(child, dict) and "propertyName" in child)
        }
    return [_tidied(child) for child in node] if isinstance(node, list) else node


def _returned(function: Callable[..., Any]) -> Model | None:
    try:
        returned = get_type_hints(function).get("return")
    except (NameError, TypeError, AttributeError):  # names that exist for a type checker only
        return None
    return returned if isinstance(returned, type) and issubclass(returned, BaseModel) else None


def _of_paths(definition: SagaDefinition, step: Step) -> Model:
    paths = step.payload if isinstance(step.payload, Mapping) else {}
    return _made_of(f"{definition.name}V{definition.version}{_camel(step.name)}Payload", definition, paths)


def _made_of(name: str, definition: SagaDefinition, paths: Mapping[str, Any]) -> Model:
    fields: dict[str, Any] = {}
    for number, (key, path) in enumerate(paths.items()):
        nested = isinstance(path, Mapping)
        kind = _made_of(f"{name}{_camel(key)}", definition, path) if nested else _kind_of(definition, path)
        fields[f"field_{number}"] = (kind, Field(alias=key, title=key))  # a key may be no name in Python
    return create_model(name, **fields)


def _kind_of(definition: SagaDefinition, path: str) -> Any:
    """The annotation, constraints and all, of the field that a path leads to; the path is known to be good."""
    origin, *fields = path.split(".")
    shape: Any = definition.input if origin == INPUT else definition.steps[definition.index[origin]].result
    kind: Any = shape
    for name in fields:
        chosen = shape.model_fields[name]
        kind = chosen.rebuild_annotation()
        shape = _without_none(chosen.annotation)
    return kind


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        return next((one for one in get_args(annotation) if one is not type(None)), annotation)
    return annotation


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace("-", "_").split("_"))
