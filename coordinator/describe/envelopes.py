"""The messages of the wire contract, narrowed to what the definitions put into them.

Each message becomes a schema and a message object of AsyncAPI. Where several steps share a command, its schema is any
of theirs: `saga_type` and `step_name` in the value tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from coordinator.describe.examples import REF, NoExample, example
from coordinator.describe.shapes import Schema, Shapes
from coordinator.saga.definition import SagaDefinition, Step
from coordinator.wire.messages import StartRequested, StepCompleted
from coordinator.wire.schemas import all_schemas

COMMAND_HEADERS = "headers.command"
MESSAGE_HEADERS = "headers.message"
LETTER_HEADERS = "headers.dead_letter"

_SAGA_ID = "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57"
_MOMENT = "2026-01-31T12:00:00.000Z"
_KNOWN: dict[str, Any] = {
    "saga_id": _SAGA_ID,
    "command_id": f"{_SAGA_ID}:1:step:action",
    "compensates": f"{_SAGA_ID}:1:step:action",
    "not_after": _MOMENT,
    "at": _MOMENT,
}
_KNOWN_HEADERS = {
    "ce_id": f"{_SAGA_ID}:1:step:action#1",
    "ce_subject": _SAGA_ID,
    "ce_time": _MOMENT,
    "reply-partition": "11",
}


class Envelopes:
    """Collects components: `schemas` and `messages`, each under a name of its own."""

    def __init__(self, shapes: Shapes, headers: Mapping[str, Schema]) -> None:
        self._shapes = shapes
        self._wire = {name: _inlined(name, schema) for name, schema in all_schemas().items()}
        self.schemas: dict[str, Schema] = {**shapes.components, **headers}
        for schema in all_schemas().values():
            self.schemas |= {f"wire.{name}": inner for name, inner in schema.get("$defs", {}).items()}
        self.messages: dict[str, dict[str, Any]] = {}

    def action(self, participant: str, name: str, uses: list[tuple[SagaDefinition, Step]]) -> str:
        """Add the command of an action; answers the message's name."""
        narrowed = [
            self._narrowed("Command", _place(definition, step), payload=self._shapes.payload(definition, step))
            for definition, step in uses
        ]
        summary = f"Do {_steps(uses)}."
        return self._add(f"{participant}.{name}", name, narrowed, summary, COMMAND_HEADERS)

    def compensation(self, participant: str, name: str, uses: list[tuple[SagaDefinition, Step]]) -> str:
        """Add the command of a compensation; answers the message's name."""
        narrowed = [
            self._narrowed(
                "Compensation",
                _place(definition, step),
                original_payload=self._shapes.payload(definition, step),
                original_result={"anyOf": [self._shapes.result(step), {"type": "null"}]},
            )
            for definition, step in uses
        ]
        summary = f"Undo {_steps(uses)}; what is not there is as good as undone."
        full = f"{participant}.{name}"
        if full in self.messages:  # another step's action
            full += ".compensation"
        return self._add(full, name, narrowed, summary, COMMAND_HEADERS)

    def completed(self, participant: str, action: str, uses: list[tuple[SagaDefinition, Step]]) -> str:
        """Add the success of an action, with the step's result; answers the message's name."""
        kind = StepCompleted.ce_type
        narrowed = [
            self._narrowed(
                kind,
                {"step_name": {"type": "string", "const": step.name}},
                result=self._shapes.result(step),
            )
            for _, step in uses
        ]
        name = f"{participant}.{action}.{kind}"
        return self._add(name, kind, narrowed, f"{action} is done.", MESSAGE_HEADERS, participant)

    def start(self, name: str, versions: list[SagaDefinition]) -> str:
        """Add the start request of a definition; answers the message's name."""
        kind = StartRequested.ce_type
        numbers = [definition.version for definition in versions]
        narrowed = [
            self._narrowed(
                kind,
                {"definition": {"type": "string", "const": name}},
                version={"enum": [*numbers, None], "description": "The newest where none is named."},
                input=_any_of([self._shapes.input(definition) for definition in versions]),
            )
        ]
        summary = f"Start {name}; the same {versions[-1].business_key} and input give the same saga."
        return self._add(f"{name}.{kind}", kind, narrowed, summary, MESSAGE_HEADERS)

    def general(self, kind: str) -> str:
        """Add a message that is the same for all definitions; answers its name, which is its ce_type."""
        summary = str(self._wire[kind].get("description", kind))
        return self._add(kind, kind, [self._wire[kind]], summary, MESSAGE_HEADERS)

    def letter(self) -> str:
        """Add the dead letter, whose value is whatever could not be dealt with; answers its name."""
        self.messages["DeadLetter"] = {
            "name": "DeadLetter",
            "title": "DeadLetter",
            "summary": "What could not be dealt with: original key, value and headers, and why.",
            "contentType": "application/octet-stream",
            "headers": {"$ref": REF + LETTER_HEADERS},
            "payload": {"description": "The original value: any bytes, or none."},
        }
        return "DeadLetter"

    def _narrowed(self, kind: str, place: Mapping[str, Schema], **properties: Schema) -> Schema:
        """The schema of a kind of message with what is known of some of its properties."""
        schema = self._wire[kind]
        return {**schema, "properties": {**schema["properties"], **place, **properties}}

    def _add(
        self, name: str, kind: str, narrowed: list[Schema], summary: str, headers: str, source: str | None = None
    ) -> str:
        distinct = [schema for number, schema in enumerate(narrowed) if schema not in narrowed[:number]]
        self.schemas[f"message.{name}"] = {**_any_of(distinct), "title": name}
        known: dict[str, Schema] = {"ce_type": {"type": "string", "const": kind}}
        if source is not None:
            known["ce_source"] = {"type": "string", "const": source}
        narrow = {"type": "object", "properties": known}
        message: dict[str, Any] = {
            "name": kind,
            "title": name,
            "summary": summary,
            "headers": {"type": "object", "allOf": [{"$ref": REF + headers}, narrow]},
            "payload": {"$ref": f"{REF}message.{name}"},
            "bindings": {"kafka": {"key": {"type": "string", "description": "The saga's id."}}},
        }
        if all("command_id" in schema["properties"] for schema in narrowed):
            message["correlationId"] = {"location": "$message.payload#/command_id"}
        shown = [found for schema in distinct if (found := self._example(schema, headers, known)) is not None]
        if shown:
            message["examples"] = [{"name": name, **shown[0]}]
        self.messages[name] = message
        return name

    def _example(self, schema: Schema, headers: str, known: Mapping[str, Schema]) -> dict[str, Any] | None:
        """A whole message, or None where a pattern in a model leaves none to be guessed."""
        of_headers = self.schemas[headers]
        try:
            return {
                "headers": self._filled({**of_headers["properties"], **known}, of_headers["required"], _KNOWN_HEADERS),
                "payload": self._filled(schema["properties"], schema["required"], _KNOWN),
            }
        except NoExample:
            return None

    def _filled(
        self, properties: Mapping[str, Schema], wanted: Iterable[str], known: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {name: known[name] if name in known else example(properties[name], self.schemas) for name in wanted}


def _inlined(name: str, schema: Schema) -> Schema:
    """A published schema as a part of a larger document: its own definitions are components there."""
    kept = {key: value for key, value in schema.items() if key not in ("$schema", "$id", "$defs", "title")}
    moved: Schema = _moved(kept)
    return {**moved, "description": moved.get("description", name)}


def _moved(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: child.replace("#/$defs/", f"{REF}wire.") if key == "$ref" else _moved(child)
            for key, child in node.items()
        }
    return [_moved(child) for child in node] if isinstance(node, list) else node


def _place(definition: SagaDefinition, step: Step) -> dict[str, Schema]:
    return {
        "saga_type": {"type": "string", "const": definition.name},
        "step_name": {"type": "string", "const": step.name},
    }


def _steps(uses: list[tuple[SagaDefinition, Step]]) -> str:
    return ", ".join(dict.fromkeys(f"{step.name} of {definition.name}" for definition, step in uses))


def _any_of(schemas: list[Schema]) -> Schema:
    distinct = [schema for number, schema in enumerate(schemas) if schema not in schemas[:number]]
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
