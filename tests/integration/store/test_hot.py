"""Updates that touch no index: what keeps a saga's row cheap to move."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from coordinator.store.migrations import migrate
from coordinator.store.postgres import PostgresStore
from deploy.local.stack import LocalStack
from tests.integration.store.workload import Connection, Workload

SAGAS = 500
BATCH = 100
SPARE = 0.5
CHANGING = {"version", "updated_at", "deadline", "wake_at", "status", "state", "waits_at"}


@pytest.fixture
async def fresh(stack: LocalStack, fresh_database: str) -> AsyncIterator[Connection]:
    """Give a connection to a migrated database of the test's own, whose statistics are its own, too."""
    await migrate(fresh_database, stack.application_url(fresh_database))
    connection = await asyncpg.connect(fresh_database)
    yield connection
    await connection.close()


async def test_no_index_holds_what_changes_but_status_and_wake_at(plain: Connection) -> None:
    """An update that leaves `status` and `wake_at` alone can be HOT: no index names anything else that changes."""
    rows = await plain.fetch(
        "SELECT i.indexrelid::regclass::text AS index,"
        " ARRAY(SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey))"
        " || regexp_split_to_array(coalesce(pg_get_expr(i.indpred, i.indrelid), ''), '\\W+')"
        " || regexp_split_to_array(coalesce(pg_get_expr(i.indexprs, i.indrelid), ''), '\\W+') AS words"
        " FROM pg_index AS i WHERE i.indrelid = 'saga'::regclass"
    )
    assert rows
    touched = {row["index"]: CHANGING & set(row["words"]) for row in rows}
    assert set().union(*touched.values()) <= {"status", "wake_at"}, touched
    predicates = await plain.fetch(
        "SELECT coalesce(pg_get_expr(indpred, indrelid), '') AS text FROM pg_index WHERE indrelid = 'saga'::regclass"
    )
    assert not any(re.search(r"\bstatus\b", row["text"]) for row in predicates)
    changed_by_statement = await plain.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'saga'::regclass AND attnum > 0 AND attname = ANY($1)",
        list(CHANGING),
    )
    assert len(changed_by_statement) == len(CHANGING)


async def test_a_saga_costs_few_updates_that_touch_indexes(
    stack: LocalStack, fresh: Connection, fresh_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over 500 sagas, good and undone, the non-HOT updates per saga are at most its changes of status plus a half."""
    store = PostgresStore(stack.application_url(fresh_database))
    try:
        workload = await Workload.ready(store)
        for number in range(SAGAS // BATCH):
            await workload.run(await workload.started(BATCH), refuse="send_confirmation" if number == 1 else None)
    finally:
        await store.stop()  # a session that ends leaves its statistics behind
    updates, hot = await _statistics(fresh)
    changes = await fresh.fetchval(
        "SELECT count(*) FROM (SELECT status, lag(status) OVER (PARTITION BY saga_id ORDER BY version) AS before"
        " FROM saga_log) AS l WHERE before <> status"
    )
    cold, allowed = (updates - hot) / SAGAS, changes / SAGAS + SPARE
    with capsys.disabled():
        print(  # noqa: T201 - the figure is asked for
            f"\n{updates / SAGAS:.2f} updates per saga, {cold:.2f} of them not HOT;"
            f" {changes / SAGAS:.2f} changes of status"
        )
    assert await fresh.fetchval("SELECT count(*) FROM saga WHERE status IN ('completed', 'failed')") == SAGAS
    assert cold <= allowed


async def _statistics(connection: Connection) -> tuple[int, int]:
    """Read the updates of the table `saga`, once they have all been reported."""
    logged = await connection.fetchval("SELECT count(*) FROM saga_log WHERE version > 1")
    async with asyncio.timeout(20):
        while True:
            row = await connection.fetchrow(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'saga'::regclass"
            )
            assert row is not None
            if row["n_tup_upd"] >= logged:
                return row["n_tup_upd"], row["n_tup_hot_upd"]
            await asyncio.sleep(0.05)
