"""Refusals are recorded in bounded room and time: floods as numbers, outages as patience, questions without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from coordinator.errors import Unavailable
from coordinator.services import auditing
from coordinator.services.auditing import (
    BATCH_MAX,
    KINDS_MAX,
    SEVERAL,
    TOO_MANY,
    WAYS_MAX,
    WAYS_OF_STRANGERS_MAX,
    Auditing,
)

POST = ("anna", "POST /v1/sagas/{saga_id}/retry", "the role viewer does not have the permission act", 403)
GET = ("anna", "GET /v1/audit", "the role viewer does not have the permission administer", 403)
SAGA = "019a4b1e-7a52-7c3e-9d5e-0c8a51b8f2aa"


class Table:
    """Where entries are kept; may be away, or stuck."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.away = False
        self.stuck = asyncio.Event()
        self.stuck.set()

    async def fetch(self, name: str, *columns: Any) -> list[Any]:
        """Keep entries."""
        assert name == "audit_refusals"
        await self.stuck.wait()
        if self.away:
            raise Unavailable("Postgres does not answer")
        self.rows += zip(*columns, strict=True)
        return []

    def times(self) -> int:
        """How many refusals the entries stand for."""
        return sum(row[-1] for row in self.rows)


class Clock:
    """Time that a test moves."""

    now = 1_000.0

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@asynccontextmanager
async def running(table: Table, clock: Clock) -> AsyncIterator[Auditing]:
    """Give a recorder that writes; at the end it is told to stop."""
    recorder, stopping = Auditing(table, clock), asyncio.Event()  # type: ignore[arg-type]
    work = asyncio.create_task(recorder.run(stopping))
    yield recorder
    stopping.set()
    await asyncio.wait_for(work, 5)


async def until(condition: Any) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it is about another task
            await asyncio.sleep(0.001)


async def test_a_refused_act_is_recorded_before_it_is_answered() -> None:
    """Who was refused what, why, with which status and request stands in the table when `refused` returns."""
    table = Table()
    async with running(table, Clock()) as recorder:
        await recorder.refused(*POST, "request-1", SAGA)
        assert table.rows == [("anna", POST[1], SAGA, None, POST[2], "request-1", 403, 1)]
        await recorder.refused("bob", "POST /v1/keys", "no", 403, "request-2", "no-uuid")
        assert table.rows[1] == ("bob", "POST /v1/keys", None, "request:POST /v1/keys", "no", "request-2", 403, 1)


async def test_a_refused_question_waits_for_nothing() -> None:
    """It is recorded beside the answer, and a table that is stuck keeps nobody."""
    table = Table()
    table.stuck.clear()
    async with running(table, Clock()) as recorder:
        await asyncio.wait_for(recorder.refused(*GET, "request-1"), 0.2)
        assert table.rows == []
        table.stuck.set()
        await until(lambda: len(table.rows) == 1)


async def test_a_refused_act_waits_for_a_stuck_table_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """After that it is answered; the entry follows when the table takes it."""
    monkeypatch.setattr(auditing, "WAIT_S", 0.05)
    table = Table()
    table.stuck.clear()
    async with running(table, Clock()) as recorder:
        await asyncio.wait_for(recorder.refused(*POST, "request-1"), 1)
        assert table.rows == []
        table.stuck.set()
        await until(lambda: len(table.rows) == 1)


async def test_a_flood_of_the_same_is_told_with_its_number() -> None:
    """The first has its entry at once; a thousand more are one entry ten seconds later, and none is lost."""
    table, clock = Table(), Clock()
    async with running(table, clock) as recorder:
        await recorder.refused(*POST, "request-1")
        for number in range(1_000):
            await recorder.refused(*POST, f"more-{number}")
        assert len(table.rows) == 1
        clock.now += 11
        await until(lambda: len(table.rows) == 2)
        assert table.rows[1][-3:] == ("more-0", 403, 1_000)


async def test_a_flood_of_many_kinds_has_a_bound() -> None:
    """Beyond a thousand kinds at a time refusals are still counted, but no longer told apart."""
    table = Table()
    table.stuck.clear()
    async with running(table, Clock()) as recorder:
        for number in range(KINDS_MAX * 3):
            await recorder.refused(f"stranger-{number}", "GET /v1/sagas", "nobody that is known here", 401, "r")
        assert len(recorder._untold) <= KINDS_MAX + 1
        table.stuck.set()
        await until(lambda: table.times() >= BATCH_MAX)
    assert table.times() == KINDS_MAX * 3
    assert [row[-1] for row in table.rows if row[0] == SEVERAL] == [KINDS_MAX * 2]


@pytest.mark.parametrize(("actor", "ways"), [("nobody", WAYS_OF_STRANGERS_MAX), ("anna", WAYS_MAX)])
async def test_one_thing_refused_in_many_ways_is_told_together(actor: str, ways: int) -> None:
    """Whoever makes up another reason, or saga, for each of a flood fills no table; the number of them is kept."""
    table, clock = Table(), Clock()
    async with running(table, clock) as recorder:
        for number in range(1_000):
            await recorder.refused(actor, "GET /v1/sagas", f"the API key {number:08x} is unknown", 401, "r")
            await asyncio.sleep(0)
        clock.now += 11
        await until(lambda: table.times() == 1_000)
    assert ways <= len(table.rows) <= ways + 3
    assert {row[4] for row in table.rows if row[-1] > 1} == {TOO_MANY}


async def test_an_outage_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is written when the database is back, with what came meanwhile."""
    monkeypatch.setattr(auditing, "RETRY_S", 0.01)
    monkeypatch.setattr(auditing, "WAIT_S", 0.01)
    table = Table()
    table.away = True
    async with running(table, Clock()) as recorder:
        for number in range(5):
            await recorder.refused(*POST, f"request-{number}")
        table.away = False
        await until(lambda: table.times() == 5)


async def test_what_is_left_is_written_at_the_end() -> None:
    """Refusals that wait for their entry have it when the process has stopped."""
    table, clock = Table(), Clock()
    async with running(table, clock) as recorder:
        await recorder.refused(*POST, "request-1")
        await recorder.refused(*POST, "request-2")
    assert table.times() == 2


async def test_nothing_unprintable_is_recorded() -> None:
    """Whatever strangers send as their name or reason is text that Postgres keeps and a terminal shows."""
    table = Table()
    async with running(table, Clock()) as recorder:
        await recorder.refused("a\x00\x1b[2J", "POST /v1/keys", "x" * 10_000 + "\ud800", 401, "r\n")
    [(actor, _, _, _, reason, request_id, _, _)] = table.rows
    assert (actor, len(reason), request_id) == ("a??[2J", 500, "r?")
