"""Coordinators are killed, frozen, and come and go: others take over, and who was thought dead does no harm."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque

import pytest

from tests.e2e.world import PARTITIONS, Coordinator, World
from tests.faults.load import Load, Say, under_load

pytestmark = pytest.mark.timeout(400)

TAKEN_OVER_S = 15.0
RESTARTED_S = 5.0
FROZEN_S = 25.0  # more than two sessions
STORM_S = 30.0
STORM_PAUSE_S = 3.0
WINDOW_S = 15.0
OWNING = r'"event":"partitions_owned"'
OWNED = "SELECT count(DISTINCT part) FROM shard WHERE owner LIKE $1"


async def test_another_replica_takes_over(world: World, say: Say) -> None:
    """Of two coordinators one is killed: its sagas move again within 15 s."""
    killed, other = await two(world)
    async with under_load(world, other, say=say) as load:
        now = asyncio.get_running_loop().time()
        await killed.kill()
        await load.measure("coordinator killed, another takes over", TAKEN_OVER_S, now)


async def test_a_restart_takes_up_what_was_left(world: World, say: Say) -> None:
    """The only coordinator is killed and started again: sagas move within 5 s of its start."""
    member = {"SAGA_KAFKA__INSTANCE_ID": f"{world.prefix}member"}
    killed = await world.launched("coordinator-1", **member)
    async with under_load(world, killed, say=say) as load:
        load.through.clear()
        await killed.kill()
        loop = asyncio.get_running_loop()
        now = loop.time()
        again = world.launch("coordinator-2", **member)
        load.through.append(again)
        owning = asyncio.create_task(asyncio.to_thread(again.child.wait_for_line, OWNING, timeout_s=60))
        owning.add_done_callback(lambda _: say(f"it owned its partitions {loop.time() - now:.2f} s after its start"))
        await load.measure("coordinator killed and restarted", RESTARTED_S, now)
        await owning


async def test_who_was_thought_dead_does_no_harm(world: World, say: Say) -> None:
    """One of two coordinators stands still for longer than its session: the other takes over, and it comes back."""
    frozen, other = await two(world)
    async with under_load(world, other, say=say) as load:
        now = asyncio.get_running_loop().time()
        await asyncio.to_thread(frozen.child.pause)
        await load.measure("coordinator paused, another takes over", TAKEN_OVER_S, now)
        await asyncio.sleep(max(0.0, FROZEN_S - (asyncio.get_running_loop().time() - now)))
        await asyncio.to_thread(frozen.child.resume)
        await load.measure("paused coordinator resumed", TAKEN_OVER_S)
    assert frozen.child.exit_code is None


@pytest.mark.parametrize("count", [2, 5])
async def test_coordinators_that_come_and_go(count: int, world: World, say: Say) -> None:
    """Every few seconds one of the coordinators goes and another comes: sagas complete all the time."""
    names = (f"coordinator-{number}" for number in itertools.count(1))
    running = deque(world.launch(next(names)) for _ in range(count))
    await world.until("SELECT count(DISTINCT owner) = $1 FROM shard", min(count, PARTITIONS), within_s=60)
    async with under_load(world, *running, say=say) as load:
        completed = [await _completed(world)]
        until = asyncio.get_running_loop().time() + STORM_S
        window = asyncio.create_task(_watch(world, completed))
        while asyncio.get_running_loop().time() < until:
            await _change_one(world, load, running, next(names))
            await asyncio.sleep(STORM_PAUSE_S)
        window.cancel()
        await load.measure(f"{count} coordinators, one replaced every {STORM_PAUSE_S:g} s", TAKEN_OVER_S)
    assert len(completed) > 2
    assert all(after > before for before, after in itertools.pairwise(completed)), completed
    assert [coordinator.child.exit_code for coordinator in running] == [None] * count


async def two(world: World) -> tuple[Coordinator, Coordinator]:
    """Give two coordinators, each of which owns partitions."""
    names = ("coordinator-1", "coordinator-2")
    one, other = await asyncio.gather(*(world.launched(name) for name in names))
    for name in names:
        await world.until(f"SELECT ({OWNED}) = {PARTITIONS // 2}", f"{name}:%")
    return one, other


async def _change_one(world: World, load: Load, running: deque[Coordinator], name: str) -> None:
    """Let the eldest go, in order, while a new one comes."""
    eldest = running.popleft()
    load.through.remove(eldest)
    running.append(world.launch(name))
    load.through.append(running[-1])
    assert await eldest.stop() == 0, eldest.child.output()[-2000:]


async def _watch(world: World, completed: list[int]) -> None:
    while True:
        await asyncio.sleep(WINDOW_S)
        completed.append(await _completed(world))


async def _completed(world: World) -> int:
    return int(await world.value("SELECT count(*) FROM saga WHERE status = 'completed'"))
