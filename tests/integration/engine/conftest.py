"""An engine process without participants: the tests are the participants, and worse."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deploy.local.stack import LocalStack
from tests.e2e.world import World
from tests.integration.engine.bench import Bench
from tests.needs import need_real_kafka


@pytest.fixture(scope="session")
async def bench(stack: LocalStack) -> AsyncIterator[Bench]:
    """Give a running engine and a pool of sagas that wait for their first reply."""
    need_real_kafka(stack, "raw batches, transactions")
    world = World(stack)
    try:
        await world.open(participants=())
        bench = Bench(world)
        await bench.open()
        yield bench
    finally:
        await world.close()
