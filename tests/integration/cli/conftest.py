"""One coordinator of role `api` for all tests of this folder; the tests use orders of their own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from deploy.local.stack import LocalStack
from tests.integration.api.server import start_api
from tests.integration.cli.terminal import Terminal


@pytest.fixture(scope="session")
def terminal(stack: LocalStack) -> Iterator[Terminal]:
    """Give a terminal before a running coordinator with a database and topics of its own."""
    mark = secrets.token_hex(4)
    database = f"cli_{mark}"
    api = start_api(stack, f"cli-{mark}", database, f"cli{mark}.")
    yield Terminal(api)
    api.child.stop()
    stack.postgres.drop_database(database)
