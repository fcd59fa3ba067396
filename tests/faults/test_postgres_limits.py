"""Postgres has no room: no connections, no disk, no right to write. Nothing of it is lost, and nobody is needed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from deploy.local.database import APPLICATION_ROLE
from deploy.local.postgres_server import LocalPostgres
from deploy.local.stack import LocalStack
from tests.e2e.world import Coordinator, World, eventually
from tests.faults.load import Say, under_load

pytestmark = pytest.mark.timeout(300)

BOUND_S = 10.0
HELD_S = 10.0
CONNECTIONS_MAX = 60
DISK = "128m"
DISK_FULL = "53100"
CROWD = "crowd"
END_THE_OTHERS = f"""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = $1 AND usename = '{APPLICATION_ROLE}' AND application_name <> '{CROWD}'
"""  # noqa: S608


@pytest.fixture
def few_connections(postgres: LocalPostgres) -> None:
    """Let the server have so few connections that a crowd is soon together."""
    postgres.execute(f"alter system set max_connections = {CONNECTIONS_MAX}")
    postgres.stop()
    postgres.start()


@pytest.fixture
def disk(postgres: LocalPostgres, stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a small disk, on which every database that is made from now on has its tables."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    disk = postgres._account.short_folder("saga-disk-")
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", disk], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine mounts no disk in memory: {error.stderr.decode().strip()}")
    try:
        postgres._account.own(disk)
        postgres.execute(f"create tablespace small location '{disk}'")

        def create_database(name: str) -> str:
            postgres.execute(f"create database \"{name}\" template template0 encoding 'UTF8' tablespace small")
            return postgres.url(name)

        monkeypatch.setattr(stack, "create_database", create_database)
        yield disk
        postgres.execute("drop tablespace small")
    finally:
        subprocess.run(["umount", "--lazy", disk], check=False)


async def test_a_postgres_that_may_not_write(
    world: World, postgres: LocalPostgres, coordinator: Coordinator, say: Say
) -> None:
    """For 10 s every transaction is read-only, as on a primary that was demoted: sagas move within 10 s of its end."""
    async with under_load(world, coordinator, say=say) as load:
        await asyncio.to_thread(_configure, postgres, "alter system set default_transaction_read_only = on")
        await eventually(lambda: _has_said(coordinator, "read-only transaction"), what="it was refused to write")
        await asyncio.sleep(HELD_S)
        await asyncio.to_thread(_configure, postgres, "alter system reset default_transaction_read_only")
        await load.measure("Postgres read-only 10 s", BOUND_S)
    assert coordinator.child.exit_code is None


async def test_a_postgres_without_connections(
    few_connections: None, world: World, coordinator: Coordinator, say: Say
) -> None:
    """Others have every connection for 10 s: the coordinator says so, and sagas move within 10 s of their going."""
    async with under_load(world, coordinator, say=say) as load, crowd(world) as others:
        await eventually(coordinator.is_unready, what="/readyz is red")
        assert (await coordinator.http.get("/livez")).status_code == 200
        await asyncio.sleep(HELD_S)
        await others.aclose()
        await load.measure("Postgres out of connections 10 s", BOUND_S)
    assert coordinator.child.exit_code is None


async def test_a_full_disk(disk: Path, world: World, coordinator: Coordinator, say: Say) -> None:
    """The disk is full for 10 s: statements are refused, nothing crashes, sagas move 10 s after there is room."""
    async with under_load(world, coordinator, say=say) as load:
        ballast = disk / "ballast"
        await asyncio.to_thread(_fill, ballast)
        await eventually(lambda: _has_said(coordinator, DISK_FULL), what="it was refused to write")
        assert (await coordinator.http.get("/livez")).status_code == 200
        await asyncio.sleep(HELD_S)
        ballast.unlink()
        await load.measure("disk of Postgres full 10 s", BOUND_S)
    assert coordinator.child.exit_code is None


@contextlib.asynccontextmanager
async def crowd(world: World) -> AsyncIterator[contextlib.AsyncExitStack]:
    """Take every connection that the coordinator has, or could have, until the end."""
    url = world.environment()["SAGA_DATABASE__URL"]
    async with contextlib.AsyncExitStack() as held:
        overseer = await asyncpg.connect(world.url)
        held.push_async_callback(overseer.close)
        while True:
            with contextlib.suppress(asyncpg.TooManyConnectionsError):
                while True:
                    one = await asyncpg.connect(url, server_settings={"application_name": CROWD})
                    held.push_async_callback(one.close)
            if not await overseer.fetch(END_THE_OTHERS, world.database):
                break
        yield held


async def _has_said(coordinator: Coordinator, words: str) -> bool:
    return words in coordinator.child.output()


def _configure(postgres: LocalPostgres, statement: str) -> None:
    postgres.execute(statement)
    postgres.execute("select pg_reload_conf()")


def _fill(file: Path) -> None:
    """Write until there is no room."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as ballast:
        for size in (1024 * 1024, 4096):
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(bytes(size))
