"""Replies to sagas whose definition a replica lacks: set aside whole, and sent again by one that has it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from deploy.local.stack import LocalStack
from tests.e2e.orders import order
from tests.e2e.world import World
from tests.integration.engine.bench import Target, reply
from tests.needs import need_real_kafka

SAGAS = 130  # more than the bad records of one batch that get a row each
SOON = {"SAGA_RECOVERY__BASE_SECONDS": "0.1"}


@pytest.fixture
async def world(stack: LocalStack) -> AsyncIterator[World]:
    """Give a world without participants."""
    need_real_kafka(stack)
    world = World(stack)
    try:
        await world.open(participants=())
        yield world
    finally:
        await world.close()


async def test_a_reply_waits_for_its_definition(world: World) -> None:
    """Replies that come while only a replica without the definition runs move their sagas when one with it does.

    One whose last try fails before that is left to a person, with an alert.
    """
    first = await world.launched("first", "engine")
    orders = [order() for _ in range(SAGAS)]
    await world.request_starts(orders)
    await world.until("SELECT count(*) = $1 FROM saga", SAGAS)
    rows = await world.rows("SELECT id::text, part FROM saga ORDER BY id")
    targets = [Target(row["id"], row["part"]) for row in rows]
    assert await first.stop() == 0

    lacking = await world.launched("lacking", "engine", SAGA_DEFINITIONS="tests.e2e.definitions:shipped", **SOON)
    producer = await world.producer()
    long = {"reservation_id": "r-1", "note": "x" * 100_000}
    for number, target in enumerate(targets):
        value = target.completed(result=long) if number == 0 else target.completed()
        raw = reply(target, value)
        await producer.send(f"{world.prefix}replies", raw.value, raw.key, target.part, headers=raw.headers)
    await producer.flush()
    kept = (
        "SELECT count(*) = $1 FROM dead_letter WHERE reason = 'definition_unknown' AND complete AND saga_id IS NOT NULL"
    )
    await world.until(kept, SAGAS)
    waits = "SELECT bool_and(state = 'open' AND tries = 0 AND next_try_at IS NOT NULL) FROM dead_letter"
    assert await world.value(waits)
    assert await world.value("SELECT bool_and(version = 1) FROM saga")
    await spend(world, targets[-1])
    assert "dead_letter_given_up" in lacking.child.output()
    assert await lacking.stop() == 0

    knowing = await world.launched("knowing", "engine", **SOON)
    others = "saga_id <> $1::uuid"
    last = targets[-1].saga_id
    await world.until("SELECT bool_and(version = 2) FROM saga WHERE id <> $1::uuid", last)
    done = f"SELECT bool_and(state = 'redriven' AND tries = 1 AND next_try_at IS NULL) FROM dead_letter WHERE {others}"  # noqa: S608
    await world.until(done, last)
    assert await world.value("SELECT count(*) FROM dead_letter") == SAGAS
    assert await world.value("SELECT version FROM saga WHERE id = $1::uuid", last) == 1
    state = json.loads(await world.value("SELECT state FROM saga WHERE id = $1::uuid", targets[0].saga_id))
    assert state["steps"][0]["result"] == long
    metrics = await knowing.metrics()
    assert 'saga_dead_letters_redriven_total{by="recovery"}' in metrics


async def spend(world: World, target: Target) -> None:
    """Let the last try of a letter fail: it waits for a person then, and makes no other letter."""
    letter = await world.value(
        "UPDATE dead_letter SET state = 'redriven', tries = 5, next_try_at = NULL"
        " WHERE saga_id = $1::uuid RETURNING id",
        target.saga_id,
    )
    raw = reply(target, target.completed())
    headers = [*raw.headers, ("saga-redriven", f"{letter};5".encode())]
    producer = await world.producer()
    kept = await world.value("SELECT value FROM dead_letter WHERE id = $1", letter)
    await producer.send_and_wait(f"{world.prefix}replies", kept, raw.key, target.part, headers=headers)
    await world.until(
        "SELECT state = 'open' AND tries = 5 AND next_try_at IS NULL FROM dead_letter WHERE id = $1", letter
    )
