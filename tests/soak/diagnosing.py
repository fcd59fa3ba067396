"""What to look at when a soak has failed: what hangs and since when, who owns what, and the ends of the logs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from tests.e2e.world import World

TAIL_LINES = 15
QUERIES: Mapping[str, str] = {
    "sagas that have not ended, by definition and status": """
        SELECT d.name, s.status, count(*), min(s.updated_at)::text AS oldest, max(s.updated_at)::text AS newest
        FROM saga AS s JOIN saga_definition AS d ON d.id = s.definition_id
        WHERE s.status NOT IN ('completed', 'failed') GROUP BY 1, 2 ORDER BY 4
    """,
    "those that have waited longest": """
        SELECT s.id::text, d.name, s.business_key, s.part, s.status, s.version, s.updated_at::text, s.wake_at::text,
               s.deadline::text, convert_from(s.state, 'UTF8') AS state
        FROM saga AS s JOIN saga_definition AS d ON d.id = s.definition_id
        WHERE s.status NOT IN ('completed', 'failed') ORDER BY s.updated_at LIMIT 5
    """,
    "partitions": "SELECT part, owner, epoch, claimed_at::text, next_offset FROM shard ORDER BY part",
    "the outbox": """
        SELECT destination, partition, count(*), min(created_at)::text AS oldest FROM outbox GROUP BY 1, 2 ORDER BY 4
    """,
    "dead letters": "SELECT kind, reason, state, count(*), max(at)::text AS newest FROM dead_letter GROUP BY 1, 2, 3",
    "sessions that are busy": """
        SELECT pid, state, wait_event_type, wait_event, left(query, 100) AS query, state_change::text
        FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'
    """,
    "now": "SELECT clock_timestamp()::text AS now",
}


async def diagnose(world: World) -> str:
    """Gather what a person would ask for first; leaves out what cannot be had."""
    parts = []
    for what, query in QUERIES.items():
        rows: list[str] = ["cannot be asked for"]
        with contextlib.suppress(Exception):
            rows = [str(dict(row)) for row in await world.rows(query)]
        parts.append(f"--- {what}\n" + "\n".join(rows or ["none"]))
    with contextlib.suppress(Exception):
        parts.append(f"--- on its way\n{await world.unrest()}")
    newest = {coordinator.child.name: coordinator.child for coordinator in world.coordinators}
    for child in (*newest.values(), *world.participants.values()):
        state = "runs" if child.exit_code is None else f"has ended with {child.exit_code}"
        lines = child.output().splitlines()[-TAIL_LINES:]
        parts.append(f"--- {child.name} {state}, {child.log}\n" + "\n".join(lines))
    return "\n".join(parts)
