"""A migrated database that the tests of the store share, each with sagas of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from coordinator.store.migrations import migrate
from coordinator.store.postgres import PostgresStore
from deploy.local.stack import LocalStack
from tests.integration.store.workload import Connection, Workload


@pytest.fixture(scope="session")
async def database(stack: LocalStack) -> AsyncIterator[str]:
    """Give the URL, for its owner, of a database at the newest migration."""
    name = f"store_{secrets.token_hex(4)}"
    url = await asyncio.to_thread(stack.create_database, name)
    await migrate(url, stack.application_url(url))
    yield url
    await asyncio.to_thread(stack.postgres.drop_database, name)


@pytest.fixture
def application_url(stack: LocalStack, database: str) -> str:
    """Give the URL of that database for the coordinator, whose role owns nothing."""
    return stack.application_url(database)


@pytest.fixture
async def store(application_url: str) -> AsyncIterator[PostgresStore]:
    """Give a store that is connected."""
    store = PostgresStore(application_url)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
async def other_store(application_url: str) -> AsyncIterator[PostgresStore]:
    """Give the store of another process."""
    store = PostgresStore(application_url)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
async def plain(database: str) -> AsyncIterator[Connection]:
    """Give a connection of the owner, to look at the tables with."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@pytest.fixture
async def workload(store: PostgresStore) -> Workload:
    """Give a maker of batches, as engine and API write them."""
    return await Workload.ready(store)
