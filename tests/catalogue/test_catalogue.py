"""The whole catalogue of bad input at one running stack, while sagas of every kind rest in it: nobody notices.

Both tables, and some changes of each of their rows, are sent in one shuffled order. The tests look at what is left.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.catalogue import digest
from tests.catalogue.aftermath import Aftermath
from tests.catalogue.population import is_quiet
from tests.catalogue.stage import Stage
from tests.e2e.definitions import PATIENT
from tests.e2e.orders import order
from tests.e2e.world import PARTITIONS, eventually
from tests.figures import keep
from tests.integration.api.bad_requests import raw_requests
from tests.integration.engine.batches import FLOOD, log_folder
from tests.integration.engine.bench import PATIENCE_S, reply

pytestmark = pytest.mark.timeout(480)

PROBLEM = "application/problem+json"
SERVED_S = 10.0
STATUSES = {
    "scheduled",
    "started",
    "pending",
    "compensating",
    "suspended",
    "completed",
    "failed",
    "abandoned",
}

# One change for each kind of row that a digest holds; none that the coordinator would mind.
CHANGES = {
    "saga": "UPDATE saga SET traceparent = 'x' WHERE id = (SELECT min(id::text)::uuid FROM saga)",
    "saga_key": "UPDATE saga_key SET input_hash = sha256('x') WHERE saga_id = (SELECT min(id::text)::uuid FROM saga)",
    "saga_log": "UPDATE saga_log SET data = 'x' WHERE saga_id IN (SELECT id FROM saga WHERE status = 'failed' LIMIT 1)",
    "saga_label": "UPDATE saga_label SET value = 'x'",
    "incident": "UPDATE incident SET detail = 'x'",
    "held_step": "UPDATE held_step SET held_at = held_at - interval '1 second'",
    "incident_note": "UPDATE incident_note SET text = 'x'",
    "api_key": "UPDATE api_key SET created_by = 'x' WHERE name = 'over'",
    "audit_log": "INSERT INTO audit_log (actor, action, reason, outcome, subject) VALUES ('x', 'x', 'x', 'done', 'x')",
    "idempotency_key": "UPDATE idempotency_key SET tries = 7",
    "batch_operation": "UPDATE batch_operation SET reason = 'x'",
    "batch_operation_item": "UPDATE batch_operation_item SET version_after = 77",
    "dead_letter": "UPDATE dead_letter SET detail = 'x' WHERE id = (SELECT min(id) FROM dead_letter)",
}


async def test_there_is_something_to_lose(stage: Stage, aftermath: Aftermath) -> None:
    """Sagas of every status were there, and rows of every kind: the digests are of something."""
    found = {row["status"] for row in await stage.world.rows("SELECT DISTINCT status FROM saga")}
    assert found == STATUSES
    empty = {name for name, rows in aftermath.before.sizes.items() if not rows}
    assert empty == set()
    for table in ("saga_label", "incident", "held_step"):
        assert await stage.world.value(f"SELECT count(*) FROM {table}"), table  # noqa: S608
    assert await digest.unknown_tables(stage) == set()


def test_no_saga_moves_that_was_not_told_to(aftermath: Aftermath) -> None:
    """Every row of every saga is as it was, but of those at which a record was aimed that can be read and fits."""
    before, after = aftermath.before.sagas, aftermath.after.sagas
    aimed = {shot.target.saga_id: shot.name for shot, _ in aftermath.sent.records}
    may_move = {shot.target.saga_id for shot, _ in aftermath.sent.records if shot.moves}
    changed = {saga_id for saga_id, word in before.items() if after.get(saga_id) != word}
    assert {saga_id: aimed.get(saga_id) for saga_id in changed - may_move} == {}
    keep({**aftermath.figures, "sagas_untouched": len(before.keys() - changed)})


def test_no_saga_begins_that_was_not_answered(aftermath: Aftermath) -> None:
    """A change may make a bad request a good one: whatever began was said to have begun, and nothing else did.

    Neither did an observed one, but for those of the good events behind the bad ones of each partition.
    """
    begun = aftermath.after.sagas.keys() - aftermath.before.sagas.keys()
    assert begun == aftermath.sent.answered | aftermath.sent.observed


@pytest.mark.parametrize("table", [*digest.OTHERS, "dead_letter"])
def test_nothing_else_changes(aftermath: Aftermath, table: str) -> None:
    """What belongs to no saga is as it was: definitions, owners of partitions, keys, acts, notes, effects."""
    assert aftermath.after.others[table] == aftermath.before.others[table]


def test_every_request_is_refused_as_its_row_says(aftermath: Aftermath) -> None:
    """Each row of REST has its status, and no change of any of them finds a fault of ours."""
    wrong = []
    for call, answer in aftermath.sent.requests:
        fits = answer.status in call.statuses if call.statuses else answer.status < 500
        if not fits or (answer.status >= 400 and answer.content_type != PROBLEM):
            wrong.append((call.name, call.target[:80], call.statuses, answer.status, answer.body[:300]))
    assert wrong == []


def test_what_is_no_http_is_answered_as_such(aftermath: Aftermath) -> None:
    """Lengths that lie, heads without an end and noise get their status, and their connection ends."""
    wanted = {name: status for name, (_, status) in raw_requests().items()}
    assert {name: int(received.split(b" ", 2)[1]) for name, received in aftermath.sent.noise.items()} == wanted


async def test_every_record_gets_the_verdict_of_its_row(stage: Stage, aftermath: Aftermath) -> None:
    """Each row of Kafka is counted as what it is; whatever cannot be read is set aside with its reason."""
    known = Counter({"quarantined": FLOOD}) + Counter(
        shot.verdict for shot, _ in aftermath.sent.records if shot.verdict is not None
    )
    unknown = sum(shot.verdict is None for shot, _ in aftermath.sent.records)
    hints = len(aftermath.sent.answered)  # the API tells an engine of each saga that it began, on the same topic
    for verdict, count in aftermath.verdicts.items():
        assert known[verdict] <= count <= known[verdict] + unknown + hints, verdict
    ours = FLOOD + len(aftermath.sent.records)
    assert ours <= sum(aftermath.verdicts.values()) <= ours + hints
    rows = await stage.world.rows(
        "SELECT * FROM dead_letter WHERE id > $1 AND kind = 'record'", aftermath.before.last_letter
    )
    wrong = []
    for shot, offset in aftermath.sent.records:
        if shot.reason is None:
            continue
        places = [row for row in rows if (row["topic"], row["partition"]) == (stage.bench.topic, shot.target.part)]
        found = {row["reason"] for row in places if row["first_offset"] <= offset < row["next_offset"]}
        if not found & {shot.reason, "crowd"}:
            wrong.append((shot.name, shot.reason, found))
    assert wrong == []


def test_batches_that_nobody_can_read_were_among_them(stage: Stage, aftermath: Aftermath) -> None:
    """Where the broker's disk is ours a codec that nobody has and a wrong checksum were sent, too."""
    if log_folder(stage.world.stack) is None:
        pytest.skip(f"needs the files of a Kafka of our own, this is {stage.world.stack.kafka.description}")
    reasons = {shot.reason for shot, _ in aftermath.sent.records}
    assert {"codec", "corrupt"} <= reasons


