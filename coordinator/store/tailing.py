"""Following the log in its order, over a session of its own that nobody else waits for.

An entry's time is when its statement began, so entries become visible out of order. Behind the horizon none is missing:
what is read up to there, in the order of time, is never added to. So a place in the log is all that a reader needs to
know in order to go on later without a gap and without a repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from coordinator.errors import Unavailable
from coordinator.store.database import CONNECT_TIMEOUT_S, GONE, statement
from coordinator.wire.rfc3339 import format_ms

STRAGGLER_S = 15.0  # a statement that has not ended after so long is not waited for
FIRST_ID = "00000000-0000-0000-0000-000000000000"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMEOUT_S = 10
_SESSION = {
    "application_name": "saga-coordinator-tail",  # not the writers': they would wait for us
    "timezone": "UTC",
    "jit": "off",
    "statement_timeout": f"{_TIMEOUT_S}s",
    "lock_timeout": "200ms",
    # Which day of the log a place lies in is known only with the place.
    "plan_cache_mode": "force_custom_plan",
    # A short look at the end of a long log, whatever the statistics of a day that was empty a minute ago say.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
}


class Place(msgspec.Struct, frozen=True, order=True):
    """A place in the log: behind the entry with this time (microseconds), saga and version."""

    at_us: int
    saga_id: str = FIRST_ID
    version: int = 0

    @property
    def at(self) -> datetime:
        """The moment."""
        return _EPOCH + self.at_us * _MICROSECOND


class Entry(msgspec.Struct, frozen=True):
    """An entry of the log, without what the event carried."""

    place: Place
    definition: str
    event: str
    step_name: str | None
    status: str
    at: str


class LogTail:
    """Reads the log; every call raises Unavailable when Postgres does not answer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = asyncio.Lock()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def horizon(self) -> Place:
        """Find the present end of what is complete."""
        [row] = await self._fetch("log_horizon", STRAGGLER_S)
        return place_at(row["horizon"])

    async def between(
        self,
        after: Place,
        before: Place,
        limit: int,
        saga_ids: Sequence[str] | None = None,
        definitions: Sequence[str] | None = None,
    ) -> list[Entry]:
        """Read entries behind one place and before the moment of another, at most `limit`."""
        rows = await self._fetch(
            "log_between", after.at, after.saga_id, after.version, before.at, saga_ids, definitions, limit
        )
        return [_entry(row) for row in rows]

    async def summarize(self) -> None:
        """Keep the index by time up to date, as far as that is to be had without waiting."""
        with contextlib.suppress(Unavailable):
            await self._fetch("summarize_log")

    async def close(self) -> None:
        """Let go of the session; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=1)
            except (*GONE, asyncpg.PostgresError):
                connection.terminate()

    async def _fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self._lock:
            try:
                return await (await self._connected()).fetch(statement(name), *arguments)
            except asyncpg.QueryCanceledError as error:
                raise Unavailable(f"Postgres took longer than {_TIMEOUT_S} s to answer") from error
            except GONE as error:
                if self._connection is not None:
                    self._connection.terminate()
                self._connection = None
                raise Unavailable(f"Postgres does not answer: {error or type(error).__name__}") from error
            except asyncpg.PostgresError as error:
                raise Unavailable(f"Postgres refuses the statement: {error.sqlstate} {error}") from error

    async def _connected(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._url, timeout=CONNECT_TIMEOUT_S, command_timeout=_TIMEOUT_S + 1, server_settings=_SESSION
            )
        return self._connection


def place_at(moment: datetime) -> Place:
    """The place before all entries of a moment."""
    return Place((moment - _EPOCH) // _MICROSECOND)


def _entry(row: asyncpg.Record) -> Entry:
    at_us = (row["at"] - _EPOCH) // _MICROSECOND
    return Entry(
        Place(at_us, row["saga_id"], row["version"]),
        row["definition"],
        row["event"],
        row["step_name"],
        row["status"],
        format_ms(at_us // 1000),
    )
