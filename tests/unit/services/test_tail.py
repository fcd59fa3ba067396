"""The tail without a database: who is served, who is let go, and when nothing is asked at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from coordinator.errors import Unavailable
from coordinator.services import tail as tailing
from coordinator.services.tail import Tail, TooManyStreams, Wanted
from coordinator.settings import StreamSettings
from coordinator.store.tailing import Entry, Place
from tests.unit.services.memory_log import Clock, Log

FIRST, SECOND = "01890a5d-0000-7000-8000-000000000001", "01890a5d-0000-7000-8000-000000000002"
PATIENCE_S = 5.0


@pytest.fixture
async def log() -> Log:
    """Give an empty log."""
    return Log()


@pytest.fixture
async def tail(log: Log) -> AsyncIterator[Tail]:
    """Give its tail, for three clients, two of one actor."""
    made = Tail(
        log, Clock(), StreamSettings(clients_max=3, clients_per_actor_max=2), lambda entry: entry.event.encode()
    )
    yield made
    made.stop()


async def test_nobody_listens_and_nothing_is_asked(log: Log, tail: Tail) -> None:
    """Postgres is asked while somebody listens, and not before or after."""
    assert log.questions == 0
    listening = await tail.subscribe(Wanted(), "ann")
    tail.leave(listening)
    while tail._task is not None:  # noqa: ASYNC110 - another task's end
        await asyncio.sleep(0)
    asked = log.questions
    await asyncio.sleep(0.02)
    assert log.questions == asked > 0


async def test_everybody_gets_what_they_want_once(log: Log, tail: Tail) -> None:
    """A listener gets what fits, from when it came; the log is read once for all of them."""
    log.add(FIRST, 1)
    one = await tail.subscribe(Wanted(saga_id=FIRST), "ann")
    failures = await tail.subscribe(Wanted(statuses=frozenset({"failed"})), "ann")
    log.add(FIRST, 2, "failed")
    log.add(SECOND, 1, "failed")
    log.add(SECOND, 2, "pending")
    found = await one.next(PATIENCE_S)
    assert found is not None
    assert [(each.place.saga_id, each.place.version) for each in found.entries] == [(FIRST, 2)]
    failed = [each async for each in _drain(failures, 2)]
    assert failed == [(FIRST, 2), (SECOND, 1)]
    assert await one.next(0.05) is None


async def _drain(listening: tailing.Subscription, count: int) -> AsyncIterator[tuple[str, int]]:
    while count > 0:
        chunk = await listening.next(PATIENCE_S)
        assert chunk is not None
        for entry in chunk.entries:
            count -= 1
            yield entry.place.saga_id, entry.place.version


async def test_only_what_somebody_wants_is_read(log: Log, tail: Tail) -> None:
    """While everybody wants some saga or some definition, Postgres is asked for no other."""
    await tail.subscribe(Wanted(saga_id=FIRST, definitions=frozenset({"Order"})), "ann")
    await tail.subscribe(Wanted(saga_id=SECOND, definitions=frozenset({"Travel"})), "ann")
    log.add(FIRST, 1)
    while not log.narrowed:  # noqa: ASYNC110 - another task's doing
        await asyncio.sleep(0)
    assert log.narrowed[-1] == ([FIRST, SECOND], ["Order", "Travel"])


async def test_who_takes_nothing_is_let_go(log: Log, tail: Tail) -> None:
    """What waits for one listener is bounded; beyond that it is let go, and the others hear on."""
    deaf = await tail.subscribe(Wanted(), "ann")
    hearing = await tail.subscribe(Wanted(), "bob")
    version = 0
    while not deaf.overrun:
        version += 1
        assert version < 10
        log.add(FIRST, version, size=tailing.WAITING_BYTES_MAX // 4)
        found = await hearing.next(PATIENCE_S)
        assert found is not None
        assert found.entries[-1].place.version == version
    assert await deaf.next(PATIENCE_S) is None
    assert deaf.closed
    assert not hearing.closed


async def test_an_outage_delays_and_loses_nothing(log: Log, tail: Tail) -> None:
    """While Postgres is away nothing comes; afterwards everything does."""
    listening = await tail.subscribe(Wanted(), "ann")
    log.is_away = True
    log.add(FIRST, 1)
    assert await listening.next(0.05) is None
    log.add(FIRST, 2)
    log.is_away = False
    assert [each async for each in _drain(listening, 2)] == [(FIRST, 1), (FIRST, 2)]


async def test_what_is_passed_over_is_said(log: Log, tail: Tail) -> None:
    """A tail that is a minute behind goes on with the present, and tells between which moments something is missing."""
    listening = await tail.subscribe(Wanted(), "ann")
    began = listening.start
    log.end = Place(log.end.at_us + tailing.LAG_MAX_US + 1)
    log.add(FIRST, 1)
    found = await listening.next(PATIENCE_S)
    assert found is not None
    assert found.passed_over is not None
    assert found.passed_over[0] == began


async def test_there_are_only_so_many(tail: Tail) -> None:
    """One actor has at most two streams and the process three; one that leaves makes room."""
    first = await tail.subscribe(Wanted(), "ann")
    await tail.subscribe(Wanted(), "ann")
    with pytest.raises(TooManyStreams, match="you have 2"):
        await tail.subscribe(Wanted(), "ann")
    await tail.subscribe(Wanted(), "bob")
    with pytest.raises(TooManyStreams, match="serves 3"):
        await tail.subscribe(Wanted(), "eve")
    tail.leave(first)
    tail.leave(first)
    await tail.subscribe(Wanted(), "ann")
    assert tail.listeners == 3


async def test_a_process_that_stops_takes_no_more(tail: Tail) -> None:
    """After `stop` everybody is let go and whoever comes is told to come elsewhere."""
    listening = await tail.subscribe(Wanted(), "ann")
    tail.stop()
    assert await listening.next(PATIENCE_S) is None
    assert listening.closed
    with pytest.raises(Unavailable):
        await tail.subscribe(Wanted(), "ann")


async def test_however_many_catch_up_the_tail_goes_on(log: Log, tail: Tail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a crowd that asks for what it has missed a few are asked for at a time, for all use one session."""
    asking, most = 0, 0

    async def between(*_question: object) -> list[Entry]:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        await asyncio.sleep(0)
        asking -= 1
        return []

    monkeypatch.setattr(log, "between", between)

    async def catch_up() -> None:
        async for _ in tail.history(Wanted(), Place(0), Place(50_000_000)):
            pass

    await asyncio.gather(*(catch_up() for _ in range(30)))
    assert most == tailing.HISTORIES_MAX
