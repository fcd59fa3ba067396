"""What must be done because of an event, as values; only the engine obeys them."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from coordinator.saga.model import Direction, Saga


class Verdict(StrEnum):
    """The one durable judgement on a consumed record (design section 3, rule 4)."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    FOREIGN = "foreign"
    QUARANTINED = "quarantined"


class IncidentReason(StrEnum):
    """Why a person is needed."""

    COMPENSATION_DEAD_LETTERED = "compensation_dead_lettered"
    RESULT_SCHEMA = "result_schema"
    CONFLICTING_UNDO = "conflicting_undo"
    DEFINITION_ERROR = "definition_error"
    PIVOT_UNKNOWN = "pivot_unknown"
    RETRIES_EXHAUSTED = "retries_exhausted"
    FAILED_PAST_PIVOT = "failed_past_pivot"
    LATE = "late"


class IssueCommand(msgspec.Struct, frozen=True, gc=False):
    """Send one attempt of a step's action or compensation."""

    step: int
    direction: Direction
    attempt: int


class DeadLetterCommand(msgspec.Struct, frozen=True, gc=False):
    """Record that a command's budget is spent; it is tried again by and by, and then a person is asked."""

    step: int
    direction: Direction
    reason: str


class CloseLetter(msgspec.Struct, frozen=True, gc=False):
    """A command that had been given up for now has worked after all."""

    step: int
    direction: Direction


class OpenIncident(msgspec.Struct, frozen=True, gc=False):
    """Ask for a person."""

    reason: IncidentReason
    step: int | None
    detail: str


class ResolveIncidents(msgspec.Struct, frozen=True, gc=False):
    """Close the saga's open incidents: a person has acted."""

    by: str


Effect = IssueCommand | DeadLetterCommand | CloseLetter | OpenIncident | ResolveIncidents


class Moved(msgspec.Struct, frozen=True, gc=False):
    """The saga changes: its next value, and the effects that must happen with it, in order.

    `verdict` is `applied`, or `stale` where a reply came too late to change a step but tells something.
    """

    saga: Saga
    effects: tuple[Effect, ...] = ()
    verdict: Verdict = Verdict.APPLIED
    reason: str = ""


class Stayed(msgspec.Struct, frozen=True, gc=False):
    """Nothing changes, and why."""

    verdict: Verdict
    reason: str


Decision = Moved | Stayed
