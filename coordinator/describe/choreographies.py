"""A choreography as a text table, a Mermaid flowchart and JSON: which event follows which, how long that may take."""

from __future__ import annotations

from typing import Any

from coordinator.describe.words import duration
from coordinator.saga.choreography import ChoreographyDefinition, ExpectedEvent
from coordinator.saga.model import Facing

_HEADS = ("event", "source", "then", "within")
_STYLE = "classDef back stroke-dasharray:5 5"


def choreography_table(definition: ChoreographyDefinition) -> str:
    """Write what a choreography says: head lines, then one row per event."""
    rows = [_HEADS, *(_row(event) for event in definition.events)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    head = [f"{definition.name} version {definition.version}", f"correlation: {definition.correlation}", ""]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join([*head, *lines])


def choreography_mermaid(definition: ChoreographyDefinition) -> str:
    """Draw a choreography; what walks back is dashed."""
    lines = [f"{event.type} --> {then}" for event in definition.events for then in event.then]
    lines += [f'{event.type} --> {event.ends}(["{event.ends}"])' for event in definition.events if event.ends]
    back = [event.type for event in definition.events if definition.facing(event.type) is Facing.BACKWARD]
    styles = [_STYLE, f"class {','.join(back)} back"] if back else []
    return "\n    ".join(["flowchart LR", *lines, *styles])


def choreography_document(definition: ChoreographyDefinition) -> dict[str, Any]:
    """Write what a choreography says as a JSON object, as `document` does for a saga definition."""
    return {
        "name": definition.name,
        "version": definition.version,
        "correlation": definition.correlation,
        "events": [
            {
                "type": event.type,
                "source": event.source,
                "then": list(event.then),
                "within_ms": event.within_ms,
                "ends": event.ends,
            }
            for event in definition.events
        ],
    }


def _row(event: ExpectedEvent) -> tuple[str, ...]:
    if event.within is None:
        return event.type, event.source, f"the saga is {event.ends}", "-"
    return event.type, event.source, " or ".join(event.then), duration(event.within)
