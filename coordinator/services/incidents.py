"""Incidents for people: take one, write down what was found, close it.

Each act is one statement with its audit, under the number of acts that were seen. Most incidents are closed by a verb
on their saga, which is what mends it; BY_HAND are those that no verb is for. Of two people who act at once one is told.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from coordinator.errors import Conflict, InvalidInput, NotFound, StaleVersion
from coordinator.observability.acts import say_act
from coordinator.saga.effects import IncidentReason
from coordinator.saga.model import SagaStatus
from coordinator.saga.observing import CONTRADICTION
from coordinator.services.acting import do_once
from coordinator.services.sagas import SagaService
from coordinator.services.words import says_something
from coordinator.store.audit import AuditFilter, AuditReads
from coordinator.store.incidents import (
    LAST_INCIDENT,
    IncidentFilter,
    IncidentNote,
    IncidentPage,
    IncidentReads,
    IncidentSummary,
)
from coordinator.store.postgres import PostgresStore
from coordinator.store.reads import SagaReads, SagaSummary

PAGE_MAX = 200
ASSIGNEE_MAX = 200  # characters
NOTE_MAX = 2_000
REASON_MAX = 500  # of a note as the audit, and its line in the log, have it
ASSIGN, NOTE, RESOLVE = "assign_incident", "note_incident", "resolve_incident"  # how the audit calls the acts

# What a person closes when it has been looked into, whatever its saga does: it tells of something that has happened and
# that no verb undoes. All other reasons are closed by the verb that lets their saga go on; once the saga is suspended
# no more, because it went on by itself or has ended, they are closed by hand, too.
BY_HAND: Final = frozenset({IncidentReason.LATE.value, IncidentReason.CONFLICTING_UNDO.value, CONTRADICTION})


class IncidentConflict(Conflict):
    """That is not possible as the incident, or its saga, stands; `members` says how."""

    def __init__(self, message: str, incident: IncidentSummary) -> None:
        super().__init__(message)
        self.members = members(incident)


class IncidentStale(StaleVersion):
    """Somebody has acted since the incident was looked at; `members` says how it stands."""

    def __init__(self, incident: IncidentSummary) -> None:
        super().__init__(f"incident {incident.id} has moved on: it is {incident.state} after {incident.acts} acts")
        self.members = members(incident)


class Seen(msgspec.Struct, frozen=True):
    """How an incident stood when somebody looked at it; an act may ask that it still does."""

    acts: int
    state: str


class IncidentDetail(IncidentSummary, frozen=True):
    """An incident with its saga as it stands (null: archived), its notes, oldest first, and what can be done.

    `closed_by` is `hand` where the incident can be resolved, `verb` where one of `verbs` on its saga is asked for;
    `verbs` are those that are possible now.
    """

    saga: SagaSummary | None
    notes: list[IncidentNote]
    closed_by: str
    verbs: list[str]


class IncidentService:
    """What can be asked of incidents."""

    def __init__(self, store: PostgresStore, reads: SagaReads, sagas: SagaService) -> None:
        self._store = store
        self._rows = reads
        self._sagas = sagas
        self._reads = IncidentReads(reads)
        self._audit = AuditReads(reads)

    async def page(self, chosen: IncidentFilter, before: int | None = None, limit: int = 50) -> IncidentPage:
        """Incidents that fit a filter, newest first, from behind the id `before`; raises InvalidInput, Unavailable."""
        if not 1 <= limit <= PAGE_MAX:
            raise InvalidInput(f"a page has 1 to {PAGE_MAX} incidents", "/limit")
        return await self._reads.page(chosen, before, limit)

    async def summary(self, incident_id: int) -> IncidentSummary:
        """One incident; raises NotFound, Unavailable."""
        found = await self._reads.incident(incident_id) if 0 < incident_id <= LAST_INCIDENT else None
        if found is None:
            raise NotFound(f"there is no incident {incident_id}")
        return found

    async def get(self, incident_id: int) -> IncidentDetail:
        """One incident with its saga, its notes and what can be done; raises NotFound, Unavailable."""
        incident = await self.summary(incident_id)
        saga = (await self._rows.summaries([incident.saga_id])).get(incident.saga_id)
        is_open = incident.state == "open" and saga is not None
        return IncidentDetail(
            **msgspec.structs.asdict(incident),
            saga=saga,
            notes=await self._reads.notes(incident_id),
            closed_by="hand" if _is_closed_by_hand(incident) else "verb",
            verbs=await self._sagas.possible(incident.saga_id) if is_open else [],
        )

    async def assign(
        self,
        incident_id: int,
        actor: str,
        assignee: str | None,
        reason: str | None = None,
        *,
        seen: Seen | None = None,
        request_id: str = "",
        since_ms: int | None = None,
    ) -> IncidentSummary:
        """Say who looks after an open incident (None: nobody); answers how it stands then.

        `since_ms` is when the same request first came, if it may have done it before: then that is looked up first.
        Raises NotFound, IncidentStale (it is not as it was `seen`), IncidentConflict (it is resolved, or somebody acts
        at the same time), InvalidInput, Unavailable.
        """
        if assignee is not None and (len(assignee) > ASSIGNEE_MAX or not says_something(assignee)):
            raise InvalidInput(f"an assignee is 1 to {ASSIGNEE_MAX} printable characters", "/assignee")
        why = reason or ("given back" if assignee is None else f"assigned to {assignee}")

        async def act() -> None:
            acts = (await self._open(incident_id, seen)).acts
            if not await self._store.fetch("assign_incident", incident_id, actor, assignee, why, request_id, acts):
                raise await self._outrun(incident_id)
            _say(ASSIGN, incident_id, actor, why, request_id)

        async def was_done() -> bool:
            return await self._audit.was_done(_acts(ASSIGN, incident_id, actor, since_ms), why, assignee=assignee)

        await do_once(act, was_done, again=since_ms is not None)
        return await self.summary(incident_id)

    async def note(
        self,
        incident_id: int,
        actor: str,
        text: str,
        *,
        seen: Seen | None = None,
        request_id: str = "",
        since_ms: int | None = None,
    ) -> IncidentSummary:
        """Write down what was found out, of an incident open or not; answers how it stands then.

        `since_ms` is when the same request first came, if it may have done it before: then that is looked up first.
        Raises NotFound, IncidentStale, InvalidInput, Unavailable.
        """
        lines = text.strip().replace("\r\n", "\n")
        if not lines or len(lines) > NOTE_MAX or not lines.replace("\n", "").replace("\t", "").isprintable():
            raise InvalidInput(f"a note is 1 to {NOTE_MAX} printable characters, in lines", "/text")
        incident = await self.summary(incident_id)
        if since_ms is not None and await self._reads.has_note(incident_id, actor, lines, since_ms):
            return incident
        _check_seen(incident, seen)
        if await self._store.fetch("note_incident", incident_id, actor, lines, request_id):
            _say(NOTE, incident_id, actor, lines, request_id)
        return await self.summary(incident_id)

    async def resolve(
        self,
        incident_id: int,
        actor: str,
        reason: str,
        *,
        seen: Seen | None = None,
        request_id: str = "",
        since_ms: int | None = None,
    ) -> IncidentSummary:
        """Close an open incident that no verb closes; answers how it stands then.

        `since_ms` is when the same request first came, if it may have done it before: then that is looked up first.
        Raises NotFound, IncidentStale, IncidentConflict (it is resolved, or a verb on its saga is asked for),
        Unavailable.
        """

        async def act() -> None:
            incident = await self._open(incident_id, seen)
            _check_closable(incident)
            arguments = (incident_id, actor, reason, request_id, incident.acts, sorted(BY_HAND))
            if not await self._store.fetch("resolve_incident", *arguments):
                raise await self._outrun(incident_id)
            _say(RESOLVE, incident_id, actor, reason, request_id)

        async def was_done() -> bool:
            return await self._audit.was_done(_acts(RESOLVE, incident_id, actor, since_ms), reason)

        await do_once(act, was_done, again=since_ms is not None)
        return await self.summary(incident_id)

    async def _open(self, incident_id: int, seen: Seen | None) -> IncidentSummary:
        incident = await self.summary(incident_id)
        _check_seen(incident, seen)
        if incident.state != "open":
            raise _closed(incident)
        return incident

    async def _outrun(self, incident_id: int) -> IncidentConflict:
        """What to say when an incident has changed between the look at it and the act."""
        after = await self.summary(incident_id)
        if after.state != "open":
            return _closed(after)
        _check_closable(after)
        return IncidentConflict(f"somebody has just acted on incident {after.id}: look at it again", after)


def _acts(action: str, incident_id: int, actor: str, since_ms: int | None) -> AuditFilter:
    return AuditFilter(actor=actor, action=action, subject=_subject(incident_id), since_ms=since_ms)


def _subject(incident_id: int) -> str:
    return f"incident:{incident_id}"


def _say(action: str, incident_id: int, actor: str, reason: str, request_id: str) -> None:
    say_act(
        actor=actor,
        action=action,
        reason=reason[:REASON_MAX],
        request_id=request_id,
        subject=_subject(incident_id),
    )


def members(incident: IncidentSummary) -> dict[str, Any]:
    """What a refusal says of how an incident stands."""
    return {
        "incident_id": incident.id,
        "incident_state": incident.state,
        "assignee": incident.assignee,
        "saga_id": incident.saga_id,
        "saga_status": incident.saga_status,
    }


def _is_closed_by_hand(incident: IncidentSummary) -> bool:
    return incident.reason in BY_HAND or incident.saga_status != SagaStatus.SUSPENDED


def _check_closable(incident: IncidentSummary) -> None:
    if not _is_closed_by_hand(incident):
        sentence = (
            f"incident {incident.id} is closed by what lets its saga go on: use a verb on saga {incident.saga_id}"
        )
        raise IncidentConflict(sentence, incident)


def _check_seen(incident: IncidentSummary, seen: Seen | None) -> None:
    if seen is not None and seen != Seen(incident.acts, incident.state):
        raise IncidentStale(incident)


def _closed(incident: IncidentSummary) -> IncidentConflict:
    return IncidentConflict(f"incident {incident.id} is resolved by {incident.resolved_by}", incident)
