"""The schema: made once by any number of migrators, and a guard of what must be true."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from coordinator.store.database import statement
from coordinator.store.migrations import is_current, migrate
from coordinator.store.postgres import PostgresStore
from deploy.local.stack import LocalStack
from tests.integration.store.workload import Connection, Workload

DAYS_AHEAD = 14
WORDS_MIN = 4

# What a row says that must not be -> the constraint that refuses it, by its name.
BROKEN = {
    "a_status_is_a_word_of_the_dictionary": "UPDATE saga SET status = 'finished' WHERE id = $1",
    "versions_count_transitions_from_one": "UPDATE saga SET version = 0 WHERE id = $1",
    "a_finished_or_suspended_saga_waits_for_nothing": "UPDATE saga SET status = 'completed' WHERE id = $1",
    "a_saga_in_progress_has_something_to_wake_for": "UPDATE saga SET wake_at = NULL, deadline = NULL WHERE id = $1",
    "a_saga_wakes_no_later_than_its_deadline": "UPDATE saga SET deadline = wake_at - interval '1s' WHERE id = $1",
    "a_saga_is_known_by_its_id": "INSERT INTO saga (id, part, definition_id, created_at, business_key, input, version,"
    " updated_at, deadline, wake_at, status, state) SELECT id, part, definition_id, created_at, business_key, input,"
    " version, updated_at, deadline, wake_at, status, state FROM saga WHERE id = $1",
    "a_business_key_starts_one_saga_per_definition": "INSERT INTO saga_key SELECT * FROM saga_key WHERE saga_id = $1",
    "an_input_hash_is_a_sha256": "UPDATE saga_key SET input_hash = 'short' WHERE saga_id = $1",
    "an_act_has_a_reason": "INSERT INTO audit_log (actor, action, saga_id, reason, version_before, version_after)"
    " VALUES ('ann', 'retry', $1, '  ', 1, 2)",
    "an_act_moves_the_saga": "INSERT INTO audit_log (actor, action, saga_id, reason, version_before, version_after)"
    " VALUES ('ann', 'retry', $1, 'mended', 2, 2)",
    "a_record_says_where_it_came_from": "INSERT INTO dead_letter (kind, reason, detail, topic, partition, headers,"
    " saga_id) VALUES ('record', 'empty', '', 't', 0, '', $1)",
    "a_command_says_whose_it_is": "INSERT INTO dead_letter (kind, reason, detail, topic, partition, headers,"
    " saga_id) VALUES ('compensation', 'given_up', '', 't', 0, '', $1)",
    "a_dead_letter_is_open_redriven_or_discarded": "INSERT INTO dead_letter (kind, reason, detail, topic, partition,"
    " headers, saga_id, saga_version, command_id, state) VALUES ('action', 'r', '', 't', 0, '', $1, 1, 'c', 'lost')",
    "tries_are_counted_from_none": "INSERT INTO dead_letter (kind, reason, detail, topic, partition, headers, saga_id,"
    " saga_version, command_id, tries) VALUES ('action', 'r', '', 't', 0, '', $1, 1, 'c', -1)",
    "a_discarded_letter_is_left_alone": "INSERT INTO dead_letter (kind, reason, detail, cluster_id, topic, partition,"
    " first_offset, next_offset, headers, saga_id, complete, state, next_try_at)"
    " VALUES ('record', 'r', '', 'c', 't', 0, 1, 2, '', $1, true, 'discarded', now())",
    "only_a_whole_record_is_sent_again": "INSERT INTO dead_letter (kind, reason, detail, cluster_id, topic, partition,"
    " first_offset, next_offset, headers, saga_id, complete, next_try_at)"
    " VALUES ('record', 'r', '', 'c', 't', 0, 1, 2, '', $1, false, now())",
    "a_change_of_a_letter_says_who_and_why": "INSERT INTO dead_letter (kind, reason, detail, topic, partition, headers,"
    " saga_id, saga_version, command_id, changed_at) VALUES ('action', 'r', '', 't', 0, '', $1, 1, 'c', now())",
    "an_act_is_about_one_thing": "INSERT INTO audit_log (actor, action, saga_id, reason, version_before,"
    " version_after, letter_id) VALUES ('ann', 'retry', $1, 'mended', 1, 2, 7)",
    "an_act_on_a_saga_says_its_versions": "INSERT INTO audit_log (actor, action, saga_id, reason)"
    " VALUES ('ann', 'retry', $1, 'mended')",
    "an_act_is_done_or_refused": "INSERT INTO audit_log (actor, action, saga_id, reason, outcome)"
    " VALUES ('ann', 'retry', $1, 'mended', 'tried')",
    "an_assigned_incident_says_since_when": "INSERT INTO incident (saga_id, saga_version, reason, detail, assignee)"
    " VALUES ($1, 1, 'r', '', 'ann')",
    "an_open_incident_has_no_end": "INSERT INTO incident (saga_id, saga_version, reason, detail, resolved_because)"
    " VALUES ($1, 1, 'r', '', 'mended')",
    "acts_are_counted_from_none": "INSERT INTO incident (saga_id, saga_version, reason, detail, acts)"
    " VALUES ($1, 1, 'r', '', -1)",
    "a_note_belongs_to_an_incident": "INSERT INTO incident_note (incident_id, actor, text)"
    " SELECT 7, 'ann', $1::uuid::text",
    "a_note_says_something": "INSERT INTO incident_note (incident_id, actor, text) SELECT 7, $1::uuid::text, ' '",
    "a_label_is_on_a_saga_once": "INSERT INTO saga_label SELECT 'a', 'b', $1 FROM generate_series(1, 2)",
    "a_saga_has_one_value_per_label": "INSERT INTO saga_label SELECT 'a', n::text, $1 FROM generate_series(1, 2) AS n",
    "a_label_has_a_name_and_a_value": "INSERT INTO saga_label VALUES ('a', '', $1)",
    "a_tally_counts_a_word_of_the_dictionary": "INSERT INTO saga_tally"
    " SELECT definition_id, 'finished', 1 FROM saga WHERE id = $1",
    "there_is_one_installation_only": "INSERT INTO installation (one, secret)"
    " SELECT false, input FROM saga WHERE id = $1",
    "an_installation_has_a_secret_that_is_long_enough": "UPDATE installation"
    " SET secret = 'short' WHERE $1::uuid IS NOT NULL",
    "a_key_stands_for_one_request_of_an_actor": "INSERT INTO idempotency_key (actor, key, fingerprint, claim)"
    " SELECT 'ann', 'k', sha256(''), $1::uuid FROM generate_series(1, 2)",
    "a_fingerprint_of_a_request_is_a_sha256": "INSERT INTO idempotency_key (actor, key, fingerprint, claim)"
    " VALUES ('ann', 'k', 'short', $1::uuid)",
    "an_answer_has_status_headers_and_body": "INSERT INTO idempotency_key (actor, key, fingerprint, claim, status)"
    " VALUES ('ann', 'k', sha256(''), $1::uuid, 200)",
    "what_failed_here_is_no_answer_to_keep": "INSERT INTO idempotency_key (actor, key, fingerprint, claim, status,"
    " headers, body) VALUES ('ann', 'k', sha256(''), $1::uuid, 503, '{}', '')",
    **{
        name: f"INSERT INTO batch_operation (id, actor, verb, members, filter, statuses, confirmation, {columns})"
        f" SELECT $1::uuid, 'ann', 'retry', '{{}}', '{{}}', '{{suspended}}', 'c', {values}"
        for name, columns, values in (
            ("a_batch_operation_is_known_by_its_id", "reason, rate, total", "'r', 1, 1 FROM generate_series(1, 2)"),
            ("a_batch_operation_has_a_reason", "reason, rate, total", "' ', 1, 1"),
            ("a_batch_operation_moves_at_some_rate", "reason, rate, total", "'r', 0, 1"),
            ("a_batch_operation_is_in_a_known_state", "reason, rate, total, state", "'r', 1, 1, 'lost'"),
            ("outcomes_are_of_the_sagas_that_were_confirmed", "reason, rate, total, done", "'r', 1, 1, 2"),
            ("a_batch_operation_ends_when_it_is_done_or_cancelled", "reason, rate, total, state", "'r', 1, 1, 'done'"),
        )
    },
    **{
        name: f"INSERT INTO batch_operation_item (operation_id, saga_id, version, {columns})"
        f" SELECT $1::uuid, $1::uuid, 1, {values}"
        for name, columns, values in (
            ("a_batch_operation_has_each_saga_once", "version_after", "NULL::integer FROM generate_series(1, 2)"),
            ("an_item_is_done_or_refused_or_failed", "outcome", "'tried'"),
            ("an_item_that_is_not_done_says_why", "outcome", "'refused'"),
            ("an_item_that_is_done_says_its_version", "outcome", "'done'"),
        )
    },
    "a_resolved_incident_says_by_whom": "INSERT INTO incident (saga_id, saga_version, reason, detail, resolved_at)"
    " VALUES ($1, 1, 'r', '', now())",
}

# reason, value, its whole length, headers: of letters that the first tables held
OLD_LETTERS = (
    ("schema", b"{}", 2, b'[["ce_type", "SagaTouched"]]'),
    ("empty", None, None, b"[]"),
    ("schema", b"{}", 70_000, b"[]"),
    ("schema", b"{}", 2, json.dumps([["h", "x" * 1024]]).encode()),
    ("crowd", None, None, b"[]"),
)
OLD_LETTER = (
    "INSERT INTO dead_letter (kind, reason, detail, cluster_id, topic, partition, first_offset, next_offset, value,"
    " value_length, headers) VALUES ('record', $1, '', 'c', 't', 0, $2::bigint, $2::bigint + 1, $3, $4, $5)"
)

# status, state, and the steps (a letter each) at which such a saga waits or hangs
OLD_SAGAS = (
    ("pending", b'{"steps":[{"outcome":"completed"},{"outcome":"issued","deadline_ms":5},{}]}', "B"),
    (
        "compensating",
        b'{"steps":[{"outcome":"completed","undo":"dead_lettered","deadline_ms":5}],"facing":"backward"}',
        "A",
    ),
    ("suspended", b'{"steps":[{"outcome":"completed"},{},{"outcome":"unknown"}]}', "C"),
    ("suspended", b'{"steps":[{"undo":"dead_lettered"},{"outcome":"unknown","undo":"none"}],"facing":"backward"}', "A"),
    ("suspended", b'{"steps":[{},{}]}', None),
    ("completed", b'{"steps":[{"outcome":"completed"}]}', None),
    ("failed", b'{"steps":[{"outcome":"failed"}],"facing":"backward"}', None),
)
OLD_SAGA = (
    "INSERT INTO saga (id, part, definition_id, created_at, business_key, input, version, updated_at, status, state,"
    " deadline, wake_at) SELECT gen_random_uuid(), 0, 1, now(), $1::integer::text, '{}', 1, now(), $2, $3,"
    " CASE WHEN $4 THEN now() END, CASE WHEN $4 THEN now() END"
)


async def test_two_migrations_at_once_make_one_schema(stack: LocalStack, fresh_database: str) -> None:
    """Two processes that migrate an empty database at the same time both succeed, and a third finds nothing to do."""
    environment = stack.coordinator_environment(fresh_database)
    processes = [
        stack.processes.python(f"migrate{number}", "-m", "coordinator", "migrate", environment=environment)
        for number in range(2)
    ]
    assert await asyncio.gather(*(asyncio.to_thread(process.wait, 30) for process in processes)) == [0, 0]
    connection = await asyncpg.connect(fresh_database)
    try:
        assert await is_current(connection)
        before = await connection.fetch("SELECT relname, relkind FROM pg_class ORDER BY relname")
        await migrate(fresh_database)
        assert await connection.fetch("SELECT relname, relkind FROM pg_class ORDER BY relname") == before
    finally:
        await connection.close()


async def test_a_database_without_migrations_is_known_as_such(fresh_database: str) -> None:
    """A coordinator can tell an empty database from one that is ready."""
    connection = await asyncpg.connect(fresh_database)
    try:
        assert not await is_current(connection)
    finally:
        await connection.close()


async def test_constraints_are_named_by_sentences(plain: Connection) -> None:
    """Every constraint says in its name what must be true, so that a refusal explains itself."""
    names = await plain.fetch(
        "SELECT conname AS name FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'u', 'p', 'f') AND coninhcount = 0"
        " AND conrelid <> 'alembic_version'::regclass"
    )
    assert names
    assert [row["name"] for row in names if row["name"].count("_") < WORDS_MIN - 1] == []


@pytest.mark.parametrize("constraint", BROKEN)
async def test_a_constraint_refuses_what_must_not_be(plain: Connection, workload: Workload, constraint: str) -> None:
    """A row that contradicts itself is refused, and the refusal names the sentence that it breaks."""
    [active] = await workload.started()
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
        await plain.execute(BROKEN[constraint], active.id)
    assert refusal.value.constraint_name == constraint


async def test_an_offset_has_one_verdict(plain: Connection) -> None:
    """More verdicts than consumed offsets are refused."""
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await plain.execute(
            "INSERT INTO shard (part, cluster_id, first_offset, next_offset, applied, stale)"
            " VALUES (99, 'c', 5, 7, 2, 1)"
        )
    assert refusal.value.constraint_name == "every_consumed_offset_has_at_most_one_verdict"


async def test_the_log_has_a_fortnight_ahead(plain: Connection) -> None:
    """A new database has a log partition for yesterday, today and each of the next 14 days, and no default one."""
    today = datetime.now(UTC).date()
    wanted = {f"saga_log_{today + timedelta(days=ahead):%Y%m%d}" for ahead in range(-1, DAYS_AHEAD + 1)}
    found = await plain.fetch(
        "SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds FROM pg_inherits AS i"
        " JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = 'saga_log'::regclass"
    )
    assert wanted <= {row["name"] for row in found}
    assert [row["name"] for row in found if row["bounds"] == "DEFAULT"] == []
    assert await plain.fetchval(statement("log_days_ahead")) == DAYS_AHEAD


@pytest.mark.parametrize(("missing", "left"), [(3, 2), (1, 0), (0, 0)])
async def test_days_behind_a_gap_do_not_count(fresh_database: str, missing: int, left: int) -> None:
    """What is told of the days ahead ends at the first one that is not there: on it sagas would stand still."""
    await migrate(fresh_database)
    connection = await asyncpg.connect(fresh_database)
    try:
        assert await connection.fetchval(statement("log_days_ahead")) == DAYS_AHEAD
        day = datetime.now(UTC).date() + timedelta(days=missing)
        await connection.execute(f"DROP TABLE saga_log_{day:%Y%m%d}")
        assert await connection.fetchval(statement("log_days_ahead")) == left
    finally:
        await connection.close()


async def test_days_are_made_once_by_many(database: str, plain: Connection) -> None:
    """Several coordinators that look after the log at the same time make each missing day once."""
    others = [await asyncpg.connect(database) for _ in range(3)]
    try:
        made = await asyncio.gather(*(other.fetchval(statement("ensure_log_days"), DAYS_AHEAD + 6) for other in others))
    finally:
        for other in others:
            await other.close()
    assert sum(made) == 6
    assert await plain.fetchval(statement("ensure_log_days"), DAYS_AHEAD + 6) == 0


async def test_old_days_of_the_log_go_but_none_of_an_open_saga(stack: LocalStack, fresh_database: str) -> None:
    """Days beyond the retention are dropped, except from the first day of the oldest saga that has not ended."""
    application_url = stack.application_url(fresh_database)
    await migrate(fresh_database, application_url)
    store, owner = PostgresStore(application_url), await asyncpg.connect(fresh_database)
    await store.start()
    today = datetime.now(UTC).date()
    try:
        workload = await Workload.ready(store)
        [active] = await workload.started()

        for age in (40, 20, 10):
            first, last = today - timedelta(days=age), today - timedelta(days=age - 1)
            bounds = f"FROM ('{first}') TO ('{last}')"
            await owner.execute(f"CREATE TABLE saga_log_{first:%Y%m%d} PARTITION OF saga_log FOR VALUES {bounds}")
        await owner.execute("UPDATE saga SET created_at = now() - interval '20 days' WHERE id = $1::uuid", active.id)
        assert await store.drop_log_days(7) == [f"saga_log_{today - timedelta(days=40):%Y%m%d}"]
        await store.commit(workload.answers([active], refuse="reserve_inventory"))
        assert await store.drop_log_days(7) == [f"saga_log_{today - timedelta(days=age):%Y%m%d}" for age in (20, 10)]
        assert await store.drop_log_days(7) == []
    finally:
        await owner.close()
        await store.stop()


async def test_letters_of_the_first_tables_say_whether_they_are_whole(fresh_database: str) -> None:
    """A database with dead letters is migrated: those that surely were not cut can be sent again as they came."""
    connection = await asyncpg.connect(fresh_database)
    try:
        await _run_statements(connection, "0001")
        for number, (reason, value, length, headers) in enumerate(OLD_LETTERS):
            await connection.execute(OLD_LETTER, reason, number, value, length, headers)
        await _run_statements(connection, "0002")
        rows = await connection.fetch(
            "SELECT state, complete, tries, next_try_at FROM dead_letter ORDER BY first_offset"
        )
    finally:
        await connection.close()
    assert [row["complete"] for row in rows] == [True, True, False, False, False]
    assert {(row["state"], row["tries"], row["next_try_at"]) for row in rows} == {("open", 0, None)}


async def test_sagas_of_the_second_tables_are_counted_and_found_where_they_wait(fresh_database: str) -> None:
    """A database with sagas is migrated: all are counted, and those that wait or hang can be found by their steps."""
    connection = await asyncpg.connect(fresh_database)
    try:
        await _run_statements(connection, "0001")
        await _run_statements(connection, "0002")
        for number, (status, state, _) in enumerate(OLD_SAGAS):
            going = status in ("pending", "compensating")
            await connection.execute(OLD_SAGA, number, status, state, going)
        await _run_statements(connection, "0003")
        rows = await connection.fetch("SELECT waits_at, hangs_at FROM saga ORDER BY business_key")
        tallies = await connection.fetch("SELECT status, sum(sagas) AS sagas FROM saga_tally GROUP BY status")
    finally:
        await connection.close()
    assert [row["waits_at"] for row in rows] == [letters for _, _, letters in OLD_SAGAS]
    assert [row["hangs_at"] for row in rows] == [
        letters if status == "suspended" else None for status, _, letters in OLD_SAGAS
    ]
    wanted = Counter(status for status, _, _ in OLD_SAGAS)
    assert {row["status"]: row["sagas"] for row in tallies} == wanted


async def _run_statements(connection: asyncpg.Connection[asyncpg.Record], revision: str) -> None:
    for file in sorted((Path("alembic") / "sql" / revision).glob("*.sql")):
        await connection.execute(file.read_text())
