"""Following the log: behind the horizon nothing is ever added, and a place is all that a reader needs to know."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from coordinator.errors import Unavailable
from coordinator.store.database import connect, statement
from coordinator.store.tailing import LogTail, Place, place_at
from tests.integration.store.workload import Connection, Workload

WRITE = """
INSERT INTO saga_log (saga_id, version, at, part, event, step_name, status, data)
SELECT saga_id, version + 1000, now(), part, 'Late', null, 'pending', '{}' FROM saga_log WHERE saga_id = $1 LIMIT 1
"""


@pytest.fixture
async def tail(database: str) -> AsyncIterator[LogTail]:
    """Give a reader of the log."""
    made = LogTail(database)
    yield made
    await made.close()


async def beyond(tail: LogTail, moment: datetime) -> Place:
    """Wait until the log is complete up to a moment; answers the horizon."""
    async with asyncio.timeout(10):
        while (horizon := await tail.horizon()) <= place_at(moment):  # noqa: ASYNC110 - Postgres moves it
            await asyncio.sleep(0.02)
    return horizon


async def test_a_statement_that_runs_holds_the_horizon(
    database: str, tail: LogTail, workload: Workload, plain: Connection
) -> None:
    """An entry whose statement began early and ended late is behind the horizon only once it is there."""
    [saga] = await workload.started(1)
    writer = await connect(database)
    try:
        transaction = writer.transaction()
        await transaction.start()
        began = await writer.fetchval("SELECT now()")
        await writer.execute("SELECT pg_sleep(0.3)")
        assert await tail.horizon() < place_at(began)
        await writer.execute(WRITE, saga.id)
        held = await tail.horizon()
        assert held < place_at(began)
        await transaction.commit()
    finally:
        await writer.close()
    found = await tail.between(held, await beyond(tail, began), 100)
    assert (saga.id, "Late") in [(entry.place.saga_id, entry.event) for entry in found]


async def test_a_statement_that_hangs_is_not_waited_for_forever(database: str, plain: Connection) -> None:
    """The horizon is never further back than it is told."""
    writer = await connect(database)
    try:
        async with writer.transaction():
            began = await writer.fetchval("SELECT now()")
            await writer.execute("SELECT pg_sleep(0.4)")
            assert await plain.fetchval(statement("log_horizon"), 0.2) > began
    finally:
        await writer.close()


async def test_places_read_the_log_page_by_page(tail: LogTail, workload: Workload, plain: Connection) -> None:
    """Page after page from place to place gives each entry once, in order, and only those that were asked for."""
    [first] = await workload.started(1)
    await workload.started(5)
    since = await plain.fetchval("SELECT at FROM saga_log WHERE saga_id = $1", first.id)
    latest = await plain.fetchval("SELECT max(at) FROM saga_log")
    horizon = await beyond(tail, latest)
    place, told = place_at(since), []
    while page := await tail.between(place, horizon, 2):
        told += [entry.place for entry in page]
        place = told[-1]
    assert told == sorted(set(told))
    assert len(told) == await plain.fetchval("SELECT count(*) FROM saga_log WHERE at >= $1", since)
    [only] = await tail.between(place_at(since), horizon, 100, [first.id])
    assert only.place.saga_id == first.id
    assert await tail.between(place_at(since), horizon, 100, None, ["Nothing"]) == []


async def test_the_index_by_time_takes_in_what_is_new(tail: LogTail, plain: Connection) -> None:
    """Whoever follows the log keeps today's block ranges summarised, without owning the tables."""
    await tail.summarize()
    assert await plain.fetchval("SELECT saga_summarize_log()") == 0
    assert await plain.fetchval("SELECT prosecdef FROM pg_proc WHERE proname = 'saga_summarize_log'") is True


async def test_a_reader_that_was_cut_off_connects_again(tail: LogTail, plain: Connection) -> None:
    """After its connection was ended the next question is answered, on another one."""
    await tail.horizon()
    await plain.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'saga-coordinator-tail'"
    )
    with contextlib.suppress(Unavailable):
        await tail.horizon()
    assert await tail.horizon() > Place(0)


async def test_the_end_of_a_long_log_is_found_by_the_index(tail: LogTail, workload: Workload) -> None:
    """However little the statistics know, reading the newest entries reads block ranges and not the whole day."""
    await workload.started(1)
    horizon = await tail.horizon()
    assert tail._connection is not None
    explain = f"EXPLAIN {statement('log_between')}"
    arguments = (horizon.at, horizon.saga_id, 0, Place(horizon.at_us + 1).at, None, None, 1000)
    plan = "\n".join(row[0] for row in await tail._connection.fetch(explain, *arguments))
    assert "Bitmap Index Scan on saga_log_" in plan, plan
    assert "Seq Scan on saga" not in plan, plan
    assert "Parallel" not in plan, plan
