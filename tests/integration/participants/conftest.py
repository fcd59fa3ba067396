"""Participants as real processes, against a real Kafka and a real Postgres."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from deploy.local.stack import LocalStack
from tests.integration.participants.office import COMMANDS, Office


@pytest.fixture(scope="session")
async def office(stack: LocalStack) -> AsyncIterator[Office]:
    """Give the four participants of orders, running; tests share them, each with sagas of its own."""
    async with _running(stack, *COMMANDS) as shared:
        yield shared


@pytest.fixture(scope="session")
async def bank(stack: LocalStack) -> AsyncIterator[Office]:
    """Give the participants of transfers, running; tests share them, each with sagas and accounts of its own."""
    async with _running(stack, "accounts", "ledger", "notification") as shared:
        yield shared


@pytest.fixture(scope="session")
async def agency(stack: LocalStack) -> AsyncIterator[Office]:
    """Give the participants of trips, running; tests share them, each with sagas and days of its own."""
    async with _running(stack, "hotel", "flight", "car", "notification") as shared:
        yield shared


@asynccontextmanager
async def _running(stack: LocalStack, *participants: str) -> AsyncIterator[Office]:
    name = f"participants_{secrets.token_hex(4)}"
    shared = Office(stack, await asyncio.to_thread(stack.create_database, name), f"{name}.")
    await shared.open(*participants)
    children = [shared.launch(participant) for participant in participants]
    waits = (asyncio.to_thread(child.wait_for_line, r"(?m)^ready$", timeout_s=30) for child in children)
    await asyncio.gather(*waits)
    yield shared
    await asyncio.gather(*(asyncio.to_thread(child.stop) for child in children))
    await shared.close()
    await asyncio.to_thread(stack.postgres.drop_database, name)


@pytest.fixture
async def own_office(stack: LocalStack, fresh_database: str, topic_prefix: str) -> AsyncIterator[Office]:
    """Give an office without participants, for tests that kill or stop them."""
    own = Office(stack, fresh_database, topic_prefix)
    yield own
    await own.close()
