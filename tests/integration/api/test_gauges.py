"""The gauges of rows, on a real database: they say what the rows say, and one process of an installation shows them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from prometheus_client import generate_latest

from coordinator.engine.registry import Registry
from coordinator.errors import Unavailable
from coordinator.observability.metrics import Metrics
from coordinator.parts import SystemClock
from coordinator.services.gauges import Gauges
from coordinator.store.migrations import migrate
from coordinator.store.postgres import PostgresStore
from coordinator.store.reads import SagaReads
from coordinator.store.replicas import Replicas
from sagas import definitions

NAME = definitions[0].name
SAGA = """
    INSERT INTO saga (id, part, definition_id, created_at, business_key, input, version, updated_at, deadline, wake_at,
                      status, state)
    SELECT $1, 0, $2::smallint, past, 'key', '', 1, past, past, CASE WHEN $3::text <> 'suspended' THEN past END, $3, ''
    FROM (SELECT now() - $4::float * interval '1 second' AS past) AS moment
"""
TURNED = """
    INSERT INTO saga_log (saga_id, version, at, part, event, status, data)
    VALUES ($1, $2, now() - $3::float * interval '1 second', 0, 'StepFailed', 'compensating', '')
"""
INCIDENT = """
    INSERT INTO incident (saga_id, saga_version, reason, detail, opened_at)
    VALUES (gen_random_uuid(), 1, $1, '', now() - $2::float * interval '1 second')
"""
LETTER = """
    INSERT INTO dead_letter (kind, at, reason, detail, cluster_id, topic, partition, first_offset, next_offset, headers)
    VALUES ('record', now() - $3::float * interval '1 second', $1, 'no', 'here', 'saga.replies', 0, $2::bigint, $2 + 1,
            '[]')
"""
MESSAGE = """
    INSERT INTO outbox (saga_id, saga_version, position, part, created_at, destination, partition, type, payload)
    VALUES (gen_random_uuid(), 1, 0, 0, now() - $1::float * interval '1 second', 'a', 0, 'b', '')
