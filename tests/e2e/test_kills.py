"""The coordinator is killed again and again in the middle of its work, and nothing of it can be seen afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from deploy.local.processes import ChildDied
from tests.e2e.definitions import PATIENT, hasty
from tests.e2e.orders import REFUSED, STEPS, order
from tests.e2e.world import Coordinator, World

KILLS = 20
SAGAS = 500
SEED = 20_260_101
PACES_S = (0.3, 1.0, 2.0, 4.0)  # how long participants take, by customer, so that sagas are at every step at any time
OWNED = r"partitions_owned"
# Every second coordinator lets sagas queue before their participants.
NARROW = {
    "SAGA_FLOW__IN_FLIGHT_MAX": "20",
    "SAGA_FLOW__BREAKER_TIMEOUTS": "5",
    "SAGA_FLOW__BREAKER_PAUSE_SECONDS": "1",
}


async def slow_down(world: World) -> None:
    """Let every participant take its time, by customer."""
    for step in STEPS:
        for number, seconds in enumerate(PACES_S):
            await world.fault(step.participant, "slow", match=f"customer-{number}", seconds=seconds)


def make_orders(dice: random.Random) -> list[tuple[dict[str, Any], str]]:
    """Mix good orders with some that are refused at each step, and some whose payment never answers."""
    made = []
    for number in range(SAGAS):
        changes: dict[str, Any] = {"customer_id": f"customer-{dice.randrange(len(PACES_S))}"}
        definition = PATIENT
        if number % 5 == 1:
            changes |= REFUSED[number // 5 % len(REFUSED)]
        elif number % 10 == 2:
            changes["customer_id"], definition = "silent", hasty("process_payment")
        made.append((order(**changes), definition))
    dice.shuffle(made)
    return made


def launch(world: World, number: int) -> Coordinator:
    """Start the coordinator again, as the same member of its group."""
    settings = NARROW if number % 2 else {}
    return world.launch(f"coordinator-{number}", SAGA_KAFKA__INSTANCE_ID=f"{world.prefix}member", **settings)


async def work_a_while(coordinator: Coordinator, dice: random.Random, *, owns: bool) -> None:
    """Give the coordinator a random time, from when it owns partitions or from the very start of its process."""
    if owns:
        with contextlib.suppress(ChildDied):
            await asyncio.to_thread(coordinator.child.wait_for_line, OWNED, timeout_s=30)
    await asyncio.sleep(dice.uniform(0, 0.8 if owns else 2.0))


@pytest.mark.timeout(400)
async def test_twenty_kills_leave_no_trace(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """500 sagas, 20 times SIGKILL at random moments: every effect exactly once or undone, and no saga is lost."""
    dice = random.Random(SEED)
    await slow_down(world)
    await world.fault("payment", "silent", command="ProcessPayment", match="silent")
    orders = make_orders(dice)
    share = SAGAS // KILLS
    running = []
    for number in range(KILLS):
        coordinator = launch(world, number)
        for definition in {name for _, name in orders}:
            batch = [made for made, name in orders[number * share : (number + 1) * share] if name == definition]
            await world.request_starts(batch, definition)
        await work_a_while(coordinator, dice, owns=number % 4 > 0)
        if number:
            running.append(await world.value("SELECT count(*) FROM saga WHERE status NOT IN ('completed', 'failed')"))
        await coordinator.kill()
    await launch(world, KILLS).ready()
    world.saga_ids.update([await world.saga_of(made) for made, _ in orders])
    await world.check(within_s=120, count=SAGAS)
    with capsys.disabled():
        print(f"\nsagas in progress at the kills: {running}")  # noqa: T201
    assert max(running) > share
    await assert_outcomes(world, orders)


async def assert_outcomes(world: World, orders: list[tuple[dict[str, Any], str]]) -> None:
    """Good orders are fulfilled, the others are undone, as if nobody had been killed."""
    ends = {row["business_key"]: row["status"] for row in await world.rows("SELECT business_key, status FROM saga")}
    expected = {
        made["order_id"]: "failed" if made["customer_id"] == "silent" or _is_refused(made) else "completed"
        for made, _ in orders
    }
    assert ends == expected
    done = await world.value("SELECT count(*) FROM shipping.shipments WHERE cancelled_at IS NULL")
    assert done == sum(end == "completed" for end in expected.values())


def _is_refused(made: dict[str, Any]) -> bool:
    return any(made[name] == value for changes in REFUSED for name, value in changes.items())
