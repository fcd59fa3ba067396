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


OLD_AND_NEW = """
    WITH keys AS (
        INSERT INTO idempotency_key (actor, key, fingerprint, claim, created_at)
        SELECT 'ann', key, sha256(''), gen_random_uuid(), now() - age
        FROM (VALUES ('an hour', interval '1 hour'), ('a day', interval '25 hours')) AS x (key, age)
    ),
    operations AS (
        INSERT INTO batch_operation (id, actor, reason, verb, members, filter, statuses, confirmation, rate, total,
                                     state, ended_at)
        SELECT gen_random_uuid(), 'ann', name, 'retry', '{}', '{}', '{suspended}', name::bytea, 1, 1,
               CASE WHEN age IS NULL THEN 'paused' ELSE 'done' END, now() - age
        FROM (VALUES ('runs', NULL), ('yesterday', interval '1 day'), ('a month', interval '31 days')) AS x (name, age)
        RETURNING id
    )
    INSERT INTO batch_operation_item (operation_id, saga_id, version) SELECT id, id, 1 FROM operations
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


async def test_old_keys_and_batch_operations_go(store: PostgresStore) -> None:
    """Answers are kept for a day and batch operations for a month after their end; what is younger stays."""
    await store.run(lambda connection: connection.execute(OLD_AND_NEW))
    await Chores(store, lambda: True).upkeep.run_once()
    left = "SELECT key AS left FROM idempotency_key UNION ALL SELECT reason FROM batch_operation ORDER BY 1"
    rows = await store.run(lambda connection: connection.fetch(left))
    assert [row["left"] for row in rows] == ["an hour", "runs", "yesterday"]
    items = await store.run(lambda connection: connection.fetch("SELECT 1 FROM batch_operation_item"))
    assert len(items) == 2
