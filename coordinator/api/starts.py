"""The shapes of what starts sagas: one for each version of each loaded definition, with the input that it takes.

A model of pydantic checks a start's own fields, and the definition its input; clients see both as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coordinator.api.documents.sagas import StartBody
from coordinator.describe.shapes import inputs
from coordinator.saga.definition import SagaDefinition

_REF = "#/components/schemas/{name}"
_INPUT = "input.{model}"


def start_shapes(definitions: Sequence[SagaDefinition]) -> dict[str, Any]:
    """The schemas to describe starts with, by name; empty where nothing can be started."""
    if not definitions:
        return {}
    newest = {one.name: one for one in sorted(definitions, key=lambda one: one.version)}
    found, shapes = inputs(definitions, _REF.format(name=_INPUT))
    own = StartBody.model_json_schema()
    shapes = {_INPUT.format(model=name): shape for name, shape in shapes.items()}
    names = []
    for definition in definitions:
        name = f"{StartBody.__name__}.{definition.name}V{definition.version}"
        is_newest = newest[definition.name] is definition
        shapes[name] = _start(own, definition, found[definition.input], is_newest=is_newest)
        names.append(name)
    shapes[StartBody.__name__] = {
        "title": own["title"],
        "description": own["description"],
        "oneOf": [{"$ref": _REF.format(name=name)} for name in names],
    }
    return shapes


def _start(
    own: dict[str, Any], definition: SagaDefinition, input_: dict[str, Any], *, is_newest: bool
) -> dict[str, Any]:
    """A start of one version, which may be left out where it is the newest."""
    version: dict[str, Any] = {"type": "integer", "const": definition.version}
    if is_newest:
        version = {"anyOf": [version, {"type": "null"}], "default": None, "description": "The newest, when left out."}
    properties = {
        **own["properties"],
        "definition": {"type": "string", "const": definition.name},
        "version": version,
        "input": input_,
    }
    required = ["definition", *([] if is_newest else ["version"]), "input"]
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required}
