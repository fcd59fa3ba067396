"""The JSON Schema (2020-12) of every message, for participants in any language.

`python -m coordinator.wire.schemas [directory]` writes them, one file per message.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from coordinator.wire.messages import EVENT_TYPES, INBOUND_TYPES, Command, Compensation
from coordinator.wire.strict_json import JSON_OBJECT_TITLE, MAX_INTEGER, MIN_INTEGER

DIRECTORY = Path("docs/schemas")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FREE_OBJECT = {
    "type": "object",
    "description": f"Strict JSON: unique keys, integers from {MIN_INTEGER} to {MAX_INTEGER}, no U+0000.",
}


def all_schemas() -> dict[str, dict[str, Any]]:
    """Every message's schema by its name: the ce_type, or Command and Compensation, whose ce_type varies."""
    classes: dict[str, type[Any]] = {"Command": Command, "Compensation": Compensation}
    classes |= {cls.ce_type: cls for cls in (*INBOUND_TYPES, *EVENT_TYPES)}
    return {name: _schema(name, cls) for name, cls in classes.items()}


def render(schema: dict[str, Any]) -> str:
    """The text of a schema's file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(directory: Path) -> list[Path]:
    """Write every schema into `directory`, replacing what is there; returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name, schema in all_schemas().items():
        file = directory / f"{name}.json"
        file.write_text(render(schema), encoding="utf-8")
        files.append(file)
    return files


def _schema(name: str, cls: type[Any]) -> dict[str, Any]:
    components: dict[str, Any] = _plain(msgspec.json.schema(cls))
    definitions = components["$defs"]
    root = definitions.pop(cls.__name__)
    schema = {"$schema": _DIALECT, "$id": f"urn:saga-coordinator:schema:1.0:{name}", **root, "title": name}
    if definitions:
        schema["$defs"] = definitions
    return schema


def _plain(node: Any) -> Any:
    """The schema without the levels that exist for the decoder's sake only (see `strict_json.JsonObject`)."""
    if isinstance(node, dict):
        if node.get("title") == JSON_OBJECT_TITLE:
            return _FREE_OBJECT
        return {key: _plain(child) for key, child in node.items()}
    if isinstance(node, list):
        return [_plain(child) for child in node]
    return node


if __name__ == "__main__":
    written = write(Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY)
    sys.stdout.write("".join(f"{file}\n" for file in written))
