"""One coordinator of role `api` for all tests of this folder, which asks everybody for a key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.stack import LocalStack
from tests.integration.api.guarded import open_guarded
from tests.integration.cli.terminal import Terminal


@pytest.fixture(scope="session")
def terminal(stack: LocalStack) -> Iterator[Terminal]:
    """Give an administrator's terminal before a running coordinator with a database and topics of its own."""
    with open_guarded(stack) as guarded:
        yield Terminal(guarded)
