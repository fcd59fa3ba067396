"""Lists stay cheap: whatever the filter and however many sagas there are, a page reads a few rows of an index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from coordinator.saga.model import RESTING
from coordinator.store.database import statement
from coordinator.store.lists import IN_PROGRESS_MAX, list_query
from coordinator.store.migrations import migrate
from coordinator.store.reads import ListFilter, SagaReads

LIMIT = 50
PAGE = 997
FIRST_MS = 1_767_225_600_000
SAGAS = 20_000
AT_REST = 12_000
STATUSES = 8
DEFINITIONS = """
INSERT INTO saga_definition (name, version, content)
SELECT name, 1, '{"steps":[{"name":"first","participant":"one"},{"name":"second","participant":"two"}]}'
FROM unnest(ARRAY['First', 'Second']) AS name
"""
# One saga in a tenth of a second. Of those at rest one in a thousand is suspended, one in a hundred failed, all others
# are completed; the newest are in progress, one in a hundred of them turned back. The second step is the rare one.
FILL = """
INSERT INTO saga (
    id, part, definition_id, created_at, business_key, input, version, updated_at, status, deadline, wake_at, state,
    waits_at, hangs_at
)
SELECT
    y.id, 0, y.definition_id, y.at, 'key-' || y.n, '{}', 1, now(), y.status, y.wake_at, y.wake_at, '{"steps":[]}',
    CASE WHEN y.wake_at IS NOT NULL OR y.status = 'suspended' THEN y.letters END,
    CASE WHEN y.status = 'suspended' THEN y.letters END
FROM (
    SELECT
        x.n, 1 + x.n % 2 AS definition_id,
        (substr(x.hex, 1, 8) || '-' || substr(x.hex, 9) || '-7000-8000-' || lpad(to_hex(x.n), 12, '0'))::uuid AS id,
        to_timestamp(($1::bigint + x.n * 100)::double precision / 1000) AS at,
        CASE WHEN x.n > $3 THEN now() END AS wake_at,
        CASE WHEN x.n % 5000 = 0 THEN 'B' ELSE 'A' END AS letters,
        CASE
            WHEN x.n > $3 THEN CASE WHEN x.n % 100 = 0 THEN 'compensating' ELSE 'pending' END
            WHEN x.n % 1000 = 0 THEN 'suspended'
            WHEN x.n % 100 = 1 THEN 'failed'
            ELSE 'completed'
        END AS status
    FROM (SELECT n, lpad(to_hex($1::bigint + n * 100), 12, '0') AS hex FROM generate_series(1, $2::integer) AS n) AS x
) AS y
"""
LABELS = """
INSERT INTO saga_label (name, value, saga_id)
SELECT 'tenant', 'acme', id FROM saga UNION ALL SELECT 'rare', 'yes', id FROM saga WHERE business_key LIKE '%777'
"""
INCIDENTS = """
INSERT INTO incident (saga_id, saga_version, reason, detail)
SELECT id, 1, 'late', '' FROM saga UNION ALL SELECT id, 1, 'retries_exhausted', '' FROM saga WHERE status = 'suspended'
"""
FILTERS = [
    ListFilter(),
    ListFilter(statuses=("suspended",)),
    ListFilter(statuses=("compensating",)),
    ListFilter(statuses=("failed", "suspended"), definition="Second"),
    ListFilter(definition="First"),
    ListFilter(definition="Unknown"),
    ListFilter(statuses=("completed",), since_ms=FIRST_MS + 1_500_000),
    ListFilter(statuses=("suspended",), until_ms=FIRST_MS + 1_000_000),
    ListFilter(since_ms=FIRST_MS + 500_000, until_ms=FIRST_MS + 503_000),
    ListFilter(business_key="key-7"),
    ListFilter(definition="First", version=1),
    ListFilter(statuses=("compensating", "pending"), step="first"),
    ListFilter(statuses=("compensating",), participant="two"),
    ListFilter(statuses=("suspended",), step="second"),
    ListFilter(statuses=("suspended",), participant="one", definition="Second"),
    ListFilter(labels=(("tenant", "acme"),)),
    ListFilter(statuses=("abandoned",), labels=(("tenant", "acme"),)),
    ListFilter(labels=(("rare", "yes"), ("tenant", "acme"))),
    ListFilter(incident="late"),
    ListFilter(incident="retries_exhausted", statuses=("suspended",)),
    ListFilter(incident="late", statuses=("failed",), labels=(("tenant", "acme"),)),
    ListFilter(definitions=frozenset({"Second"})),
    ListFilter(definitions=frozenset()),
]


@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "statistics"])
async def test_a_page_reads_a_few_rows_of_an_index(fresh_database: str, analyzed: bool) -> None:
    """With and without statistics, a page reads its limit per definition and status, or what a walk may look at."""
    await migrate(fresh_database)
    connection = await asyncpg.connect(fresh_database)
    try:
        await _fill(connection)
        if analyzed:
            await connection.execute("ANALYZE")
    finally:
        await connection.close()
    reads = SagaReads(fresh_database, 1)
    try:
        for chosen in FILTERS:
            plan = await _explained(reads, chosen)
            walks = (
                chosen.statuses is None or not RESTING.issuperset(chosen.statuses) or chosen.labels or chosen.incident
            )
            bound = IN_PROGRESS_MAX + 1 if walks else 2 * STATUSES * LIMIT
            assert _most_rows(plan) <= bound, (chosen, plan)
            assert ("Seq Scan", "saga") not in list(_nodes(plan))
    finally:
        await reads.stop()


async def test_pages_together_are_the_whole_list(fresh_database: str) -> None:
    """Whatever the filter, walking all pages shows exactly the sagas that fit it, newest first, each once."""
    await migrate(fresh_database)
    connection = await asyncpg.connect(fresh_database)
    reads = SagaReads(fresh_database, 1)
    try:
        await _fill(connection)
        for chosen in FILTERS:
            wanted = [str(row["id"]) for row in await connection.fetch(EXPECTED, *_wanted(chosen))]
            assert await _walked(reads, chosen) == wanted, chosen
    finally:
        await reads.stop()
        await connection.close()


async def _fill(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.execute(DEFINITIONS)
    await connection.execute(FILL, FIRST_MS, SAGAS, AT_REST)
    await connection.execute("INSERT INTO saga_key SELECT 'First', business_key, id, sha256('') FROM saga LIMIT 10")
    await connection.execute(LABELS)
    await connection.execute(INCIDENTS)


# The plain meaning of the filters, with no index in mind.
EXPECTED = """
SELECT s.id FROM saga AS s JOIN saga_definition AS d ON d.id = s.definition_id
WHERE ($1::text[] IS NULL OR s.status = ANY($1))
    AND ($2::text IS NULL OR d.name = $2) AND ($3::text IS NULL OR s.business_key = $3)
    AND ($4::bigint IS NULL OR s.created_at >= to_timestamp($4 / 1000.0))
    AND ($5::bigint IS NULL OR s.created_at < to_timestamp($5 / 1000.0))
    AND ($6::text IS NULL OR s.waits_at LIKE '%' || $6 || '%')
    AND ($7::text[] IS NULL OR NOT EXISTS (
        SELECT FROM unnest($7) AS x WHERE x NOT IN (SELECT l.name FROM saga_label AS l WHERE l.saga_id = s.id)))
    AND ($8::text IS NULL OR s.id IN (SELECT saga_id FROM incident WHERE reason = $8))
    AND ($9::text[] IS NULL OR d.name = ANY($9))
