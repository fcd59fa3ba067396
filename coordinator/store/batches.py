"""Batch operations in Postgres: what was asked, the sagas of each, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import asyncpg
import msgspec

from coordinator.observability.acts import say_act
from coordinator.store.postgres import PostgresStore

FIRST_ID = "00000000-0000-0000-0000-000000000000"


class BatchRecord(msgspec.Struct, frozen=True):
    """A batch operation as its row holds it; `members` are what its verb says besides the reason."""

    id: str
    verb: str
    state: str
    members: dict[str, Any]
    filter: dict[str, Any]
    statuses: frozenset[str]
    scope: frozenset[str] | None
    rate: int
    actor: str
    reason: str
    total: int
    done: int
    refused: int
    failed: int
    created_ms: int
    changed_ms: int
    ended_ms: int | None


class NewBatch(msgspec.Struct, frozen=True):
    """A batch operation that was confirmed, with its sagas and their versions as array literals."""

    id: str
    actor: str
    reason: str
    verb: str
    members: dict[str, Any]
    filter: dict[str, Any]
    statuses: Sequence[str]
    scope: Sequence[str] | None
    confirmation: bytes
    rate: int
    saga_ids: str
    versions: str


class BatchItem(msgspec.Struct, frozen=True):
    """A saga of a batch operation, at the version that was confirmed."""

    saga_id: str
    version: int


class ItemOutcome(msgspec.Struct, frozen=True):
    """What came of a saga: `done` at `version_after`, or `refused` or `failed`, and why."""

    saga_id: str
    outcome: str
    detail: str | None = None
    version_after: int | None = None


class ItemRecord(msgspec.Struct, frozen=True):
    """A saga of a batch operation as people see it; its outcome is `left` while it has none."""

    saga_id: str
    version: int
    version_after: int | None
    outcome: str
    detail: str | None


class Fetching(Protocol):
    """Runs a statement of queries/ by its name."""

    async def fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]: ...  # noqa: D102


class BatchStore:
    """The tables of batch operations; every method raises Unavailable."""

    def __init__(self, store: PostgresStore, reads: Fetching) -> None:
        self._store = store
        self._reads = reads

    async def now_ms(self) -> int:
        """The database's clock."""
        return int((await self._reads.fetch("now"))[0]["now_ms"])

    async def create(self, new: NewBatch, request_id: str) -> bool:
        """Begin a batch operation; False when its confirmation has begun one already."""
        rows = await self._store.fetch(
            "create_batch_operation",
            new.id,
            new.actor,
            new.reason,
            new.verb,
            _text(new.members),
            _text(new.filter),
            new.statuses,
            new.scope,
            new.confirmation,
            new.rate,
            new.saga_ids,
            new.versions,
            request_id,
        )
        created = bool(rows[0]["created"])
        if created:
            _say("batch_create", new.id, new.actor, new.reason, request_id)
        return created

    async def get(self, operation_id: str) -> BatchRecord | None:
        """One batch operation."""
        rows = await self._reads.fetch("get_batch_operation", operation_id)
        return _record(rows[0]) if rows else None

    async def of_confirmation(self, confirmation: bytes) -> BatchRecord | None:
        """The batch operation that a confirmation began."""
        rows = await self._reads.fetch("find_batch_operation", confirmation)
        return _record(rows[0]) if rows else None

    async def page(
        self, before: str, state: str | None, definitions: frozenset[str] | None, limit: int
    ) -> list[BatchRecord]:
        """Batch operations, newest first, of which somebody who knows these definitions may know."""
        known = None if definitions is None else sorted(definitions)
        return [_record(row) for row in await self._reads.fetch("list_batch_operations", before, state, known, limit)]

    async def items(self, operation_id: str, after: str, outcome: str | None, limit: int) -> list[ItemRecord]:
        """Sagas of a batch operation, oldest first."""
        rows = await self._reads.fetch("list_batch_items", operation_id, after, outcome, limit)
        return [ItemRecord(**row) for row in rows]

    async def change(
        self,
        operation_id: str,
        allowed: Sequence[str],
        state: str,
        action: str,
        actor: str,
        reason: str,
        request_id: str,
    ) -> bool:
        """Take a batch operation from one of these states to another; False when it is in none of them."""
        arguments = (operation_id, allowed, state, action, actor, reason, request_id)
        rows = await self._store.fetch("change_batch_operation", *arguments)
        if rows:
            _say(action, operation_id, actor, reason, request_id)
        return bool(rows)

    # ------------------------------------------------------------ for whoever does them

    async def claim(self, owner: str, limit: int) -> list[BatchRecord]:
        """Become the one who does batch operations that nobody does."""
        return [_record(row) for row in await self._store.fetch("claim_batch_operations", owner, limit)]

    async def keep(self, operation_id: str, owner: str) -> bool:
        """Go on being the one who does it; False when it shall not run, or is another's."""
        return bool(await self._store.fetch("keep_batch_operation", operation_id, owner))

    async def leave(self, owner: str) -> None:
        """Do none any longer."""
        await self._store.fetch("leave_batch_operations", owner)

    async def next_items(self, operation_id: str, after: str, limit: int) -> list[BatchItem]:
        """Sagas that have no outcome yet."""
        rows = await self._store.fetch("next_batch_items", operation_id, after, limit)
        return [BatchItem(row["saga_id"], row["version"]) for row in rows]

    async def record(self, operation_id: str, outcomes: Sequence[ItemOutcome]) -> None:
        """Say what came of sagas; each is counted once."""
        columns = zip(*map(msgspec.structs.astuple, outcomes), strict=True)
        await self._store.fetch("record_batch_items", operation_id, *columns)

    async def end(self, operation_id: str) -> bool:
        """Let a batch operation be done; False when a saga has no outcome."""
        return bool(await self._store.fetch("end_batch_operation", operation_id))

    async def acts(self, saga_ids: Sequence[str], request_id: str) -> dict[str, int]:
        """Which of these sagas were acted on under a request's id, and to which version."""
        rows = await self._store.fetch("find_batch_acts", saga_ids, request_id)
        return {row["saga_id"]: row["version_after"] for row in rows}


def _say(action: str, operation_id: str, actor: str, reason: str, request_id: str) -> None:
    say_act(actor=actor, action=action, reason=reason, request_id=request_id, subject=f"batch:{operation_id}")


def _record(row: asyncpg.Record) -> BatchRecord:
    values = dict(row)
    values["members"] = msgspec.json.decode(values["members"])
    values["filter"] = msgspec.json.decode(values["filter"])
    values["statuses"] = frozenset(values["statuses"])
    values["scope"] = None if values["scope"] is None else frozenset(values["scope"])
    return BatchRecord(**values)


def _text(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
