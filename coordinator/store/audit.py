"""The audit as people look at it: pages of what was done and what was refused, newest first."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec

from coordinator.store.reads import SagaReads
from coordinator.wire.rfc3339 import format_ms

LAST_ACT = 2**63 - 1
ALIKE_MAX = 200  # acts that are looked at to find one


class AuditEntry(msgspec.Struct, frozen=True):
    """An act, or a refusal of one; moments are RFC 3339 text.

    It was done to a saga, to a dead letter, or to what `subject` names. `state_before` and `state_after` say how that
    stood; of a refusal, `state_after` says the answer's status and how many times the same was refused.
    """

    id: int
    at: str
    actor: str
    action: str
    outcome: str
    saga_id: str | None
    letter_id: int | None
    subject: str | None
    reason: str
    request_id: str
    version_before: int | None
    version_after: int | None
    state_before: msgspec.Raw | None
    state_after: msgspec.Raw | None


class AuditFilter(msgspec.Struct, frozen=True):
    """Which entries to list: at or after `since_ms` and before `until_ms`; None means any."""

    actor: str | None = None
    action: str | None = None
    saga_id: str | None = None
    letter_id: int | None = None
    subject: str | None = None
    outcome: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def is_about_two_things(self) -> bool:
        """Whether no entry can fit: each is about one thing."""
        return sum(thing is not None for thing in (self.saga_id, self.letter_id, self.subject)) > 1


class AuditReads:
    """Reads of the audit over the pool of all reads."""

    def __init__(self, reads: SagaReads) -> None:
        self._reads = reads

    async def page(self, chosen: AuditFilter, before: int | None, limit: int) -> list[AuditEntry]:
        """Entries that fit a filter, newest first, from behind the id `before`; raises Unavailable."""
        if chosen.is_about_two_things:
            return []
        first, last = 0, LAST_ACT if before is None else before
        if chosen.since_ms is not None or chosen.until_ms is not None:
            [ids] = await self._reads.fetch("find_act_ids", chosen.since_ms, chosen.until_ms)
            first, last = ids["after"] or first, min(last, ids["before"] or last)
        name, arguments = _query(chosen)
        rows = await self._reads.fetch(name, last, limit, first, chosen.since_ms, chosen.until_ms, *arguments)
        return [_entry(row) for row in rows]

    async def was_done(self, chosen: AuditFilter, reason: str, **after: Any) -> bool:
        """Whether an act that fits a filter was done because of `reason` and left `after`; raises Unavailable."""
        for entry in await self.page(chosen, None, ALIKE_MAX):
            state = {} if entry.state_after is None else msgspec.json.decode(entry.state_after)
            if entry.outcome == "done" and entry.reason == reason and state == state | after:
                return True
        return False


def _query(chosen: AuditFilter) -> tuple[str, tuple[Any, ...]]:
    """The statement whose index has the fewest other entries in it, and its arguments behind the bounds."""
    outcome, actor, action = chosen.outcome, chosen.actor, chosen.action
    refused = outcome == "refused"
    for name, thing in (
        ("list_acts_of_saga", chosen.saga_id),
        ("list_acts_of_letter", chosen.letter_id),
        ("list_acts_of_subject", chosen.subject),
    ):
        if thing is not None:
            return name, (outcome, thing, actor, action)
    if actor is not None and action is not None:
        return "list_acts_by_actor_and_action", (outcome, actor, action)
    if actor is not None:
        return ("list_refusals_by_actor", (actor,)) if refused else ("list_acts_by_actor", (outcome, actor))
    if action is not None:
        return ("list_refusals_by_action", (action,)) if refused else ("list_acts_by_action", (outcome, action))
    return ("list_acts", ()) if outcome is None else ("list_acts_by_outcome", (outcome,))


def _entry(row: asyncpg.Record) -> AuditEntry:
    return AuditEntry(
        row["id"],
        format_ms(row["at_ms"]),
        row["actor"],
        row["action"],
        row["outcome"],
        row["saga_id"],
        row["letter_id"],
        row["subject"],
        row["reason"],
        row["request_id"],
        row["version_before"],
        row["version_after"],
        _json(row["state_before"]),
        _json(row["state_after"]),
    )


def _json(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())
