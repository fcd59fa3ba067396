"""A saga as the coordinator's REST API shows it, in the words that judging and showing it take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

COMPLETED: Final = frozenset({"StepCompleted", "ExternalCompleted"})  # the log's words for a step that was done
UNDONE: Final = "CompensationCompleted"  # and for an undo that was acknowledged


@dataclass(frozen=True)
class Seen:
    """One saga; `answered` and `undone` are its steps in the order in which they were done, and undos acknowledged.

    `timeline` is what the log of an observed saga tells, duplicates left out: events by their types, and what else
    happened to it.
    """

    id: str
    status: str
    version: int
    outcomes: tuple[str, ...]
    undos: tuple[str, ...]
    attempts: tuple[int, ...]
    undo_attempts: tuple[int, ...]
    answered: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    open_incidents: tuple[str, ...] = ()
    timeline: tuple[str, ...] = ()


def read_saga(saga: Mapping[str, Any]) -> Seen:
    """Read what GET /v1/sagas/{id}?include=log answers."""
    steps: Iterable[Mapping[str, Any]] = saga["steps"] or ()
    return Seen(
        id=saga["id"],
        status=saga["status"],
        version=saga["version"],
        outcomes=tuple(step["outcome"] for step in steps),
        undos=tuple(step["undo"] for step in steps),
        attempts=tuple(step["attempts"] for step in steps),
        undo_attempts=tuple(step["undo_attempts"] for step in steps),
        answered=tuple(entry["step_name"] for entry in saga["log"] if entry["event"] in COMPLETED),
        undone=tuple(entry["step_name"] for entry in saga["log"] if entry["event"] == UNDONE),
        open_incidents=tuple(incident["reason"] for incident in saga["incidents"] if incident["resolved_at"] is None),
    )
