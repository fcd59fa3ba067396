"""A database, an observer, and the verb `replay`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from coordinator.choreography.replaying import Replays
from coordinator.parts import SystemClock
from coordinator.store.migrations import migrate
from coordinator.store.reads import SagaReads
from deploy.local.stack import LocalStack
from tests.integration.choreography.watching import (
    CHOREOGRAPHIES,
    DeafStore,
    Watch,
    registered_ids,
)


@pytest.fixture(scope="module")
async def database(stack: LocalStack) -> AsyncIterator[str]:
    """Give the URL, for its owner, of a database at the newest migration."""
    name = f"observer_{secrets.token_hex(4)}"
    url = await asyncio.to_thread(stack.create_database, name)
    await migrate(url, stack.application_url(url))
    yield url
    await asyncio.to_thread(stack.postgres.drop_database, name)


@pytest.fixture
def application_url(stack: LocalStack, database: str) -> str:
    """Give the URL of that database for the coordinator, whose role owns nothing."""
    return stack.application_url(database)


@pytest.fixture
async def watch(application_url: str) -> AsyncIterator[Watch]:
    """Give an observer."""
    watch = Watch(DeafStore(application_url))
    await watch.store.start()
    CHOREOGRAPHIES.bind(await registered_ids(watch.store))
    await watch.know_the_time()
    yield watch
    await watch.store.stop()


@pytest.fixture
async def replays(watch: Watch, application_url: str) -> AsyncIterator[Replays]:
    """Give the verb `replay`."""
    reads = SagaReads(application_url, pool_max=2)
    yield Replays(watch.store, reads, CHOREOGRAPHIES, SystemClock())
    await reads.stop()


@pytest.fixture
async def plain(database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Give a connection to look at the tables with."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()
