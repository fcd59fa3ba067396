"""Dead letters as people look at them: pages of what became of them, and one with everything that is kept of it."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec

from coordinator.store.audit import AuditReads
from coordinator.store.reads import SagaReads
from coordinator.wire.rfc3339 import format_ms

LAST_LETTER = 2**63 - 1


class LetterSummary(msgspec.Struct, frozen=True):
    """A dead letter as lists show it; moments are RFC 3339 text.

    `complete` says that the record is kept uncut; `next_try_at` is when something happens to it by itself.
    """

    id: int
    kind: str
    state: str
    reason: str
    detail: str
    topic: str
    partition: int
    first_offset: int | None
    next_offset: int | None
    value_length: int | None
    complete: bool
    edited: bool
    saga_id: str | None
    command_id: str | None
    tries: int
    at: str
    next_try_at: str | None
    changed_at: str | None
    changed_by: str | None
    changed_because: str | None


class KeptLetter(msgspec.Struct, frozen=True):
    """A dead letter with its bytes, as they came and as somebody edited them; headers are JSON text."""

    summary: LetterSummary
    cluster_id: str | None
    key: bytes | None
    value: bytes | None
    headers: bytes
    edited_value: bytes | None
    edited_headers: bytes | None


class LetterFilter(msgspec.Struct, frozen=True):
    """Which letters to list; None means any."""

    state: str | None = None
    kind: str | None = None
    reason: str | None = None
    saga_id: str | None = None


class LetterReads:
    """Reads of dead letters over the pool of all reads."""

    def __init__(self, reads: SagaReads) -> None:
        self._reads = reads
        self.audit = AuditReads(reads)

    async def page(self, chosen: LetterFilter, before: int | None, limit: int) -> list[LetterSummary]:
        """Letters that fit a filter, newest first, from behind the id `before`; raises Unavailable."""
        arguments: list[Any] = [LAST_LETTER if before is None else before, limit, chosen.kind, chosen.reason]
        name = "list_dead_letters"
        if chosen.saga_id is not None:
            name = "list_dead_letters_of_saga"
            arguments += [chosen.state, chosen.saga_id]
        elif chosen.state is not None:
            name = "list_dead_letters_by_state"
            arguments.append(chosen.state)
        return [_summary(row) for row in await self._reads.fetch(name, *arguments)]

    async def letter(self, letter_id: int) -> KeptLetter | None:
        """One letter; raises Unavailable."""
        rows = await self._reads.fetch("get_dead_letter", letter_id)
        if not rows:
            return None
        [row] = rows
        return KeptLetter(
            _summary(row),
            row["cluster_id"],
            row["key"],
            row["value"],
            row["headers"],
            row["edited_value"],
            row["edited_headers"],
        )


def _summary(row: asyncpg.Record) -> LetterSummary:
    next_try_ms, changed_ms = row["next_try_ms"], row["changed_ms"]
    return LetterSummary(
        row["id"],
        row["kind"],
        row["state"],
        row["reason"],
        row["detail"],
        row["topic"],
        row["partition"],
        row["first_offset"],
        row["next_offset"],
        row["value_length"],
        row["complete"],
        row["edited"],
        row["saga_id"],
        row["command_id"],
        row["tries"],
        format_ms(row["at_ms"]),
        None if next_try_ms is None else format_ms(next_try_ms),
        None if changed_ms is None else format_ms(changed_ms),
        row["changed_by"],
        row["changed_because"],
    )
