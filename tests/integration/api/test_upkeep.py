"""The chores beside an engine, on a real database: what only one process may show, and that nothing ends them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg
import pytest

from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.kafka.batches import Published
from coordinator.kafka.records import Outgoing
from coordinator.observability.metrics import Metrics
from coordinator.services.upkeep import Upkeep
from coordinator.store.migrations import migrate
from coordinator.store.postgres import PostgresStore
from coordinator.store.replicas import Replicas
from sagas import definitions
from tests.e2e.world import eventually

OVERDUE = """
    WITH place AS (INSERT INTO shard (part, cluster_id) VALUES (0, 'here'))
    INSERT INTO saga (id, part, definition_id, created_at, business_key, input, version, updated_at, deadline, wake_at,
                      status, state)
    SELECT $1, 0, id, past, 'late', '', 1, past, past, past, 'pending', ''
    FROM saga_definition, (SELECT now() - interval '1 hour' AS past) AS moment LIMIT 1
"""
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

    def __init__(self, store: PostgresStore, registry: Registry, is_first: Callable[[], bool]) -> None:
        self.metrics = Metrics()
        self.bus = FaultyBus()
        topology = Topology("saga.", {"saga.dlq": 1})
        self.upkeep = Upkeep(store, self.bus, topology, registry, self.metrics, is_first, log_retention_days=90)

    @property
    def stuck(self) -> float | None:
        """The gauge of the one shipped definition, as it is scraped."""
        labels = {"saga_type": definitions[0].name}
        return self.metrics.registry.get_sample_value("saga_stuck_count", labels)


@pytest.fixture
async def store(fresh_database: str) -> AsyncIterator[PostgresStore]:
    """Give the store of a migrated database."""
    await migrate(fresh_database)
    store = PostgresStore(fresh_database)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
async def registry(store: PostgresStore) -> Registry:
    """Give the shipped definitions, known to the database."""
    registry = Registry(definitions)
    registry.bind((await Replicas(store, "chores").register(registry.contents)).ids)
    return registry


async def _execute(url: str, statement: str, *arguments: object) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement, *arguments)
    await connection.close()


async def test_a_stuck_saga_is_counted_once(fresh_database: str, store: PostgresStore, registry: Registry) -> None:
    """Of all processes only the owner of partition 0 shows stuck sagas, so that a sum over them is their number."""
    await _execute(fresh_database, OVERDUE, uuid.uuid4())
    first, other = Chores(store, registry, lambda: True), Chores(store, registry, lambda: False)
    for chores in (first, other):
        await chores.upkeep.run_once()
    assert (first.stuck, other.stuck) == (1, 0)


async def test_who_is_no_longer_first_shows_nothing(
    fresh_database: str, store: PostgresStore, registry: Registry
) -> None:
    """A process that loses partition 0 takes its count back: the new owner shows it now."""
    await _execute(fresh_database, OVERDUE, uuid.uuid4())
    owned = {0}
    chores = Chores(store, registry, lambda: 0 in owned)
    seen = []
    for _ in range(6):  # the gauge is set with every fifth pass
        await chores.upkeep.run_once()
        seen.append(chores.stuck)
        owned.clear()
    assert seen == [1, 1, 1, 1, 1, 0]


async def test_open_letters_are_shown_once(fresh_database: str, store: PostgresStore, registry: Registry) -> None:
    """Of all processes only the owner of partition 0 shows the open letters; what was closed is not shown any more."""
    await _execute(fresh_database, LETTER)
    first, other = Chores(store, registry, lambda: True), Chores(store, registry, lambda: False)
    for chores in (first, other):
        chores.bus.calls = 1  # it works from the beginning
        await chores.upkeep.run_once()
    labels = {"kind": "record", "reason": "schema", "next": "person"}
    shown = [chores.metrics.registry.get_sample_value("saga_dead_letters_open", labels) for chores in (first, other)]
    assert shown == [1, None]
    await _execute(fresh_database, "UPDATE dead_letter SET state = 'discarded'")
    for _ in range(5):  # the gauge is set with every fifth pass
        await first.upkeep.run_once()
    assert first.metrics.registry.get_sample_value("saga_dead_letters_open", labels) is None


async def test_a_fault_of_ours_does_not_end_the_chores(
    fresh_database: str, store: PostgresStore, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a chore raises is logged as an alert, and the next pass does what this one could not."""
    await _execute(fresh_database, LETTER)
    chores = Chores(store, registry, lambda: True)
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


async def test_old_keys_and_batch_operations_go(store: PostgresStore, registry: Registry) -> None:
    """Answers are kept for a day and batch operations for a month after their end; what is younger stays."""
    await store.run(lambda connection: connection.execute(OLD_AND_NEW))
    await Chores(store, registry, lambda: True).upkeep.run_once()
    left = "SELECT key AS left FROM idempotency_key UNION ALL SELECT reason FROM batch_operation ORDER BY 1"
    rows = await store.run(lambda connection: connection.fetch(left))
    assert [row["left"] for row in rows] == ["an hour", "runs", "yesterday"]
    items = await store.run(lambda connection: connection.fetch("SELECT 1 FROM batch_operation_item"))
    assert len(items) == 2
