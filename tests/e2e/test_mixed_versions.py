"""An upgrade is no outage: the coordinator before the latest change and this one work on one database and one broker.

The earlier code is the parent of the latest commit that changed it, or what SAGA_TEST_PREVIOUS names.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from deploy.local.places import PROJECT
from deploy.local.processes import Child
from deploy.local.stack import LocalStack
from tests.e2e.orders import REFUSED, order
from tests.e2e.world import READY_S, Coordinator, World, eventually
from tests.needs import need_real_kafka

PREVIOUS = "SAGA_TEST_PREVIOUS"
CODE = ("coordinator", "sagas", "alembic")
ORDER = "OrderFulfillment"
PACE_S = 0.2
SLOW_S = 1.0  # how long participants take, so that sagas are at every step when the versions change
LOAD_S = 6.0  # of each phase
INSIST_S = 60.0


class MixedWorld(World):
    """A world whose processes run the code of `tree`, as it is when they are started."""

    tree: Path = PROJECT

    def _child(self, name: str, *arguments: str, **settings: str) -> Child:
        environment = {"PYTHONUNBUFFERED": "1", **self.environment(**settings)}
        command = [sys.executable, "-u", *arguments]
        return self.stack.processes.start(f"{self.database}-{name}", command, environment=environment, cwd=self.tree)

    async def run(self, verb: str) -> None:
        """Run a command of the coordinator to its end."""
        child = self._child(verb, "-m", "coordinator", verb)
        assert await asyncio.to_thread(child.wait, READY_S) == 0, child.output()[-3000:]

    async def start_version(self, name: str, tree: Path) -> Coordinator:
        """Start a coordinator of some code and wait until it is ready."""
        self.tree = tree
        try:
            return await self.launched(name, SAGA_KAFKA__INSTANCE_ID=f"{self.prefix}{name}")
        finally:
            self.tree = PROJECT


def git(*arguments: str) -> str | None:
    """Ask git about the project; None where it does not know."""
    program = shutil.which("git")
    if program is None:
        return None
    done = subprocess.run([program, "-C", str(PROJECT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a tree with the code before its latest change."""
    latest = git("rev-list", "-1", "HEAD", "--", *CODE)
    commit = os.environ.get(PREVIOUS) or (git("rev-parse", "--verify", f"{latest}^") if latest else None)
    if commit is None:
        pytest.skip("there is no git history with a commit before the latest change of the coordinator")
    folder = tmp_path_factory.mktemp("previous")
    archive = folder / "tree.tar"
    assert git("archive", f"--output={archive}", commit) is not None, f"git cannot archive {commit}"
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "tree", filter="data")
    return folder / "tree"


@pytest.fixture(scope="module")
async def world(stack: LocalStack, previous: Path) -> AsyncIterator[MixedWorld]:
    """Give a database and topics that the earlier code has made, and participants that take their time."""
    need_real_kafka(stack, "several of a group")
    world = MixedWorld(stack, definitions="sagas:definitions")
    world.tree = previous
    try:
        await world.open()
        world.tree = PROJECT
        for participant in world.participants:
            await world.fault(participant, "slow", match="slow", seconds=SLOW_S)
        yield world
    finally:
        await world.close()


