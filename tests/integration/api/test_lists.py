"""Lists stay cheap: whatever the filter and however many sagas there are, a page reads a few rows of an index."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from coordinator.store.database import statement
from coordinator.store.migrations import migrate
from coordinator.store.reads import ListFilter, SagaReads, list_query

LIMIT = 50
FIRST_MS = 1_767_225_600_000
SAGAS = 20_000
STATUSES = 8
# One saga in a tenth of a second; one in a thousand is suspended, one in a hundred failed, all others are completed.
FILL = """
INSERT INTO saga (id, part, definition_id, created_at, business_key, input, version, updated_at, status, state)
SELECT
    (substr(x.hex, 1, 8) || '-' || substr(x.hex, 9) || '-7000-8000-' || lpad(to_hex(x.n), 12, '0'))::uuid,
    0, 1 + x.n % 2, to_timestamp(($1::bigint + x.n * 100)::double precision / 1000), 'key-' || x.n, '{}', 1, now(),
    CASE WHEN x.n % 1000 = 0 THEN 'suspended' WHEN x.n % 100 = 1 THEN 'failed' ELSE 'completed' END, '{"steps":[]}'
FROM (SELECT n, lpad(to_hex($1::bigint + n * 100), 12, '0') AS hex FROM generate_series(1, $2::integer) AS n) AS x
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
]


@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "statistics"])
async def test_a_page_reads_a_few_rows_of_an_index(fresh_database: str, analyzed: bool) -> None:
    """With and without statistics, no filter makes a page read more than its limit for each definition and status."""
    await migrate(fresh_database)
    connection = await asyncpg.connect(fresh_database)
    try:
        await connection.execute("INSERT INTO saga_definition (name, version) VALUES ('First', 1), ('Second', 1)")
        await connection.execute(FILL, FIRST_MS, SAGAS)
        if analyzed:
            await connection.execute("ANALYZE")
    finally:
        await connection.close()
    reads = SagaReads(fresh_database, 1)
    try:
        for chosen in FILTERS:
            plan = await _explained(reads, chosen)
            assert _most_rows(plan) <= 2 * STATUSES * LIMIT, (chosen, plan)
    finally:
        await reads.stop()


async def _explained(reads: SagaReads, chosen: ListFilter) -> dict[str, Any]:
    name, arguments = list_query(chosen, None, LIMIT)
    query = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement(name)}"
    rows = await reads._run(lambda session: session.fetch(query, *arguments))
    plan: dict[str, Any] = json.loads(rows[0][0])[0]["Plan"]
    return plan


def _most_rows(node: dict[str, Any]) -> float:
    """The most rows that one node of a plan looked at."""
    own = node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
    return float(max([own, *(_most_rows(child) for child in node.get("Plans", []))]))
