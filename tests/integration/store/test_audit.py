"""The audit at some size: each filter walks an index of its own, and entries of refusals are kept as they were told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from coordinator.parts import SystemClock
from coordinator.services.auditing import Auditing
from coordinator.store.audit import LAST_ACT, AuditFilter, AuditReads, _query
from coordinator.store.database import statement
from coordinator.store.migrations import migrate
from coordinator.store.postgres import PostgresStore
from coordinator.store.reads import SagaReads
from deploy.local.stack import LocalStack
from tests.integration.store.workload import Connection

ENTRIES = 20_000
LIMIT = 50
SAGA = "019a4b1e-7a52-7c3e-9d5e-0c8a51b8f2aa"
FIRST_MS = 1_772_323_200_000
HOUR_MS = 3_600_000
FILL = """
INSERT INTO audit_log (at, actor, action, outcome, reason, saga_id, letter_id, subject, version_before, version_after,
                       request_id, state_before, state_after)
SELECT
    to_timestamp($1::double precision / 1000) + n * interval '1 minute',
    CASE WHEN n % 1000 = 0 THEN 'seldom' ELSE (ARRAY['ann', 'bob', 'eve'])[1 + n % 3] END,
    CASE WHEN n % 999 = 0 THEN 'abandon' ELSE action END, outcome, 'because',
    CASE WHEN kind = 0 THEN CASE WHEN n % 4000 = 0 THEN $2::uuid ELSE gen_random_uuid() END END,
    CASE WHEN kind = 1 THEN n / 8 END, CASE WHEN kind = 2 THEN 'key:' || n % 100 END,
    CASE WHEN kind = 0 AND outcome = 'done' THEN n END, CASE WHEN kind = 0 AND outcome = 'done' THEN n + 1 END,
    'request-' || n, '{"status": "suspended"}', '{"status": "pending"}'
FROM generate_series(1, $3::integer) AS n,
    LATERAL (SELECT (n % 8) % 3 AS kind, CASE WHEN n % 1500 = 0 THEN 'refused' ELSE 'done' END AS outcome) AS a,
    LATERAL (SELECT (ARRAY['retry', 'discard', 'revoke_key'])[1 + kind] AS action) AS b
ORDER BY n
"""
FILTERS = [
    AuditFilter(),
    AuditFilter(actor="ann"),
    AuditFilter(actor="seldom"),
    AuditFilter(action="retry"),
    AuditFilter(action="abandon"),
    AuditFilter(actor="ann", action="abandon"),
    AuditFilter(saga_id=SAGA),
    AuditFilter(letter_id=7),
    AuditFilter(subject="key:1"),
    AuditFilter(outcome="refused"),
    AuditFilter(outcome="done"),
    AuditFilter(actor="ann", outcome="refused"),
    AuditFilter(action="retry", outcome="refused"),
    AuditFilter(since_ms=FIRST_MS + HOUR_MS, until_ms=FIRST_MS + 2 * HOUR_MS),
    AuditFilter(actor="ann", until_ms=FIRST_MS + 5 * HOUR_MS),
]


@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "statistics"])
async def test_a_page_reads_a_few_rows_of_an_index(stack: LocalStack, fresh_database: str, analyzed: bool) -> None:
    """With and without statistics, no single filter makes a page read much more than its limit."""
    application_url = stack.application_url(fresh_database)
    await migrate(fresh_database, application_url)
    owner = await asyncpg.connect(fresh_database)
    try:
        await owner.execute(FILL, FIRST_MS, SAGA, ENTRIES)
        if analyzed:
            await owner.execute("ANALYZE audit_log")
    finally:
        await owner.close()
    # A plan for any value, as sessions come to use: it must serve the seldom ones as well.
    reads = SagaReads(f"{application_url}?plan_cache_mode=force_generic_plan", 1)
    try:
        for chosen in FILTERS:
            plan = await _explained(reads, chosen)
            assert _most_rows(plan) <= 4 * LIMIT, (chosen, plan)
            page = await AuditReads(reads).page(chosen, None, LIMIT)
            assert [entry.id for entry in page] == sorted((entry.id for entry in page), reverse=True)
            assert page, chosen
    finally:
        await reads.stop()


async def test_refusals_are_kept_as_they_were_told(store: PostgresStore, plain: Connection) -> None:
    """An entry says who was refused what, why, and with which status; of a saga, or of the request."""
    recorder, stopping = Auditing(store, SystemClock()), asyncio.Event()
    work = asyncio.create_task(recorder.run(stopping))
    await recorder.refused("eve", "POST /v1/sagas/{saga_id}/retry", "not for viewers", 403, "r-1", SAGA)
    await recorder.refused("eve", "POST /v1/keys", "not for viewers", 403, "r-2")
    stopping.set()
    await work
    rows = await plain.fetch("SELECT * FROM audit_log WHERE actor = 'eve' ORDER BY id")
    assert [(row["action"], row["outcome"], row["reason"], row["request_id"]) for row in rows] == [
        ("POST /v1/sagas/{saga_id}/retry", "refused", "not for viewers", "r-1"),
        ("POST /v1/keys", "refused", "not for viewers", "r-2"),
    ]
    assert [(str(row["saga_id"]), row["subject"]) for row in rows] == [(SAGA, None), ("None", "request:POST /v1/keys")]
    assert [json.loads(row["state_after"]) for row in rows] == [{"status": 403, "times": 1}] * 2


async def _explained(reads: SagaReads, chosen: AuditFilter) -> Any:
    """Plan and run the page as the reads do."""
    first, last = 0, LAST_ACT
    if chosen.since_ms is not None or chosen.until_ms is not None:
        [ids] = await reads.fetch("find_act_ids", chosen.since_ms, chosen.until_ms)
        first, last = ids["after"] or first, ids["before"] or last
    name, arguments = _query(chosen)
    text = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement(name)}"
    bounds = (last, LIMIT, first, chosen.since_ms, chosen.until_ms)
    found = await reads._run(lambda connection: connection.fetchval(text, *bounds, *arguments))
    return json.loads(found)[0]["Plan"]


def _most_rows(plan: Any) -> float:
    """The most rows that a node gave or threw away."""
    own: float = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return max([own, *(_most_rows(each) for each in plan.get("Plans", []))])
