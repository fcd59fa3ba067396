"""Each module has servers of its own, because it does them harm; each test has a world of its own on them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from deploy.local.choice import LocalStackError
from deploy.local.kafka_jvm import JvmBroker
from deploy.local.postgres_server import LocalPostgres
from deploy.local.stack import LocalStack
from tests.e2e.world import Coordinator, World
from tests.faults.load import Say

DEFINITIONS = "tests.faults.definitions:definitions"


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Say:
    """Give what writes a line to the terminal, whatever is captured."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    assert terminal is not None
    assert capture is not None

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(line)

    return say


@pytest.fixture(scope="module")
def stack(say: Say) -> Iterator[LocalStack]:
    """Give an Apache Kafka on the JVM and a Postgres that may be harmed."""
    with contextlib.ExitStack() as servers:
        try:
            own = servers.enter_context(LocalStack(broker=JvmBroker.kind, say=say))
        except LocalStackError as error:
            pytest.skip(f"needs a Kafka of its own on the JVM: {error}")
        if not isinstance(own.postgres, LocalPostgres):
            pytest.skip(f"needs a Postgres of its own, this is {own.postgres.description}")
        yield own


@pytest.fixture
def kafka(stack: LocalStack) -> JvmBroker:
    """Give the broker."""
    assert isinstance(stack.kafka, JvmBroker)
    return stack.kafka


@pytest.fixture
def postgres(stack: LocalStack) -> LocalPostgres:
    """Give the database server."""
    assert isinstance(stack.postgres, LocalPostgres)
    return stack.postgres


@pytest.fixture
async def world(stack: LocalStack, kafka: JvmBroker, postgres: LocalPostgres) -> AsyncIterator[World]:
    """Give topics, a database and participants; the servers run again in the end, whatever was done to them."""
    world = World(stack, DEFINITIONS)
    try:
        await world.open()
        yield world
    finally:
        for server in (kafka, postgres):
            server.resume()
            if server._child.exit_code is not None:
                await asyncio.to_thread(server.start)
        await world.close()


@pytest.fixture
async def coordinator(world: World) -> Coordinator:
    """Give one coordinator that does everything."""
    return await world.launched("coordinator")
