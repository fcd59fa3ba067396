"""What the engine moves it counts, also when it is killed in the middle."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deploy.local.stack import LocalStack
from tests.e2e.orders import order
from tests.e2e.world import World

SAGAS = 200
RIGHT = """
SELECT NOT EXISTS (
    SELECT FROM (
        SELECT definition_id, status, sum(sagas) AS sagas FROM saga_tally GROUP BY definition_id, status
    ) AS t
    FULL JOIN (
        SELECT definition_id, status, count(*) AS sagas FROM saga GROUP BY definition_id, status
    ) AS s USING (definition_id, status)
    WHERE coalesce(t.sagas, 0) <> coalesce(s.sagas, 0)
)
"""
WAITING = "SELECT bool_and((waits_at IS NULL) = (status IN ('completed', 'failed', 'abandoned'))) FROM saga"


@pytest.fixture
async def world(stack: LocalStack) -> AsyncIterator[World]:
    """Give a world with all participants."""
    world = World(stack)
    try:
        await world.open()
        yield world
    finally:
        await world.close()


async def test_counts_are_those_of_the_rows_when_the_engine_dies(world: World) -> None:
    """Sagas complete and fail while the engine is killed and comes back; at every look the counts are the rows'."""
    first = await world.launched("first", "engine")
    await world.fault("shipping", "refuse", command="CreateShipment", times=SAGAS // 5)
    await world.request_starts([order() for _ in range(SAGAS)])
    await world.until("SELECT count(*) > $1 FROM saga WHERE status = 'completed'", SAGAS // 10)
    assert await world.value(RIGHT)
    await first.kill()
    assert await world.value(RIGHT)
    await world.launched("second", "engine")
    await world.until("SELECT count(*) = $1 FROM saga WHERE resting IS NOT NULL", SAGAS, within_s=60)
    assert await world.value(RIGHT)
    assert await world.value(WAITING)
    await world.mend()
