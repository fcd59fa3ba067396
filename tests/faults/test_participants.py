"""Participants are dead, slow, talkative, or lie: their own sagas wait or turn back, and those of others go on."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.definitions import BRISK, BRISK_S, STEADY
from tests.e2e.orders import REFUSED, order
from tests.e2e.world import Coordinator, World
from tests.faults.liar import lying
from tests.faults.load import Say, Wish, under_load

pytestmark = pytest.mark.timeout(300)

BOUND_S = 10.0
DEAD_S = 25.0
TARDY_S = 3 * BRISK_S
TARDY = 30
COPIES = 5
TALK_S = 8.0
ENDED = "SELECT bool_and(status = 'failed') FROM saga WHERE id = ANY($1::uuid[])"
ANSWERS = ["StepCompleted", "StepFailed", "CompensationCompleted"]
VERDICT = "SELECT sum({0})::bigint FROM shard"


async def test_a_participant_that_is_dead_for_long(world: World, coordinator: Coordinator, say: Say) -> None:
    """Shipping is dead for 25 s: who does not need it goes on, and everybody does within 10 s of its return."""
    either = ("completed", "failed")
    async with under_load(world, coordinator, say=say, definition=STEADY, ends=either) as load:
        await asyncio.to_thread(world.participants["shipping"].kill)
        died = asyncio.get_running_loop().time()
        await asyncio.sleep(DEAD_S / 2)
        others = await load.ask([Wish(order(**REFUSED[1]), ends=("failed",)) for _ in range(10)])
        await world.until(ENDED, others, within_s=BOUND_S)
        await asyncio.sleep(DEAD_S - (asyncio.get_running_loop().time() - died))
        child = world.start_participant("shipping")
        await asyncio.to_thread(child.wait_for_line, r"(?m)^ready$", timeout_s=60)
        await load.measure("participant dead 25 s", BOUND_S)


async def test_a_participant_that_is_slower_than_its_timeout(world: World, coordinator: Coordinator, say: Say) -> None:
    """Payments are confirmed long after their timeout: they are taken back, and what comes late revives nothing."""
    await world.fault("payment", "slow", command="ProcessPayment", match="tardy", seconds=TARDY_S)
    async with under_load(world, coordinator, say=say) as load:
        stale = await world.value(VERDICT.format("stale"))
        tardy = [Wish(order(customer_id="tardy"), BRISK, ("failed",)) for _ in range(TARDY)]
        await load.ask(tardy)
        await load.measure("participant slower than its timeout", BOUND_S)
    assert await world.value(VERDICT.format("stale")) >= stale + TARDY


async def test_a_participant_that_repeats_itself(world: World, coordinator: Coordinator, say: Say) -> None:
    """Every reply of every participant comes five times: each counts once."""
    for participant in world.participants:
        await world.fault(participant, "duplicate", copies=COPIES)
    async with under_load(world, coordinator, say=say) as load:
        await asyncio.sleep(TALK_S)
        await load.measure("participants repeat each reply five times", BOUND_S)
    again = await world.value(VERDICT.format("duplicate + stale"))
    answers = await world.value("SELECT count(*) FROM saga_log WHERE event = ANY($1)", ANSWERS)
    assert again >= (COPIES - 1) * answers * 0.9


async def test_a_participant_that_lies(world: World, coordinator: Coordinator, say: Say) -> None:
    """Somebody contradicts what was answered, and answers for others and for what nobody asked: nothing moves by it."""
    async with under_load(world, coordinator, say=say) as load:
        foreign = await world.value(VERDICT.format('"foreign" + stale + duplicate'))
        async with lying(world) as liar:
            await asyncio.sleep(TALK_S)
            await load.measure("participant lies", BOUND_S)
        assert len(liar.told) == 8, liar.told
    told = sum(liar.told.values())
    say(f"lies told: {told} of {len(liar.told)} kinds")
    assert await world.value(VERDICT.format('"foreign" + stale + duplicate')) - foreign >= told * 0.9
