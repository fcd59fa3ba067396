"""The store's sessions: what they refuse, and how they come back."""

from __future__ import annotations

import contextlib

import asyncpg
import pytest

from coordinator.errors import ConfigurationError, Unavailable
from coordinator.store.database import APPLICATION_NAME
from coordinator.store.postgres import PostgresStore
from tests.integration.store.workload import Connection


async def test_a_server_that_may_forget_is_refused(fresh_database: str) -> None:
    """With synchronous_commit=off the store does not start, and says which setting must change."""
    connection = await asyncpg.connect(fresh_database)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    await connection.close()
    store = PostgresStore(fresh_database)
    with pytest.raises(ConfigurationError, match="synchronous_commit=off"):
        await store.start()
    await store.stop()


async def test_a_database_that_is_not_there_is_named(database: str) -> None:
    """A wrong database name ends with a message about the setting, not with a wait."""
    store = PostgresStore(database.replace("/store_", "/nowhere_"))
    with pytest.raises(ConfigurationError, match="nowhere_"):
        await store.start()


async def test_a_lost_session_is_opened_anew(store: PostgresStore, plain: Connection) -> None:
    """A session that Postgres ends fails one call at most, with Unavailable; the next call works."""
    await store.now_ms()
    await plain.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = $1 AND datname = current_database()",
        APPLICATION_NAME,
    )
    with contextlib.suppress(Unavailable):
        await store.now_ms()
    assert await store.now_ms() > 0
