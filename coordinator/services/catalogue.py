"""The definitions as people list them: what this process holds beside what the database knows of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from coordinator.engine.registry import Registry
from coordinator.saga.content import Content
from coordinator.store.reads import DefinitionUse


class DefinitionView(msgspec.Struct, frozen=True):
    """A version and what runs on it; `steps` is null where it is not loaded here, counts where nobody was asked.

    `in_flight` counts all sagas that have not ended, `suspended` those of them that wait for a person; `known_by` of
    `replicas` live processes can run it. `replaced` means that the version has another content now.
    """

    name: str
    version: int
    loaded: bool
    replaced: bool
    steps: int | None
    content_hash: str | None
    in_flight: int | None
    suspended: int | None
    known_by: int | None
    replicas: int | None


class DefinitionDetail(msgspec.Struct, frozen=True):
    """A version with all that it says; `document` is null where it is not loaded here, `content_hash` where nobody has.

    A saga definition's document has its steps and the JSON Schema of its input, a choreography's its events. `counts`
    are the sagas by status, those that have ended too, whatever content they began on.
    """

    name: str
    version: int
    kind: str
    loaded: bool
    content_hash: str | None
    document: dict[str, Any] | None
    counts: dict[str, int]
    in_flight: int
    known_by: int
    replicas: int


def list_definitions(
    registry: Registry, uses: Sequence[DefinitionUse], observed: Sequence[tuple[Content, int]] = ()
) -> list[DefinitionView]:
    """Everything that is loaded or was registered, by name and version; `observed` are choreographies, with sizes."""
    commanded = [len(definition.steps) for definition in registry.definitions]
    loaded = [*zip(registry.contents, commanded, strict=True), *observed]
    held = {(content.name, content.version, content.digest.hex()): steps for content, steps in loaded}
    views = [_view(use, held.pop((use.name, use.version, use.content_hash or ""), None)) for use in uses]
    views += [
        DefinitionView(name, version, True, False, steps, digest, None, None, None, None)
        for (name, version, digest), steps in held.items()
    ]
    return sorted(views, key=lambda view: (view.name, view.version, not view.loaded))


def _view(use: DefinitionUse, steps: int | None) -> DefinitionView:
    return DefinitionView(
        use.name,
        use.version,
        steps is not None,
        use.replaced,
        steps,
        use.content_hash,
        use.in_flight,
        use.suspended,
        use.known_by,
        use.replicas,
    )


_COLUMNS = ("NAME", "VERSION", "STEPS", "CONTENT", "IN FLIGHT", "SUSPENDED", "REPLICAS", "")


def definition_lines(views: Sequence[DefinitionView]) -> list[str]:
    """The list as the lines of a table; REPLICAS says how many live ones know the version, of how many."""
    rows = [_COLUMNS, *map(_cells, views)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cells(view: DefinitionView) -> tuple[str, ...]:
    known = "-" if view.known_by is None else f"{view.known_by}/{view.replicas}"
    marks = {"not loaded here": not view.loaded, "replaced": view.replaced}
    return (
        view.name,
        str(view.version),
        _cell(view.steps),
        (view.content_hash or "-")[:12],
        _cell(view.in_flight),
        _cell(view.suspended),
        known,
        ", ".join(text for text, holds in marks.items() if holds),
    )


def _cell(number: int | None) -> str:
    return "-" if number is None else str(number)
