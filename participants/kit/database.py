"""The participant's way to Postgres: schema at start, and connections that come back after an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import structlog

from participants.kit.participant import Connection, Participant
from participants.kit.statements import kit_tables

log = structlog.get_logger()

UNREACHABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
)
AGAIN: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)

# A process that was paused in mid-transaction must not hold an action's row for longer than a command may take, and a
# row that somebody else holds must not hold up the commands that do not need it.
SESSION: Final = {
    "idle_in_transaction_session_timeout": "10000",
    "lock_timeout": "1000",
    "statement_timeout": "30000",
    "synchronous_commit": "on",
    "jit": "off",
}


class InstanceTaken(Exception):
    """Another live process has the same stable name; the two would throw each other out of the group for ever."""


class ConnectionLost(ConnectionError):
    """The connection went away under a handler."""


class Database:
    """One connection, opened when it is first asked for and again whenever it was lost; one user at a time."""

    def __init__(self, url: str, schema: str) -> None:
        self.url = url
        self.schema = schema
        self._connection: Connection | None = None
        self._in_use = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend the live connection; wait for Postgres, and say so, while it is not there."""
        async with self._in_use:
            while self._connection is None or self._connection.is_closed():
                try:
                    self._connection = await self._open()
                except UNREACHABLE as error:
                    log.warning("waiting_for_postgres", error=str(error) or type(error).__name__)
                    await asyncio.sleep(0.5)
            yield self._connection

    async def _open(self) -> Connection:
        settings = {"search_path": self.schema, "application_name": f"participant-{self.schema}", **SESSION}
        return await asyncpg.connect(self.url, timeout=10, server_settings=settings)

    async def close(self) -> None:
        """Close the connection, if there is one, within a second."""
        if self._connection is not None and not self._connection.is_closed():
            try:
                await self._connection.close(timeout=1)
            except UNREACHABLE:
                self._connection.terminate()


async def create_tables(database: Database, participant: Participant) -> None:
    """Create the participant's schema, the kit's tables and its own; any number of processes may do so at once."""
    while True:
        try:
            async with database.connection() as connection, connection.transaction():
                await connection.execute(
                    "select pg_advisory_xact_lock(hashtextextended($1, 0))", f"participant {participant.name}"
                )
                await connection.execute(f'create schema if not exists "{participant.name}"')
                await connection.execute(kit_tables())
                await connection.execute(participant.tables.read_text())
        except (*UNREACHABLE, *AGAIN) as error:
            log.warning("waiting_for_postgres", error=str(error) or type(error).__name__)
            await asyncio.sleep(0.5)
        else:
            return


async def hold_instance(database: Database, participant: Participant, instance: str, patience_s: float = 3.0) -> None:
    """Take a process's stable name, for as long as its connection lives; raises `InstanceTaken`.

    A process that was killed has let go of the name as soon as Postgres sees its connection closed, hence the patience.
    """
    name = f"participant {participant.name} instance {instance}"
    query = "select pg_try_advisory_lock(hashtextextended($1, 0))"
    until = asyncio.get_running_loop().time() + patience_s
    while True:
        async with database.connection() as connection:
            if await connection.fetchval(query, name):
                return
        if asyncio.get_running_loop().time() > until:
            taken = f"another process runs as instance {instance!r} of {participant.name}"
            raise InstanceTaken(f"{taken}: give this one another name")
        await asyncio.sleep(0.1)
