"""Incidents as people look at them: pages of them, one with its saga, and what people wrote down about it."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec

from coordinator.store.reads import SagaReads
from coordinator.wire.rfc3339 import format_ms

LAST_INCIDENT = 2**63 - 1
SCAN_MAX = 2_000  # incidents that are looked at for one page where no index serves the filter
NOTES_MAX = 500


class IncidentSummary(msgspec.Struct, frozen=True):
    """A problem of a saga that needs, or needed, a person; moments are RFC 3339 text.

    `acts` counts what people did to it. What is said of the saga is null when it has been archived.
    """

    id: int
    state: str
    reason: str
    step_name: str | None
    detail: str
    saga_id: str
    saga_version: int
    definition: str | None
    definition_version: int | None
    business_key: str | None
    saga_status: str | None
    opened_at: str
    assignee: str | None
    assigned_at: str | None
    resolved_at: str | None
    resolved_by: str | None
    resolved_because: str | None
    acts: int


class IncidentNote(msgspec.Struct, frozen=True):
    """What somebody wrote down about an incident."""

    id: int
    at: str
    actor: str
    text: str


class IncidentFilter(msgspec.Struct, frozen=True):
    """Which incidents to list; None means any."""

    is_open: bool | None = None
    reason: str | None = None
    assignee: str | None = None
    definition: str | None = None
    since_ms: int | None = None
    definitions: frozenset[str] | None = None  # those that whoever asks may know of


class IncidentPage(msgspec.Struct, frozen=True):
    """A page; `before` is the id behind which the next one begins, None where there is no more."""

    incidents: list[IncidentSummary]
    before: int | None


class IncidentReads:
    """Reads of incidents over the pool of all reads."""

    def __init__(self, reads: SagaReads) -> None:
        self._reads = reads

    async def page(self, chosen: IncidentFilter, before: int | None, limit: int) -> IncidentPage:
        """Incidents that fit a filter, newest first, from behind the id `before`; raises Unavailable."""
        first = LAST_INCIDENT if before is None else before
        served = _served(chosen)
        if served is None:
            return await self._some(chosen, first, limit)
        name, arguments = served
        rows = await self._reads.fetch(name, first, limit + 1, chosen.since_ms or 0, *arguments)
        return _cut([_summary(row) for row in rows], limit)

    async def incident(self, incident_id: int) -> IncidentSummary | None:
        """One incident; raises Unavailable."""
        rows = await self._reads.fetch("get_incident", incident_id)
        return _summary(rows[0]) if rows else None

    async def notes(self, incident_id: int) -> list[IncidentNote]:
        """What people wrote down about an incident, oldest first; raises Unavailable."""
        rows = await self._reads.fetch("list_incident_notes", incident_id, NOTES_MAX)
        return [IncidentNote(row["id"], format_ms(row["at_ms"]), row["actor"], row["text"]) for row in rows]

    async def has_note(self, incident_id: int, actor: str, text: str, since_ms: int) -> bool:
        """Whether somebody has written this down about an incident since then; raises Unavailable."""
        return bool(await self._reads.fetch("find_incident_note", incident_id, actor, text, since_ms))

    async def _some(self, chosen: IncidentFilter, first: int, limit: int) -> IncidentPage:
        rows = await self._reads.fetch(
            "page_some_incidents",
            first,
            limit + 1,
            SCAN_MAX,
            chosen.since_ms or 0,
            chosen.is_open,
            chosen.reason,
            chosen.assignee,
            chosen.definition,
            None if chosen.definitions is None else sorted(chosen.definitions),
        )
        page = _cut([_summary(row) for row in rows if row["id"] is not None], limit)
        looked = rows[0]
        is_all = looked["scanned"] < SCAN_MAX or looked["oldest_ms"] < (chosen.since_ms or 0)
        return page if page.before is not None or is_all else IncidentPage(page.incidents, looked["scanned_to"])


def _served(chosen: IncidentFilter) -> tuple[str, tuple[Any, ...]] | None:
    """The statement of a filter that an index serves, and its further arguments; None for all others."""
    by_saga = chosen.definition is not None or chosen.definitions is not None
    if chosen.is_open is not True or by_saga or (chosen.reason and chosen.assignee):
        return None
    if chosen.reason is not None:
        return "page_open_incidents_by_reason", (chosen.reason,)
    if chosen.assignee is not None:
        return "page_open_incidents_by_assignee", (chosen.assignee,)
    return "page_open_incidents", ()


def _cut(found: list[IncidentSummary], limit: int) -> IncidentPage:
    return IncidentPage(found[:limit], found[limit - 1].id if len(found) > limit else None)


def _summary(row: asyncpg.Record) -> IncidentSummary:
    resolved_ms = row["resolved_ms"]
    return IncidentSummary(
        row["id"],
        "open" if resolved_ms is None else "resolved",
        row["reason"],
        row["step_name"],
        row["detail"],
        row["saga_id"],
        row["saga_version"],
        row["definition"],
        row["definition_version"],
        row["business_key"],
        row["saga_status"],
        format_ms(row["opened_ms"]),
        row["assignee"],
        _moment(row["assigned_ms"]),
        _moment(resolved_ms),
        row["resolved_by"],
        row["resolved_because"],
        row["acts"],
    )


def _moment(at_ms: int | None) -> str | None:
    return None if at_ms is None else format_ms(at_ms)
