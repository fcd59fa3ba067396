"""Examples made from schemas: the smallest value that fits, with the model's own examples where it has some."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REF = "#/components/schemas/"
DEPTH_MAX = 12  # a model that holds itself has no smallest example on its first branch
TEXT_MAX = 10_000

_TEXTS = ("text", "NL", "EUR", "1", "a1", "A1")  # what many a pattern asks for
_FORMATS = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "uuid": "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57",
    "email": "jo@example.com",
    "uri": "https://example.com/",
    "duration": "PT1M",
}


class NoExample(Exception):
    """The schema asks for what cannot be guessed, for example a pattern."""


def example(schema: Mapping[str, Any], components: Mapping[str, Any], depth: int = 0) -> Any:
    """Make a value that fits a schema; raises NoExample."""
    if depth > DEPTH_MAX:
        raise NoExample("too deep")
    if "$ref" in schema:
        return example(components[schema["$ref"].removeprefix(REF)], components, depth + 1)
    for word in ("examples", "enum"):
        if schema.get(word):
            return schema[word][0]
    if "const" in schema:
        return schema["const"]
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return _first(schema[word], components, depth)
    return _of_type(schema, components, depth)


def _first(branches: list[Mapping[str, Any]], components: Mapping[str, Any], depth: int) -> Any:
    for branch in branches:
        try:
            return example(branch, components, depth + 1)
        except NoExample:
            continue
    raise NoExample("no branch has an example")


def _of_type(schema: Mapping[str, Any], components: Mapping[str, Any], depth: int) -> Any:
    match schema.get("type"):
        case "object":
            wanted = schema.get("required", ())
            return {name: example(schema["properties"][name], components, depth + 1) for name in wanted}
        case "array":
            if "prefixItems" in schema:
                return [example(item, components, depth + 1) for item in schema["prefixItems"]]
            return [example(schema.get("items", {}), components, depth + 1)] * schema.get("minItems", 0)
        case "string":
            return _text(schema)
        case "integer":
            return _number(schema)
        case "number":
            return float(_number(schema))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return {}


def _text(schema: Mapping[str, Any]) -> str:
    if "format" in schema and schema["format"] in _FORMATS:
        return _FORMATS[schema["format"]]
    least, most = schema.get("minLength", 0), schema.get("maxLength", 4)
    if "pattern" in schema:
        return _tried(schema["pattern"], least, schema.get("maxLength", TEXT_MAX))
    if "format" in schema:
        raise NoExample("only a person knows what fits")
    return "text".ljust(least, "-")[: max(most, least)]


def _tried(pattern: str, least: int, most: int) -> str:
    try:
        wanted = re.compile(pattern)
    except re.error as error:  # the dialect of another language
        raise NoExample("the pattern cannot be read") from error
    for text in (*_TEXTS, *_FORMATS.values()):
        if wanted.search(text) and least <= len(text) <= most:
            return text
    raise NoExample("only a person knows what fits")


def _number(schema: Mapping[str, Any]) -> int:
    if "multipleOf" in schema or {"exclusiveMaximum", "exclusiveMinimum"} <= schema.keys():
        raise NoExample("only a person knows what fits")
    if "minimum" in schema:
        return int(-(-schema["minimum"] // 1))
    if "exclusiveMinimum" in schema:
        return int(schema["exclusiveMinimum"] // 1) + 1
    if "maximum" in schema:
        return int(schema["maximum"] // 1)
    return int(-(-schema["exclusiveMaximum"] // 1)) - 1 if "exclusiveMaximum" in schema else 1
