"""The content of a definition as canonical JSON (RFC 8785): equal in every process that holds the same definition.

All fields of the dataclasses are written, whatever they are, so that a new field is never forgotten. A field whose
default says nothing (None, False, empty) is left out while it has it: a coordinator that brings a new field of that
kind does not change the definitions that do not use it. Texts for people (docstrings, descriptions) are left out, too,
and so are fields that say nothing of what a saga does (definition.BESIDE).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, cast, get_args
from uuid import UUID

import msgspec
import rfc8785
from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from coordinator.errors import DefinitionError
from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.code import FunctionWriter, Unwritable, name_of
from coordinator.saga.definition import BESIDE, SagaDefinition

CODE = "code sha256:"  # what a function's digest begins with
_EXACT = 2**53  # numbers from here on have no exact form in JSON
_VALIDATORS = ("validators", "root_validators", "field_validators", "model_validators")
_SIZED = (tuple, list, dict, str, set, frozenset)
_PROSE = ("title", "description", "examples")  # of a JSON schema: texts for people
_LITERALS = ("const", "default", "enum")
_NAMED = ("properties", "$defs")  # their keys are names


class Content(msgspec.Struct, frozen=True):
    """What a definition says under its name and version; `document` is canonical JSON."""

    name: str
    version: int
    document: bytes

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the document."""
        return hashlib.sha256(self.document).digest()


def content_of(definition: SagaDefinition | ChoreographyDefinition) -> Content:
    """Write a definition's content down; raises DefinitionError when a value of it cannot be compared."""
    try:
        document = rfc8785.dumps(_Writer().plain(definition))
    except (Unwritable, PydanticInvalidForJsonSchema, ValueError) as error:
        raise DefinitionError(
            f"{definition.name} version {definition.version}: the content cannot be written down: {error}"
        ) from error
    return Content(definition.name, definition.version, document)


def read_document(document: bytes) -> dict[str, Any]:
    """A content document as Python values."""
    return cast("dict[str, Any]", json.loads(document))


class _Writer:
    """Writes values as plain data: what JSON has, and nothing else."""

    def __init__(self) -> None:
        self._functions = FunctionWriter(self.plain)

    def plain(self, value: Any) -> Any:
        if isinstance(value, Enum):
            return self.plain(value.value)
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int | float):
            return value if abs(value) < _EXACT else repr(value)
        if isinstance(value, timedelta):
            milliseconds = value / timedelta(milliseconds=1)
            return f"{int(milliseconds) if milliseconds.is_integer() else milliseconds} ms"
        if isinstance(value, datetime | date | time | Decimal | UUID | bytes):
            return str(value)
        if isinstance(value, type):
            return self._model(value) if issubclass(value, BaseModel) else name_of(value)
        return self._compound(value)

    def _compound(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self.plain(part) for part in value]
        if isinstance(value, set | frozenset):
            return sorted((self.plain(part) for part in value), key=rfc8785.dumps)
        if isinstance(value, Mapping):
            return {str(self.plain(key)): self.plain(part) for key, part in value.items()}
        if dataclasses.is_dataclass(value):
            said = [each.name for each in dataclasses.fields(value) if _says(value, each)]
            return self._fields(value, [*said, "__call__"] if callable(value) else said)
        if isinstance(value, msgspec.Struct):
            return self._fields(value, value.__struct_fields__)
        if isinstance(value, BaseModel):
            return self.plain(dict(value))
        if callable(value):
            return CODE + hashlib.sha256(rfc8785.dumps(self._functions.write(value))).hexdigest()
        raise Unwritable(f"a value of {name_of(type(value))} cannot be compared between processes")

    def _fields(self, value: Any, names: Iterable[str]) -> Any:
        return {name: self.plain(getattr(type(value) if name == "__call__" else value, name)) for name in names}

    def _model(self, model: type[BaseModel]) -> Any:
        hooks = {name: found for name, found in map(self._hooks, _models(model, set())) if found}
        return {"schema": _without_prose(model.model_json_schema()), **({"checks": hooks} if hooks else {})}

    def _hooks(self, model: type[BaseModel]) -> tuple[str, dict[str, Any]]:
        """What JSON Schema does not say of a model: its configuration, and the code of its validators."""
        found: dict[str, Any] = {
            name: self.plain(getattr(hook.func, "__func__", hook.func))
            for kind in _VALIDATORS
            for name, hook in getattr(model.__pydantic_decorators__, kind).items()
        }
        for name, field in model.model_fields.items():
            parts = _metadata(field.annotation, field.metadata)
            hooks = [self.plain(part.func) for part in parts if callable(getattr(part, "func", None))]
            if hooks:
                found[f"field {name}"] = hooks
        config = {key: value for key, value in model.model_config.items() if isinstance(value, bool | int | str)}
        return model.__qualname__, {**found, "config": config} if config else found


def _says(value: Any, each: dataclasses.Field[Any]) -> bool:
    """Whether a field says something of what a saga does: not while it has a default that stands for nothing."""
    if each.metadata == BESIDE:
        return False
    default = each.default
    if each.default_factory is not dataclasses.MISSING:
        default = each.default_factory()
    held = getattr(value, each.name)
    if default is None or default is False:
        return held is not default
    return not (isinstance(default, _SIZED) and not default and held == default)


def _without_prose(schema: Any, *, names: bool = False) -> Any:
    """A JSON schema without texts for people; with `names` the keys are fields' names, not words of JSON Schema."""
    if isinstance(schema, list):
        return [_without_prose(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: part if key in _LITERALS and not names else _without_prose(part, names=key in _NAMED and not names)
        for key, part in schema.items()
        if names or key not in _PROSE
    }


def _models(annotation: Any, seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """A model and all that its fields are made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in seen:
            return
        seen.add(annotation)
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models(field.annotation, seen)
    for part in get_args(annotation):
        yield from _models(part, seen)


def _metadata(annotation: Any, metadata: Sequence[Any] = ()) -> Iterator[Any]:
    """What stands beside a field's type, and inside it: Annotated[...] at any depth."""
    yield from metadata
    yield from getattr(annotation, "__metadata__", ())
    for part in get_args(annotation):
        yield from _metadata(part)
