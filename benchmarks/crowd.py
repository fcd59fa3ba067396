"""A million sagas to look through: most have ended, some are in flight, many are suspended, written straight in."""

from __future__ import annotations

import asyncpg
import msgspec

from benchmarks.servers import say

CHUNK = 50_000
NAMES = ("OrderFulfillment", "TravelBooking", "BankTransfer")
RARE_STEP, COMMON_STEP = "send_confirmation", "create_shipment"
RARE_REASON, COMMON_REASON = "conflicting_undo", "compensation_dead_lettered"
APART_MS = 100

# Ids are version 7 UUIDs in the order of the numbers, a tenth of a second apart; the newest are in flight. Of the
# others every tenth is suspended. The fourth step is rare in either: one in a thousand waits or hangs there.
PAST = """
CREATE TEMP TABLE past AS
SELECT
    n,
    (lpad(to_hex($first_ms::bigint + n * $apart), 12, '0') || '7000' || '8' || substr(md5(n::text), 1, 15))::uuid AS id,
    to_timestamp(($first_ms::bigint + n * $apart) / 1000.0) AS at,
    (n % 16)::smallint AS part,
    (ARRAY[$ids])[1 + n % 3]::smallint AS definition_id,
    'crowd-' || n AS business_key,
    CASE
        WHEN n >= $awake_from AND n % 100 = 7 THEN 'compensating'
        WHEN n >= $awake_from THEN CASE WHEN n % 5 = 0 THEN 'started' ELSE 'pending' END
        WHEN n % 10 = 0 THEN 'suspended'
        WHEN n % 50 = 1 THEN 'failed'
        WHEN n % 9999 = 2 THEN 'abandoned'
        ELSE 'completed'
    END AS status,
    CASE WHEN n % 1000 = 0 THEN 'D' ELSE substr('ABC', 1 + (n / 10 % 3)::integer, 1) END AS letters
FROM generate_series($from::bigint, $to::bigint) AS n
"""
SAGAS = """
INSERT INTO saga (
    id, part, definition_id, created_at, business_key, input, version, updated_at, deadline, wake_at, status, state,
    waits_at, hangs_at
)
SELECT
    id, part, definition_id, at, business_key,
    convert_to('{"order_id":"' || business_key || '","note":"' || repeat(md5(business_key), 8) || '"}', 'UTF8'), 4, at,
    CASE WHEN n >= $2 THEN now() + interval '7 days' END, CASE WHEN n >= $2 THEN now() + interval '7 days' END, status,
    $1, CASE WHEN n >= $2 OR status = 'suspended' THEN letters END, CASE WHEN status = 'suspended' THEN letters END
FROM past
"""
KEYS = """
INSERT INTO saga_key (definition, business_key, saga_id, input_hash)
SELECT d.name, p.business_key, p.id, sha256(p.business_key::bytea)
FROM past AS p JOIN saga_definition AS d ON d.id = p.definition_id
"""
LABELS = """
INSERT INTO saga_label (name, value, saga_id)
SELECT label.name, label.value, p.id
FROM past AS p CROSS JOIN LATERAL (
    VALUES ('tenant', 'tenant-' || p.n % 97), ('region', (ARRAY['eu', 'us', 'asia'])[1 + p.n / 20 % 3])
) AS label (name, value)
WHERE p.n % 10 IN (0, 1) AND p.n / 10 % 2 = 0
"""
INCIDENTS = """
INSERT INTO incident (saga_id, saga_version, reason, step_name, detail, opened_at)
SELECT id, 4, CASE WHEN n % 10000 = 0 THEN 'conflicting_undo' ELSE 'compensation_dead_lettered' END, 'create_shipment',
    'no answer in time', at
FROM past WHERE status = 'suspended'
"""
TALLY = """
INSERT INTO saga_tally (definition_id, status, sagas)
SELECT definition_id, status, count(*) FROM past GROUP BY definition_id, status
"""
STATE = msgspec.json.encode(
    {
        "steps": [
            {
                "outcome": "completed",
                "attempt": 1,
                "result": {"reservation_id": "0198c0de-0000-7000-8000-000000000001"},
            },
            {"outcome": "completed", "attempt": 1, "result": {"payment_id": "0198c0de-0000-7000-8000-000000000002"}},
            {"outcome": "issued", "attempt": 1, "deadline_ms": 1_767_225_600_000},
            {},
        ]
    }
)


async def insert_crowd(
    connection: asyncpg.Connection[asyncpg.Record], count: int, in_flight: int, first_ms: int
) -> None:
    """Add `count` sagas, the newest `in_flight` of them in progress; the definitions must be registered."""
    rows = await connection.fetch("SELECT name, min(id) AS id FROM saga_definition GROUP BY name")
    ids = {row["name"]: row["id"] for row in rows}
    awake_from = count - in_flight
    for first in range(0, count, CHUNK):
        last = min(count, first + CHUNK) - 1
        await connection.execute("DROP TABLE IF EXISTS past")
        values = {"first_ms": first_ms, "apart": APART_MS, "awake_from": awake_from, "from": first, "to": last}
        # CREATE TABLE AS takes no parameters; these are our own numbers.
        text = PAST.replace("$ids", ", ".join(str(ids[name]) for name in NAMES))
        for name, value in values.items():
            text = text.replace(f"${name}::", f"{value}::").replace(f"${name}", str(value))
        await connection.execute(text)
        await connection.execute(SAGAS, STATE, awake_from)
        await connection.execute(KEYS)
        await connection.execute(LABELS)
        await connection.execute(INCIDENTS)
        await connection.execute(TALLY)
        if last % 200_000 > 200_000 - CHUNK:
            say(f"crowd: {last + 1:,} of {count:,} sagas inserted")
    await connection.execute("DROP TABLE IF EXISTS past")
    await connection.execute("VACUUM (ANALYZE) saga, saga_key, saga_label, saga_tally, incident", timeout=600)
    await connection.execute("CHECKPOINT", timeout=600)