ORDER BY s.id DESC
"""


def _wanted(chosen: ListFilter) -> list[Any]:
    letter = {"first": "A", "one": "A", "second": "B", "two": "B"}.get(chosen.step or chosen.participant or "")
    labels = [name for name, _ in chosen.labels] or None
    names = None if chosen.definitions is None else sorted(chosen.definitions)
    bounds = (chosen.since_ms, chosen.until_ms)
    return [chosen.statuses, chosen.definition, chosen.business_key, *bounds, letter, labels, chosen.incident, names]


async def _walked(reads: SagaReads, chosen: ListFilter) -> list[str]:
    seen: list[str] = []
    before: str | None = None
    while True:
        found = await reads.page(chosen, before, PAGE)
        assert len(found.sagas) <= PAGE
        seen += [saga.id for saga in found.sagas]
        if found.behind is None:
            return seen
        assert before is None or found.behind < before
        before = found.behind


async def _explained(reads: SagaReads, chosen: ListFilter) -> dict[str, Any]:
    name, arguments = list_query(chosen, None, LIMIT)
    query = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement(name)}"
    rows = await reads._run(lambda session: session.fetch(query, *arguments))
    plan: dict[str, Any] = json.loads(rows[0][0])[0]["Plan"]
    return plan


def _nodes(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield node["Node Type"], node.get("Relation Name", "")
    for child in node.get("Plans", []):
        yield from _nodes(child)


def _most_rows(node: dict[str, Any]) -> float:
    """The most rows that one node of a plan looked at."""
    own = node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
    return float(max([own, *(_most_rows(child) for child in node.get("Plans", []))]))
