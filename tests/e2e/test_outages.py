"""Kafka and Postgres go away under load and come back: nobody is blamed for it, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from deploy.local.stack import LocalStack
from tests.e2e.definitions import STEADY, STEADY_S
from tests.e2e.orders import REFUSED, order
from tests.e2e.world import Coordinator, World, eventually

OUTAGE_S = 20.0
FREEZE_S = STEADY_S + 2.0
SAGAS = 120
PACE_S = 1.0


@pytest.fixture(scope="module")
def stack(stack: LocalStack) -> Iterator[LocalStack]:
    """Give servers of this module's own, because they are going to be killed."""
    if stack.kafka.kind not in ("jvm", "docker"):
        pytest.skip(f"needs a Kafka of its own that can be killed, this is {stack.kafka.description}")
    with LocalStack(broker=stack.kafka.kind) as own:
        yield own


@pytest.fixture(scope="module")
async def world(stack: LocalStack) -> AsyncIterator[World]:
    """Give a world on those servers."""
    world = World(stack)
    try:
        await world.open()
        yield world
    finally:
        await world.close()


@pytest.fixture(scope="module")
async def coordinator(world: World) -> Coordinator:
    """Give one coordinator that does everything; no outage ends it."""
    return await world.launched("coordinator")


async def load(world: World, coordinator: Coordinator) -> list[str]:
    """Start sagas whose participants take their time, so that the outage meets them at every step."""
    for participant in ("inventory", "payment", "shipping"):
        await world.fault(participant, "slow", match="slow", seconds=PACE_S)
    saga_ids = []
    for _ in range(4):
        saga_ids += await coordinator.start_many([order(customer_id="slow") for _ in range(SAGAS // 4)], STEADY)
        await asyncio.sleep(PACE_S / 2)
    world.saga_ids.update(saga_ids)
    return saga_ids


async def assert_all_completed(world: World, saga_ids: list[str]) -> None:
    """Every saga went to its end, and no step was called late."""
    ended = await world.rows("SELECT status, count(*) FROM saga WHERE id = ANY($1::uuid[]) GROUP BY 1", saga_ids)
    assert [tuple(row) for row in ended] == [("completed", len(saga_ids))]
    late = await world.rows("SELECT saga_id, step_name, at FROM saga_log WHERE event = 'DeadlinePassed'")
    assert late == []


@pytest.mark.timeout(240)
async def test_an_outage_of_kafka_is_no_timeout(world: World, coordinator: Coordinator) -> None:
    """Kafka is killed for 20 s, five times the steps' timeout: no deadline passes, and every saga completes."""
    assert OUTAGE_S > 3 * STEADY_S
    saga_ids = await load(world, coordinator)
    await asyncio.to_thread(world.stack.kafka.kill)
    began = asyncio.get_running_loop().time()
    meanwhile = await coordinator.start_many([order() for _ in range(20)], STEADY)
    world.saga_ids.update(meanwhile)
    assert await world.value("SELECT count(*) FROM outbox WHERE saga_id = ANY($1::uuid[])", meanwhile) == len(meanwhile)
    await eventually(coordinator.is_unready, what="/readyz is red")
    assert (await coordinator.http.get("/livez")).status_code == 200
    await asyncio.sleep(OUTAGE_S - (asyncio.get_running_loop().time() - began))
    await asyncio.to_thread(world.stack.kafka.start)
    await world.check(within_s=90)
    await assert_all_completed(world, saga_ids + meanwhile)
    assert coordinator.child.exit_code is None


@pytest.mark.timeout(240)
async def test_a_frozen_kafka_is_no_timeout(world: World, coordinator: Coordinator) -> None:
    """A broker that keeps its connections and answers nothing for a while is waited for in the same way."""
    saga_ids = await load(world, coordinator)
    await asyncio.to_thread(world.stack.kafka.pause)
    await asyncio.sleep(FREEZE_S)
    await asyncio.to_thread(world.stack.kafka.resume)
    await world.check(within_s=90)
    await assert_all_completed(world, saga_ids)


@pytest.mark.timeout(240)
async def test_a_crash_of_postgres_is_survived(world: World, coordinator: Coordinator) -> None:
    """Postgres is stopped with `immediate` under load: commits of unknown outcome are looked up, every saga ends."""
    saga_ids = await load(world, coordinator)
    refused = await coordinator.start_many([order(**changes) for changes in REFUSED], STEADY)
    world.saga_ids.update(refused)
    await asyncio.to_thread(world.stack.postgres.stop, immediate=True)
    await eventually(coordinator.is_unready, what="/readyz is red")
    await asyncio.to_thread(world.stack.postgres.start)
    await world.check(within_s=90)
    await assert_all_completed(world, saga_ids)
    ends = await world.rows("SELECT DISTINCT status FROM saga WHERE id = ANY($1::uuid[])", refused)
    assert [row["status"] for row in ends] == ["failed"]
    assert coordinator.child.exit_code is None
