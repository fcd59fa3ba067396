"""Postgres is stopped, loses its processes, or is not heard: commits of unknown outcome are looked up."""

from __future__ import annotations

import asyncio
import os
import random
import signal

import psutil
import pytest

from deploy.local.postgres_server import LocalPostgres
from tests.e2e.world import Coordinator, World, eventually
from tests.faults.listeners import at
from tests.faults.load import AWAY, SEED, Say, under_load
from tests.faults.wires import CuttingWire

pytestmark = pytest.mark.timeout(300)

BOUND_S = 10.0
DOWN_S = 5.0
CUTTING_S = 15.0
CUT_SHARE = 0.2
HOT = """
SELECT pid FROM pg_stat_activity WHERE query LIKE '-- commit_batch:%' AND datname = $1
ORDER BY state_change DESC LIMIT 1
"""


@pytest.mark.parametrize("how", ["immediate", "fast"])
async def test_a_stopped_postgres(
    how: str, world: World, postgres: LocalPostgres, coordinator: Coordinator, say: Say
) -> None:
    """Postgres is stopped, in order or at once, and started again: sagas move within 10 s."""
    async with under_load(world, coordinator, say=say) as load:
        await asyncio.to_thread(postgres.stop, immediate=how == "immediate")
        await asyncio.sleep(DOWN_S)
        await asyncio.to_thread(postgres.start)
        await load.measure(f"Postgres stopped ({how}) and restarted", BOUND_S)
    assert coordinator.child.exit_code is None


async def test_a_killed_backend(world: World, postgres: LocalPostgres, coordinator: Coordinator, say: Say) -> None:
    """The backend that commits batches is killed, and Postgres throws everybody out: sagas move 10 s later."""
    async with under_load(world, coordinator, say=say) as load:
        (backend,) = await world.rows(HOT, world.database)
        now = asyncio.get_running_loop().time()
        os.kill(backend["pid"], signal.SIGKILL)
        await eventually(lambda: _is_another(world, backend["pid"]), what="Postgres has begun anew")
        await load.measure("Postgres backend killed", BOUND_S, now)
    assert coordinator.child.exit_code is None


async def test_a_killed_postmaster(world: World, postgres: LocalPostgres, coordinator: Coordinator, say: Say) -> None:
    """The first process of Postgres is killed, and its others give up: sagas move 10 s after it was started again."""
    async with under_load(world, coordinator, say=say) as load:
        others = psutil.Process(postgres._child.pid).children(recursive=True)
        postgres._child.send(signal.SIGKILL)
        await asyncio.to_thread(psutil.wait_procs, others, timeout=30)
        await asyncio.sleep(DOWN_S)
        await asyncio.to_thread(postgres.start)
        await load.measure("Postgres postmaster killed and restarted", BOUND_S)
    assert coordinator.child.exit_code is None


async def test_answers_that_nobody_hears(world: World, postgres: LocalPostgres, say: Say) -> None:
    """For 15 s every fifth statement of a batch is cut off, before it arrives or before it is answered."""
    dice = random.Random(SEED)
    with CuttingWire(postgres._port, b"-- commit_batch:", dice, CUT_SHARE) as wire:
        url = at(world.environment()["SAGA_DATABASE__URL"], "127.0.0.1", wire.port)
        coordinator = await world.launched("coordinator", SAGA_DATABASE__URL=url)
        async with under_load(world, coordinator, say=say) as load:
            wire.cutting = True
            await asyncio.sleep(CUTTING_S)
            wire.cutting = False
            say(f"answers to batches: {wire.requests_lost} lost before they were asked for, {wire.committed} after")
            assert wire.requests_lost >= 3
            assert wire.committed >= 3
            await load.measure("answers to commits cut off", BOUND_S)
        assert coordinator.child.exit_code is None


async def _is_another(world: World, pid: int) -> bool:
    try:
        rows = await world.rows("SELECT FROM pg_stat_activity WHERE pid = $1", pid)
    except AWAY:
        return False
    return not rows
