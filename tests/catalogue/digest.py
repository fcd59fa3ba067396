"""Every row that bad input has to leave alone, as one word per saga and one per table; and what it may change."""

from __future__ import annotations

from dataclasses import dataclass

from tests.catalogue.stage import Stage
from tests.e2e.orders import STEPS

# wake_at is lazy: it may be pushed to the deadline at any time, whatever comes.
SAGAS = """
SELECT s.id::text, md5(concat_ws(
    '|',
    (to_jsonb(s) - 'wake_at')::text,
    (SELECT string_agg(k::text, ',' ORDER BY k.definition, k.business_key) FROM saga_key AS k WHERE k.saga_id = s.id),
    (SELECT string_agg(l::text, ',' ORDER BY l.version) FROM saga_log AS l WHERE l.saga_id = s.id),
    (SELECT string_agg(n::text, ',' ORDER BY n.name) FROM saga_label AS n WHERE n.saga_id = s.id),
    (SELECT string_agg(i::text, ',' ORDER BY i.id) FROM incident AS i WHERE i.saga_id = s.id),
    (SELECT string_agg(o::text, ',' ORDER BY o.saga_version, o.position) FROM outbox AS o WHERE o.saga_id = s.id),
    (SELECT string_agg(h::text, ',' ORDER BY h.participant) FROM held_step AS h WHERE h.saga_id = s.id)
)) AS digest FROM saga AS s
"""

# What belongs to no saga: the rows of each table that must stay as they are.
OTHERS = {
    "saga_definition": "SELECT d::text AS row FROM saga_definition AS d",
    "installation": "SELECT i::text AS row FROM installation AS i",
    "shard": "SELECT concat_ws('|', part, epoch, owner, claimed_at, cluster_id, first_offset) AS row FROM shard",
    "incident_note": "SELECT n::text AS row FROM incident_note AS n",
    "api_key": "SELECT (to_jsonb(k) - 'last_used_at')::text AS row FROM api_key AS k",
    "audit_log": "SELECT a::text AS row FROM audit_log AS a WHERE outcome = 'done'",
    "idempotency_key": "SELECT i::text AS row FROM idempotency_key AS i",
    "batch_operation": "SELECT b::text AS row FROM batch_operation AS b",
    "batch_operation_item": "SELECT i::text AS row FROM batch_operation_item AS i",
    **{f"{step.participant}.effects": f"SELECT e::text AS row FROM {step.participant}.effects AS e" for step in STEPS},  # noqa: S608
}
OF_SAGAS = ("saga", "saga_key", "saga_log", "saga_label", "incident", "outbox", "held_step")
MAY_CHANGE = {
    "dead_letter": "what is set aside is added; what there was is compared with DEAD_LETTERS",
    "audit_log": "refusals are added",
    "shard": "how far a partition was read, and how many records got which verdict",
    "api_key": "when a key was used last",
    "saga_tally": "sums are folded; the checker compares them with the rows",
    "replica": "each process says every few seconds that it lives",
    "participant_state": "each process says every few seconds how participants do",
    "alembic_version": "nobody writes it but a migration",
}
DEAD_LETTERS = "SELECT d::text AS row FROM dead_letter AS d WHERE id <= $1"
TABLES = """
SELECT c.relname AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""


@dataclass(frozen=True)
class Digest:
    """All rows at one moment."""

    sagas: dict[str, str]
    others: dict[str, str]
    sizes: dict[str, int]
    last_letter: int


async def take(stage: Stage, last_letter: int | None = None) -> Digest:
    """Look at all rows; of the dead letters at those up to `last_letter`, or all that there are."""
    world = stage.world
    if last_letter is None:
        last_letter = int(await world.value("SELECT coalesce(max(id), 0) FROM dead_letter"))
    sagas = {row["id"]: row["digest"] for row in await world.rows(SAGAS)}
    others, sizes = {}, {"saga": len(sagas)}
    for name, query in {**OTHERS, "dead_letter": DEAD_LETTERS}.items():
        given = (last_letter,) if name == "dead_letter" else ()
        text = f"SELECT md5(string_agg(row, ',' ORDER BY row)) AS digest, count(*) AS rows FROM ({query}) AS r"  # noqa: S608
        [row] = await world.rows(text, *given)
        others[name], sizes[name] = row["digest"], row["rows"]
    return Digest(sagas, others, sizes, last_letter)


async def unknown_tables(stage: Stage) -> set[str]:
    """Tables that nobody has said anything about: a new one must be looked at, or be named as one that may change."""
    known = {*OTHERS, *OF_SAGAS, *MAY_CHANGE}
    return {row["name"] for row in await stage.world.rows(TABLES)} - known
