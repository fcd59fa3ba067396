"""The chores beside an engine, on a real database: nothing ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg
import pytest

from coordinator.engine.topology import Topology
from coordinator.errors import Unavailable
from coordinator.kafka.batches import Published
from coordinator.kafka.records import Outgoing
from coordinator.observability.metrics import Metrics
from coordinator.services.upkeep import Upkeep
from coordinator.store.migrations import migrate
from coordinator.store.postgres import PostgresStore
from deploy.local.stack import LocalStack
from tests.e2e.world import eventually

DROP_PASS = 60  # with which old days are dropped
LETTER = """
    INSERT INTO dead_letter (kind, reason, detail, cluster_id, topic, partition, first_offset, next_offset, headers,
                             value_length)
    VALUES ('record', 'schema', 'no', 'here', 'saga.replies', 0, 1, 2, '[]', NULL)
"""


class FaultyBus:
    """A bus that breaks as nobody expects the first time, and takes everything after that."""

    healthy = True

    def __init__(self) -> None:
        self.calls = 0

    async def publish(self, messages: Sequence[Outgoing]) -> Published:
        """Break, then acknowledge."""
        self.calls += 1
        if self.calls == 1:
            raise ZeroDivisionError("a fault in our own code")
        return Published([message.token for message in messages], [], [], None)

    async def rebuild(self) -> None:
        """There is nothing to build anew."""


class Chores:
    """What a process keeps up, and what it shows."""

    def __init__(self, store: PostgresStore, is_first: Callable[[], bool]) -> None:
        self.metrics = Metrics()
        self.bus = FaultyBus()
        topology = Topology("saga.", {"saga.dlq": 1})
        self.upkeep = Upkeep(store, self.bus, topology, self.metrics, is_first, log_retention_days=90)


@pytest.fixture
async def store(stack: LocalStack, fresh_database: str) -> AsyncIterator[PostgresStore]:
    """Give the store of a migrated database."""
    application_url = stack.application_url(fresh_database)
    await migrate(fresh_database, application_url)
    store = PostgresStore(application_url)
    await store.start()
    yield store
    await store.stop()


async def _execute(url: str, statement: str, *arguments: object) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement, *arguments)
    await connection.close()


async def test_a_log_that_is_held_stops_no_other_chore(
    fresh_database: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a backup holds the log, its old days stay; letters reach their topic all the same."""
    await _execute(fresh_database, LETTER)
    chores = Chores(store, lambda: True)
    chores.bus.calls = 1  # it works from the beginning
    chores.upkeep._passes = DROP_PASS
    asked: list[int] = []

    async def held(days: int) -> list[str]:
        asked.append(days)
        raise Unavailable("the log is locked")

    monkeypatch.setattr(store, "drop_log_days", held)
    assert await chores.upkeep.run_once() == 1
    assert asked == [90]


async def test_a_fault_of_ours_does_not_end_the_chores(
    fresh_database: str, store: PostgresStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a chore raises is logged as an alert, and the next pass does what this one could not."""
    await _execute(fresh_database, LETTER)
    chores = Chores(store, lambda: True)
    stopping = asyncio.Event()
    running = asyncio.create_task(chores.upkeep.run(stopping))

    async def is_marked() -> bool:
        return not await store.fetch("unpublished_dead_letters", 1)

    await eventually(is_marked, what="the letter is on its topic", within_s=10)
    stopping.set()
    await asyncio.wait_for(running, 5)
    assert chores.bus.calls == 2
    said = capsys.readouterr().out
    assert "upkeep_failed" in said
    assert "alert" in said