class Load:
    """Orders all the time, through whichever coordinator answers, and over Kafka; one in six is refused somewhere."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = random.Random(7)
        self._enough = asyncio.Event()
        self.ends: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._enough.set()
        await self._task

    async def _run(self) -> None:
        async with httpx.AsyncClient(timeout=5) as http:
            while not self._enough.is_set():
                refused = self._dice.choice(REFUSED) if self._dice.random() < 1 / 6 else {}
                made = order(customer_id="slow", **refused)
                self.ends[made["order_id"]] = "failed" if refused else "completed"
                if self._dice.random() < 0.5:
                    await self._world.request_starts([made], ORDER)
                else:
                    await self._insist(http, made)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._enough.wait(), PACE_S)

    async def _insist(self, http: httpx.AsyncClient, made: dict[str, Any]) -> None:
        """Start an order through any coordinator that runs, as often as it takes."""
        async with asyncio.timeout(INSIST_S):
            while True:
                running = [each for each in self._world.coordinators if each.child.exit_code is None]
                url = self._dice.choice(running).url
                with contextlib.suppress(httpx.HTTPError):
                    answer = await http.post(f"{url}/v1/sagas", json={"definition": ORDER, "input": made})
                    if answer.status_code in (200, 201):
                        self._world.saga_ids.add(answer.json()["id"])
                        return
                    assert answer.status_code in (429, 503), answer.text
                await asyncio.sleep(0.1)


async def assert_ends(world: World, load: Load) -> None:
    """Every order ended as it should, and the checker finds nothing."""
    await world.check(within_s=120)
    keys = list(load.ends)
    rows = await world.rows("SELECT business_key, status FROM saga WHERE business_key = ANY($1)", keys)
    assert {row["business_key"]: row["status"] for row in rows} == load.ends
    assert len(load.ends) > LOAD_S


async def share_the_work(world: World, *names: str) -> None:
    """Wait until each of these owns some partitions."""
    await world.until("SELECT array_agg(DISTINCT split_part(owner, ':', 1)) @> $1::text[] FROM shard", list(names))


@pytest.mark.timeout(300)
async def test_a_new_version_takes_over_under_load(world: MixedWorld, previous: Path) -> None:
    """The new one migrates and starts beside the old one, shares its work, and goes on alone when it is stopped."""
    old = await world.start_version("old", previous)
    async with Load(world) as load:
        await asyncio.sleep(LOAD_S)
        await world.run("migrate")
        await world.run("topics")
        await world.start_version("new", PROJECT)
        await share_the_work(world, "old", "new")
        await asyncio.sleep(LOAD_S)
        assert await old.stop() == 0
        await asyncio.sleep(LOAD_S)
    await assert_ends(world, load)


@pytest.mark.timeout(300)
async def test_the_version_before_takes_over_again(world: MixedWorld, previous: Path) -> None:
    """A roll-back is the same in the other direction, and so is a new version that is killed in the middle of it."""
    new = await alone(world)
    async with Load(world) as load:
        await asyncio.sleep(LOAD_S)
        back = await started_again(world, previous)
        await share_the_work(world, "back", "new")
        await asyncio.sleep(LOAD_S)
        await new.kill()
        await asyncio.sleep(LOAD_S)
    await assert_ends(world, load)
    assert await back.stop() == 0


async def alone(world: MixedWorld) -> Coordinator:
    """Give a coordinator of this code that works alone: the one that runs, or another."""
    await world.run("migrate")
    for each in world.coordinators:
        if each.child.exit_code is None and each.child.name.endswith("-new"):
            return each
    await asyncio.gather(*(each.kill() for each in world.coordinators if each.child.exit_code is None))
    return await world.start_version("new", PROJECT)


async def started_again(world: MixedWorld, previous: Path) -> Coordinator:
    """Start the code of before on the database of this one; skips where that code refuses such a database."""
    world.tree = previous
    back = world.launch("back", SAGA_KAFKA__INSTANCE_ID=f"{world.prefix}back")
    world.tree = PROJECT

    async def decided() -> bool:
        return back.child.exit_code is not None or await back.is_ready()

    await eventually(decided, within_s=READY_S, what="the code of before is ready, or has refused")
    if back.child.exit_code is not None:
        assert heads(previous) != heads(PROJECT), back.child.output()[-3000:]
        last = (back.child.output().strip().splitlines() or ["without a word"])[-1]
        pytest.skip(f"the code of before refuses the tables of this one: {last}")
    return back


def heads(tree: Path) -> list[str]:
    """The migrations of a tree."""
    return sorted(file.name for file in (tree / "alembic" / "versions").glob("*.py"))