"""


class Rows:
    """A migrated database, and processes that survey it."""

    def __init__(self, url: str, registry: Registry, reads: SagaReads) -> None:
        self._url = url
        self.registry = registry
        self.reads = reads

    async def add(self, statement: str, *arguments: object) -> None:
        """Run a statement."""
        connection = await asyncpg.connect(self._url)
        await connection.execute(statement, *arguments)
        await connection.close()

    async def saga(self, status: str, age_s: float) -> uuid.UUID:
        """Add a saga that is overdue by its age, unless it is suspended."""
        saga_id = uuid.uuid4()
        await self.add(SAGA, saga_id, self.registry.id_of(definitions[0]), status, age_s)
        return saga_id

    def process(self, is_first: Callable[[], bool] = lambda: True) -> Process:
        """A process that knows the shipped definitions."""
        return Process(self, is_first)


class Process:
    """One process and what it shows."""

    def __init__(self, rows: Rows, is_first: Callable[[], bool]) -> None:
        self.metrics = Metrics()
        self.gauges = Gauges(rows.reads, rows.registry, self.metrics, SystemClock(), is_first, ["Observed"])

    def shown(self, name: str, **labels: str) -> float | None:
        """A sample as it is scraped; None when there is none."""
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
async def rows(fresh_database: str) -> AsyncIterator[Rows]:
    """Give a migrated database that knows the shipped definitions."""
    await migrate(fresh_database)
    store = PostgresStore(fresh_database)
    await store.start()
    replicas = Replicas(store, "gauges")
    registry = Registry(definitions)
    registry.bind((await replicas.register(registry.contents)).ids)
    await store.fetch("ensure_log_days", 2)
    registry.learn({registry.id_of(each): (each.name, each.version) for each in definitions}, {})
    reads = SagaReads(fresh_database, 2)
    yield Rows(fresh_database, registry, reads)
    await reads.stop()
    await store.stop()


async def test_one_process_shows_them(rows: Rows) -> None:
    """Of all processes only the owner of partition 0 has samples: a sum, or a maximum, over all is the number."""
    await rows.saga("pending", 3600)
    first, other = rows.process(), rows.process(lambda: False)
    for process in (first, other):
        await process.gauges.run_once()
    assert first.shown("saga_stuck_count", saga_type=NAME) == 1
    assert first.shown("saga_stuck_count", saga_type="Observed") == 0
    assert other.shown("saga_stuck_count", saga_type=NAME) is None
    assert other.shown("saga_gauges_refreshed_timestamp_seconds") is None


async def test_who_is_no_longer_first_shows_nothing(rows: Rows) -> None:
    """A process that loses partition 0 takes its numbers back: the new owner shows them now."""
    owned = {0}
    process = rows.process(lambda: 0 in owned)
    await process.gauges.run_once()
    assert process.shown("saga_stuck_count", saga_type=NAME) == 0
    owned.clear()
    await process.gauges.run_once()
    assert process.shown("saga_stuck_count", saga_type=NAME) is None


async def test_they_say_what_the_rows_say(rows: Rows) -> None:
    """In flight, stuck, suspended, undoing, incidents, letters and the outbox: numbers and ages are those of rows."""
    await rows.saga("pending", 300)
    await rows.saga("pending", 5)
    for _ in range(3):
        await rows.saga("suspended", 900)
    undoing = await rows.saga("compensating", 1000)
    await rows.add(TURNED, undoing, 3, 400)
    await rows.add(TURNED, undoing, 4, 200)
    for age_s in (7200, 60):
        await rows.add(INCIDENT, "retries_exhausted", age_s)
    for number, age_s in enumerate((5000, 100, 1)):
        await rows.add(LETTER, "schema", number, age_s)
    for age_s in (50, 70):
        await rows.add(MESSAGE, age_s)
    process = rows.process()
    await process.gauges.run_once()

    def rounded(name: str, **labels: str) -> float:
        return round(process.shown(name, **labels) or 0, -1)

    assert process.shown("saga_in_flight_count", saga_type=NAME, status="pending") == 2
    assert process.shown("saga_in_flight_count", saga_type=NAME, status="started") == 0
    assert process.shown("saga_stuck_count", saga_type=NAME) == 2
    assert rounded("saga_stuck_seconds", saga_type=NAME) == 1000
    assert process.shown("saga_suspended_count", saga_type=NAME) == 3
    assert rounded("saga_compensating_seconds", saga_type=NAME) == 400
    assert process.shown("saga_incidents_open", reason="retries_exhausted") == 2
    assert rounded("saga_incident_open_seconds", reason="retries_exhausted") == 7200
    assert process.shown("saga_dead_letters_open", kind="record", reason="schema", next="person") == 3
    assert process.shown("saga_dead_letters_recent") == 2
    assert rounded("saga_dead_letter_open_seconds") == 5000
    assert process.shown("saga_outbox_rows") == 2
    assert rounded("saga_outbox_oldest_seconds") == 70


async def test_what_is_over_is_not_shown_any_more(rows: Rows) -> None:
    """Letters that were closed leave no sample behind, and what was overdue is zero again."""
    await rows.add(LETTER, "schema", 1, 10)
    await rows.saga("pending", 300)
    process = rows.process()
    await process.gauges.run_once()
    await rows.add("UPDATE dead_letter SET state = 'discarded'")
    await rows.add("DELETE FROM saga")
    await process.gauges.run_once()
    assert process.shown("saga_dead_letters_open", kind="record", reason="schema", next="person") is None
    assert process.shown("saga_stuck_count", saga_type=NAME) == 0


async def test_without_a_database_they_grow_old(rows: Rows) -> None:
    """When Postgres is away the last numbers stay, with the moment at which they were true."""
    process = rows.process()
    await process.gauges.run_once()
    refreshed = process.shown("saga_gauges_refreshed_timestamp_seconds")
    process.gauges._reads = SagaReads("postgresql://saga@127.0.0.1:9/saga", 1)
    with pytest.raises(Unavailable):
        await process.gauges.run_once()
    assert process.shown("saga_gauges_refreshed_timestamp_seconds") == refreshed
    assert process.shown("saga_stuck_count", saga_type=NAME) == 0


async def test_no_row_makes_a_label(rows: Rows) -> None:
    """Reasons that are no words of ours, and sagas of definitions that nobody remembers, are counted without names."""
    bomb = 'bomb"} 1\nbomb_'
    await rows.add(INCIDENT, bomb, 10)
    await rows.add(LETTER, bomb, 1, 10)
    await rows.add(SAGA, uuid.uuid4(), 31_000, "pending", 300.0)
    process = rows.process()
    await process.gauges.run_once()
    process.metrics.count_verdicts({("quarantined", bomb): 1})
    process.metrics.count_commands([bomb])
    assert b"bomb" not in generate_latest(process.metrics.registry)
    assert process.shown("saga_incidents_open", reason="other") == 1
    assert process.shown("saga_stuck_count", saga_type="unknown") == 1
    assert process.shown("saga_dead_letters_total", reason="other") == 1
