"""The line between the coordinator and a server loses everything, one way or both, and nobody is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest

from deploy.local.kafka_jvm import JvmBroker
from deploy.local.postgres_server import LocalPostgres
from deploy.local.stack import LocalStack
from tests.e2e.world import Coordinator, World
from tests.faults.apart import Apart, Ways, why_not
from tests.faults.definitions import BRIEF
from tests.faults.listeners import at, listen_beside, serve_beside
from tests.faults.load import Say, under_load

pytestmark = pytest.mark.timeout(300)

BOUND_S = 10.0
CUT_S = 12.0  # longer than a session of the group


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    """Give a network namespace; where there can be none, these tests say why."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with Apart() as apart:
        yield apart


@pytest.fixture(scope="module")
def broker_port(apart: Apart, stack: LocalStack) -> int:
    """Give the port at which the broker serves the namespace."""
    assert isinstance(stack.kafka, JvmBroker)
    return listen_beside(stack.kafka, apart.here)


@pytest.fixture(scope="module")
def database_port(apart: Apart, stack: LocalStack) -> int:
    """Give the port at which Postgres serves the namespace."""
    assert isinstance(stack.postgres, LocalPostgres)
    serve_beside(stack.postgres, apart.here)
    return int(urlsplit(stack.postgres.admin_url).port or 0)


@pytest.fixture
async def coordinator(apart: Apart, broker_port: int, database_port: int, world: World) -> AsyncIterator[Coordinator]:
    """Give a coordinator inside the namespace."""
    url = at(world.environment()["SAGA_DATABASE__URL"], apart.here)
    brokers = f"{apart.here}:{broker_port}"
    coordinator = apart.launch(world, "coordinator", SAGA_KAFKA__BOOTSTRAP_SERVERS=brokers, SAGA_DATABASE__URL=url)
    await coordinator.ready()
    yield coordinator
    apart.mend()


@pytest.mark.parametrize("ways", ["out", "in", "both"])
async def test_a_broker_out_of_reach(
    ways: Ways, apart: Apart, broker_port: int, coordinator: Coordinator, world: World, say: Say
) -> None:
    """Nothing comes through between coordinator and broker for 12 s: nobody is blamed, sagas move within 10 s."""
    async with under_load(world, coordinator, say=say, definition=BRIEF) as load:
        await asyncio.to_thread(apart.cut, broker_port, ways)
        await asyncio.sleep(CUT_S)
        await asyncio.to_thread(apart.mend)
        await load.measure(f"network to the broker cut ({ways})", BOUND_S)
    await load.nobody_was_blamed()
    assert coordinator.child.exit_code is None


@pytest.mark.parametrize("ways", ["out", "in", "both"])
async def test_a_database_out_of_reach(
    ways: Ways, apart: Apart, database_port: int, coordinator: Coordinator, world: World, say: Say
) -> None:
    """Nothing comes through between coordinator and Postgres for 12 s: nobody is blamed, sagas move within 10 s."""
    async with under_load(world, coordinator, say=say, definition=BRIEF) as load:
        await asyncio.to_thread(apart.cut, database_port, ways)
        await asyncio.sleep(CUT_S)
        await asyncio.to_thread(apart.mend)
        await load.measure(f"network to Postgres cut ({ways})", BOUND_S)
    await load.nobody_was_blamed()
    assert coordinator.child.exit_code is None