async def test_what_could_be_read_had_its_effect(stage: Stage, aftermath: Aftermath) -> None:
    """A row that is a good reply in odd clothes moves its saga to where the row says."""
    rows = await stage.world.rows("SELECT id::text, status FROM saga")
    statuses = {row["id"]: row["status"] for row in rows}
    told = [shot for shot, _ in aftermath.sent.records if shot.verdict is not None and shot.moves]
    for shot in told:
        before, after = (side.sagas[shot.target.saga_id] for side in (aftermath.before, aftermath.after))
        assert before != after, shot.name
        assert shot.status in (None, statuses[shot.target.saga_id]), shot.name


def test_the_process_went_on_and_complains_of_nothing(stage: Stage, aftermath: Aftermath) -> None:
    """It is the same process, it has logged no error of its own, and each of its lines is JSON."""
    assert aftermath.sent.records
    child = stage.bench.engine.child
    assert (child.exit_code, child.pid) == (None, stage.pid)
    lines: list[dict[str, Any]] = [json.loads(line) for line in child.output().splitlines()]
    grave = [line for line in lines if line["level"] in ("error", "critical") or "exception" in line]
    assert grave == []


async def test_every_partition_serves_at_once(stage: Stage, aftermath: Aftermath) -> None:
    """Behind all of it a good reply, a good start over Kafka and one over REST are served in each partition."""
    bench = stage.bench
    for target in aftermath.waiting:
        assert target.saga_id in aftermath.before.sagas
        await bench.deliver(target.part, reply(target, target.completed()), within_s=SERVED_S)
        assert await bench.status(target) == "pending"
    orders = [order() for _ in range(PARTITIONS)]
    await stage.world.request_starts(orders, PATIENT)
    for one in orders:
        await stage.world.saga_of(one, within_s=SERVED_S)
    begun = await stage.post("/v1/sagas", {"definition": PATIENT, "input": order()})
    assert begun["status"] == "started"


@pytest.mark.parametrize("table", CHANGES)
async def test_a_change_would_have_been_noticed(stage: Stage, aftermath: Aftermath, table: str) -> None:
    """The digests are worth what they notice: one row of each kind that is changed makes them differ."""
    await eventually(lambda: is_quiet(stage), within_s=PATIENCE_S, what="nothing is on its way")
    before = await digest.take(stage, aftermath.before.last_letter)
    await stage.world.rows(CHANGES[table])
    after = await digest.take(stage, aftermath.before.last_letter)
    # Those that began in the storm are as impatient as they ship.
    moved = [saga_id for saga_id in aftermath.before.sagas if before.sagas[saga_id] != after.sagas[saga_id]]
    assert bool(moved) is (table in digest.OF_SAGAS)
    changed = {name for name, word in before.others.items() if after.others[name] != word}
    assert changed == {table} - {*digest.OF_SAGAS}


async def test_sagas_that_rested_go_on(stage: Stage, aftermath: Aftermath) -> None:
    """When the participants are back new orders are fulfilled, and every record of all has had its one verdict."""
    assert aftermath.sent.records
    await stage.call_participants_back()
    ids = await stage.bench.engine.start_many([order() for _ in range(3 * PARTITIONS)], PATIENT)
    query = "SELECT bool_and(status = 'completed') FROM saga WHERE id = ANY($1::uuid[])"
    await stage.world.until(query, ids, within_s=PATIENCE_S)
    world = stage.world
    for part, end in (await world.end_offsets()).items():
        await stage.bench.consumed(part, end - 1)
    verdicts = 'applied + duplicate + stale + "foreign" + quarantined'
    shards = await world.rows(f"SELECT part, next_offset - first_offset - ({verdicts}) AS unaccounted FROM shard")  # noqa: S608
    found = {row["part"]: row["unaccounted"] for row in shards}
    assert found == {part: world.invisible.get(part, 0) for part in range(PARTITIONS)}
