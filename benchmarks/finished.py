"""Sagas that ended before the measurement, written straight into the tables."""

from __future__ import annotations

import asyncpg

from benchmarks.load import DEFINITION, TRANSITIONS_COMPLETED, order
from benchmarks.servers import say
from coordinator.wire.strict_json import encode

CHUNK = 50_000
STEPS = ("reserve_inventory", "process_payment", "create_shipment", "send_confirmation")

# Ids are version 7 UUIDs in the order of the numbers, as the coordinator makes them; every row has a real one's size.
IDS = """
CREATE TEMP TABLE past AS
SELECT number,
       (lpad(to_hex((extract(epoch FROM $3::timestamptz) * 1000)::bigint + number / 10), 12, '0')
           || '7' || lpad(to_hex(number % 4096), 3, '0') || '8' || substr(md5(number::text), 1, 15))::uuid AS id,
       (number % 16)::smallint AS part,
       'past-' || lpad(number::text, 12, '0') AS business_key,
       $3::timestamptz AS at
FROM generate_series($1::bigint, $2::bigint) AS number
"""
SAGAS = """
INSERT INTO saga (id, part, definition_id, created_at, business_key, input, version, updated_at, status, state)
SELECT p.id, p.part, d.id, p.at, p.business_key,
       convert_to(replace($2, 'past-', p.business_key), 'UTF8'), $3, p.at, 'completed', $4
FROM past AS p, saga_definition AS d WHERE d.name = $1
"""
KEYS = """
INSERT INTO saga_key SELECT $1, business_key, id, sha256(business_key::bytea) FROM past
"""
LOG = """
INSERT INTO saga_log (saga_id, version, at, part, event, step_name, status, data)
SELECT p.id, n, p.at, p.part, CASE n WHEN 1 THEN 'SagaStarted' ELSE 'StepCompleted' END,
       CASE WHEN n > 1 THEN ($1::text[])[n - 1] END,
       CASE n WHEN 1 THEN 'started' WHEN $2 THEN 'completed' ELSE 'pending' END, $3
FROM past AS p, generate_series(1, $2::integer) AS n
"""
# A look at the newest finished saga of the coordinator's own, so that the copies are as large.
SAMPLE = """
SELECT s.state, l.data FROM saga AS s JOIN saga_log AS l ON l.saga_id = s.id AND l.version = 2
WHERE s.status = 'completed' LIMIT 1
"""


async def insert_finished(connection: asyncpg.Connection[asyncpg.Record], count: int) -> None:
    """Add so many completed sagas with key and log; needs one real completed saga to copy, and takes a while."""
    sample = await connection.fetchrow(SAMPLE)
    assert sample is not None, "there is no completed saga to copy"
    began = await connection.fetchval("SELECT date_trunc('day', now())")
    body = encode(order("past-")).decode()
    for first in range(0, count, CHUNK):
        last = min(count, first + CHUNK) - 1
        await connection.execute("DROP TABLE IF EXISTS past")
        await connection.execute(_literal(IDS, first, last, began.isoformat()))
        await connection.execute(SAGAS, DEFINITION, body, TRANSITIONS_COMPLETED, sample["state"])
        await connection.execute(KEYS, DEFINITION)
        await connection.execute(LOG, list(STEPS), TRANSITIONS_COMPLETED, sample["data"])
        if last % 200_000 > 200_000 - CHUNK:
            say(f"finished sagas: {last + 1:,} of {count:,} inserted")
    await connection.execute("DROP TABLE IF EXISTS past")
    await connection.execute("VACUUM (ANALYZE) saga, saga_key, saga_log", timeout=600)
    await connection.execute("CHECKPOINT", timeout=600)


def _literal(statement: str, *values: object) -> str:
    # CREATE TABLE AS takes no parameters; these are our own numbers and times.
    for number, value in enumerate(values, 1):
        statement = statement.replace(f"${number}", f"'{value}'")
    return statement
