"""What people and programs ask about sagas: read-only queries over a pool of their own.

Every query is bounded by an index and a limit, and Postgres ends one that takes too long. A read that loses its
connection is repeated once, on another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import msgspec

from coordinator.errors import Unavailable
from coordinator.store.database import CONNECT_TIMEOUT_S, GONE, statement
from coordinator.store.lists import list_query
from coordinator.wire.rfc3339 import format_ms

STATEMENT_TIMEOUT_S = 5
ACQUIRE_TIMEOUT_S = 3.0  # a pool that is empty for so long is a system that is too busy

_SESSION = {
    "application_name": "saga-coordinator-reads",
    "timezone": "UTC",
    "jit": "off",
    "default_transaction_read_only": "on",
    "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
    # A page is a short walk along an index, for each status a walk of its own. Whatever the statistics say (those of
    # a table that was empty a minute ago, for one), nothing that reads more before it answers may seem cheaper.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_incremental_sort": "off",
}

_GONE = (
    *GONE,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)

T = TypeVar("T")

if TYPE_CHECKING:
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    _Base = asyncpg.Connection[asyncpg.Record]
else:  # generic in its stubs only
    _Base = asyncpg.Connection


class SagaSummary(msgspec.Struct, frozen=True):
    """A saga as lists show it; `version` counts its transitions, moments are RFC 3339 text."""

    id: str
    definition: str
    definition_version: int
    business_key: str
    status: str
    version: int
    created_at: str
    updated_at: str
    deadline: str | None


class Incident(msgspec.Struct, frozen=True):
    """A problem of a saga that needs, or needed, a person; `assignee` is who looks after it."""

    id: int
    reason: str
    step_name: str | None
    detail: str
    saga_version: int
    opened_at: str
    assignee: str | None
    resolved_at: str | None
    resolved_by: str | None
    resolved_because: str | None


class LogEntry(msgspec.Struct, frozen=True):
    """One transition of a saga; `data` is what the event carried."""

    version: int
    at: str
    event: str
    step_name: str | None
    status: str
    data: msgspec.Raw


class SagaRecord(msgspec.Struct, frozen=True):
    """A saga with everything that belongs to it; `log` is None when it was not asked for."""

    summary: SagaSummary
    definition_id: int
    part: int
    traceparent: str | None
    input: bytes
    state: bytes
    incidents: list[Incident]
    labels: dict[str, str]
    log: list[LogEntry] | None


class DefinitionUse(msgspec.Struct, frozen=True):
    """A content of a version and what runs on it; `in_flight` are all sagas that have not ended, suspended or not.

    `known_by` of `replicas` live processes can run it. `replaced` means that the version has another content now.
    """

    name: str
    version: int
    content_hash: str | None
    replaced: bool
    in_flight: int
    suspended: int
    known_by: int
    replicas: int


class ListFilter(msgspec.Struct, frozen=True):
    """Which sagas to list: begun at or after `since_ms` and before `until_ms`; None means any.

    `step` and `participant` are where sagas wait or, suspended, hang. A saga has all of `labels` (name, value) and an
    open incident for the reason `incident`. `definitions` are the names of those that may be known of.
    """

    statuses: tuple[str, ...] | None = None
    definition: str | None = None
    business_key: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    version: int | None = None
    step: str | None = None
    participant: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    incident: str | None = None
    definitions: frozenset[str] | None = None


class FoundSagas(msgspec.Struct, frozen=True):
    """A page of a list; `behind` is where the next one begins, None at the end of the list.

    A page may be short, even empty, and not be the last: the statement looks at so many sagas and no more.
    """

    sagas: list[SagaSummary]
    behind: str | None


class SagaReads:
    """Reads over at most `pool_max` connections, opened when they are needed."""

    def __init__(self, url: str, pool_max: int) -> None:
        self._url = url
        self._pool_max = pool_max
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    async def stop(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), timeout=2)
            except TimeoutError:
                self._pool.terminate()
            self._pool = None

    async def saga(self, saga_id: str, log_limit: int = 0) -> SagaRecord | None:
        """One saga with its incidents and, with a `log_limit`, so many entries of its log; all of one moment."""

        async def read(connection: Connection) -> SagaRecord | None:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                row = await connection.fetchrow(statement("get_saga"), saga_id)
                if row is None:
                    return None
                incidents = await connection.fetch(statement("list_incidents"), saga_id)
                labels = await connection.fetch(statement("get_labels"), [saga_id])
                log = await connection.fetch(statement("get_log"), saga_id, 0, log_limit) if log_limit else None
            return SagaRecord(
                _summary(row),
                row["definition_id"],
                row["part"],
                row["traceparent"],
                row["input"],
                row["state"],
                [_incident(incident) for incident in incidents],
                {label["name"]: label["value"] for label in labels},
                None if log is None else [_log_entry(entry) for entry in log],
            )

        return await self._run(read)

    async def log(self, saga_id: str, after: int, limit: int) -> list[LogEntry]:
        """Entries of a saga's log behind version `after`, oldest first."""
        return [_log_entry(row) for row in await self._fetch("get_log", saga_id, after, limit)]

    async def summaries(self, saga_ids: Sequence[str]) -> dict[str, SagaSummary]:
        """Sagas by id; unknown ids are left out."""
        return {row["id"]: _summary(row) for row in await self._fetch("list_summaries", saga_ids)}

    async def page(self, chosen: ListFilter, before: str | None, limit: int) -> FoundSagas:
        """Up to `limit` sagas that fit a filter, newest first, from behind the id `before`."""
        name, arguments = list_query(chosen, before, limit + 1)
        rows = await self._fetch(name, *arguments)
        cut = rows[0]["cut"] if rows else None
        sagas = [_summary(row) for row in rows[:limit] if row["id"] is not None]
        return FoundSagas(sagas, sagas[-1].id if len(rows) > limit else cut)

    async def labels(self, saga_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """The labels of sagas by id; sagas without one are left out."""
        labels: dict[str, dict[str, str]] = {}
        for row in await self._fetch("get_labels", saga_ids):
            labels.setdefault(row["saga_id"], {})[row["name"]] = row["value"]
        return labels

    async def was_done(self, action: str, saga_id: str, version: int, actor: str, reason: str) -> bool:
        """Whether the act that left `version` of a saga was this one."""
        return bool(await self._fetch("get_act", saga_id, action, version, actor, reason))

    async def definitions(self, live_s: int) -> list[DefinitionUse]:
        """Every version that was ever registered, by name; replicas count that were seen in the last `live_s`."""
        return [DefinitionUse(**row) for row in await self._fetch("list_definitions", live_s)]

    async def migration(self) -> str | None:
        """The migration at which the database stands; None when it has none."""
        try:
            rows = await self._fetch("get_migration")
        except _NotMigrated:
            return None
        return rows[0]["version_num"] if rows else None

    async def secret(self) -> bytes:
        """The secret that all processes of the installation seal cursors with."""
        return bytes((await self._fetch("get_installation"))[0]["secret"])

    async def log_days_ahead(self) -> int:
        """For how many days from tomorrow on the log has partitions without a gap."""
        return int((await self._fetch("log_days_ahead"))[0]["days"])

    async def held(self) -> dict[str, int]:
        """How many sagas queue for each participant."""
        return {row["participant"]: row["sagas"] for row in await self._fetch("count_held", None)}

    async def ping(self) -> None:
        """Ask Postgres for the time; raises Unavailable."""
        await self._fetch("now")

    async def fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run one of the other reading statements of queries/."""
        return await self._fetch(name, *arguments)

    async def _fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        return await self._run(lambda connection: connection.fetch(statement(name), *arguments))

    async def _run(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        pool = await self._opened()
        for again in (True, False):
            try:
                async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                    return await read(connection)
            except asyncpg.QueryCanceledError as error:
                raise Unavailable(f"Postgres took longer than {STATEMENT_TIMEOUT_S} s to answer") from error
            except TimeoutError as error:
                raise Unavailable("Postgres does not answer in time, or every connection is busy") from error
            except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
                raise _NotMigrated(
                    "the database does not have the tables of this version: run `saga migrate`"
                ) from error
            except _GONE as error:
                if isinstance(error, ValueError):  # a value that the driver cannot encode: ours to fix
                    raise
                if not again:
                    raise Unavailable(f"Postgres does not answer: {error or type(error).__name__}") from error
        raise AssertionError  # the loop answers or raises

    async def _opened(self) -> asyncpg.Pool[asyncpg.Record]:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=self._pool_max,
                    timeout=CONNECT_TIMEOUT_S,
                    command_timeout=STATEMENT_TIMEOUT_S + 1,
                    connection_class=_PooledConnection,
                    server_settings=_SESSION,
                )
            return self._pool


class _NotMigrated(Unavailable):
    """A table is missing."""


class _PooledConnection(_Base):
    def get_reset_query(self) -> str:
        # No query here leaves anything behind in its session; the usual reset would double the round trips.
        return ""


def _summary(row: asyncpg.Record) -> SagaSummary:
    deadline_ms = row["deadline_ms"]
    return SagaSummary(
        row["id"],
        row["definition"],
        row["definition_version"],
        row["business_key"],
        row["status"],
        row["version"],
        format_ms(row["created_ms"]),
        format_ms(row["updated_ms"]),
        None if deadline_ms is None else format_ms(deadline_ms),
    )


def _incident(row: asyncpg.Record) -> Incident:
    resolved_ms = row["resolved_ms"]
    return Incident(
        row["id"],
        row["reason"],
        row["step_name"],
        row["detail"],
        row["saga_version"],
        format_ms(row["opened_ms"]),
        row["assignee"],
        None if resolved_ms is None else format_ms(resolved_ms),
        row["resolved_by"],
        row["resolved_because"],
    )


def _log_entry(row: asyncpg.Record) -> LogEntry:
    return LogEntry(
        row["version"],
        format_ms(row["at_ms"]),
        row["event"],
        row["step_name"],
        row["status"],
        msgspec.Raw(row["data"]),
    )
