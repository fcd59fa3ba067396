"""One API process for all tests of this folder; the tests use orders of their own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from deploy.local.stack import LocalStack
from tests.integration.api.desk import Desk, open_desk
from tests.integration.api.office import Office, open_offices
from tests.integration.api.server import Api, start_api


@pytest.fixture(scope="session")
def api(stack: LocalStack) -> Iterator[Api]:
    """Give a running coordinator of role `api` with a database and topics of its own."""
    mark = secrets.token_hex(4)
    database = f"api_{mark}"
    running = start_api(stack, f"api-{mark}", database, f"api{mark}.", SAGA_API__BODY_TIMEOUT_SECONDS="1")
    yield running
    running.child.stop()
    stack.postgres.drop_database(database)


@pytest.fixture(scope="module")
async def offices(stack: LocalStack) -> AsyncIterator[Callable[[], Any]]:
    """Give a maker of services that share one database and one set of topics."""
    async with open_offices(stack) as make:
        yield make


@pytest.fixture
async def office(offices: Callable[[], Any]) -> AsyncIterator[Office]:
    """Give one service."""
    async with offices() as made:
        yield made


@pytest.fixture
async def desk(office: Office) -> AsyncIterator[Desk]:
    """Give the app of an office of its own, in this process."""
    async with open_desk(office) as desk:
        yield desk
