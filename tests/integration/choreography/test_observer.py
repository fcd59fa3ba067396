"""Observing against a real Postgres, Kafka's side scripted: races, lost answers, bad values."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec

from coordinator.choreography.choreographies import Choreographies
from coordinator.choreography.reading import read
from tests.integration.choreography.watching import (
    CHOREOGRAPHIES,
    GOOD,
    HASTY,
    DeafStore,
    Record,
    Watch,
    event,
    log_of,
    new_key,
    registered_ids,
    saga,
)


async def test_one_statement_takes_in_a_whole_story(watch: Watch, plain: Any) -> None:
    """Events of one batch fold into one row that no engine will ever load, with an entry for each in the log."""
    key = new_key()
    await watch.take_in(*(event(type_, key) for type_ in GOOD))
    row = await saga(plain, key)
    assert (row["status"], row["version"], row["part"], row["wake_at"]) == ("completed", 5, -1, None)
    assert await log_of(plain, key) == list(enumerate(GOOD, 1))


async def test_an_answer_that_was_lost_changes_nothing(watch: Watch, plain: Any) -> None:
    """A commit whose answer was not heard is tried again, and finds that everything is there."""
    key = new_key()
    watch.store.deaf = True
    await watch.take_in(event("OrderCreated", key), event("InventoryReserved", key))
    watch.store.deaf = True
    await watch.take_in(event("PaymentProcessed", key))
    assert await log_of(plain, key) == list(enumerate(GOOD[:3], 1))


async def test_two_observers_of_the_same_records_agree(watch: Watch, database: str, plain: Any) -> None:
    """Whatever the order in which two processes take in the same records, each is in the log once."""
    other = Watch(DeafStore(database))
    await other.know_the_time()
    keys = [new_key() for _ in range(20)]
    arrivals = [event(type_, key) for key in keys for type_ in GOOD]
    dice = random.Random(5)

    async def observe(observer: Watch) -> None:
        mine = dice.sample(arrivals, len(arrivals))
        for start in range(0, len(mine), 7):
            await observer.take_in(*mine[start : start + 7])

    await asyncio.gather(observe(watch), observe(other))
    await other.store.stop()
    for key in keys:
        assert (await saga(plain, key))["status"] == "completed"
        entries = await log_of(plain, key)
        assert [version for version, _ in entries] == [1, 2, 3, 4, 5]
        assert sorted(name for _, name in entries) == sorted(GOOD)


async def test_what_postgres_refuses_is_set_aside_alone(watch: Watch, plain: Any) -> None:
    """A record that cannot be written becomes a dead letter; those beside it are written."""
    good, bad = [new_key() for _ in range(4)], new_key()
    arrivals = [event("OrderCreated", key) for key in (*good, bad)]
    arrivals[-1] = msgspec.structs.replace(arrivals[-1], traceparent='"')
    await watch.take_in(*arrivals)
    assert [(await saga(plain, key))["status"] for key in good] == ["started"] * 4
    assert await saga(plain, bad) is None
    letter = await plain.fetchrow("SELECT * FROM dead_letter WHERE key = $1", bad.encode())
    assert (letter["reason"], letter["value"]) == ("schema", arrivals[-1].record.value)


async def test_a_saga_of_an_unknown_version_loses_nothing(watch: Watch, plain: Any) -> None:
    """An event for a saga that this process cannot judge is set aside with its bytes."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key))
    stranger = Watch(watch.store, Choreographies((HASTY,)))
    stranger.choreographies.bind(await registered_ids(watch.store))
    late = event("InventoryReserved", key)
    await stranger.take_in(late)
    letter = await plain.fetchrow("SELECT * FROM dead_letter WHERE key = $1", key.encode())
    assert (letter["reason"], letter["value"]) == ("definition_unknown", late.record.value)
    assert (await saga(plain, key))["version"] == 1


async def test_an_archived_saga_is_not_begun_again(watch: Watch, plain: Any) -> None:
    """A key that outlived its saga says that the event comes too late."""
    key = new_key()
    await watch.take_in(event("OrderFailed", key))
    await plain.execute("DELETE FROM saga WHERE business_key = $1", key)
    await watch.take_in(event("OrderCreated", key))
    assert await saga(plain, key) is None
    assert watch.verdicts("stale") == 1


async def test_a_flood_of_bad_records_fills_no_table(watch: Watch, plain: Any) -> None:
    """Of one statement's bad records the first ones of a partition are kept, and one row stands for the others."""
    records: list[Any] = [Record("flood.events", 3, offset, None, b"{", []) for offset in range(250)]
    arrivals, _ = read([(3, records)], "shop", "flood.events", CHOREOGRAPHIES)
    await watch.recorder.take_in(arrivals, "flood.events")
    letters = await plain.fetch("SELECT * FROM dead_letter WHERE topic = 'flood.events' ORDER BY first_offset")
    assert [letter["reason"] for letter in letters] == ["not_json"] * 100 + ["crowd"]
    assert (letters[-1]["first_offset"], letters[-1]["next_offset"]) == (100, 250)
    assert watch.verdicts("quarantined") == 250


async def test_an_observed_saga_is_counted_and_found_where_it_waits(watch: Watch, plain: Any) -> None:
    """What is observed is in the counts, and its row says which events are to come next, until it ends."""
    key = new_key()
    for length, waits in ((1, True), (3, True), (len(GOOD), False)):
        await watch.take_in(*(event(type_, key) for type_ in GOOD[:length]))
        row = await saga(plain, key)
        assert (row["waits_at"] is not None) is waits
        right = await plain.fetchval(
            "SELECT (SELECT sum(sagas) FROM saga_tally WHERE status = $1) = count(*) FROM saga WHERE status = $1",
            row["status"],
        )
        assert right
