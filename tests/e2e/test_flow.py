"""A participant is down under load: nothing is undone that was never asked for, and its return is no flood."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local.processes import Child
from tests.checker import evidence
from tests.e2e.definitions import BRISK, BRISK_S
from tests.e2e.orders import order
from tests.e2e.world import Coordinator, World, eventually

EARLY = 20  # sagas whose payment is issued before anybody knows that nobody is there
HELD = 400
QUEUED = 150
TIMEOUTS = 5
PAUSE_S = 1.0
RAMP = 20
LIMIT = 30
NARROW = 5
SLOW_S = 0.2  # how long a payment takes, so that some are always in flight
AWAY = 6  # timeouts of a step that the participant is away for, at the least
SETTINGS = {
    "SAGA_FLOW__PARTICIPANTS": f'{{"payment": {LIMIT}}}',
    "SAGA_FLOW__BREAKER_TIMEOUTS": str(TIMEOUTS),
    "SAGA_FLOW__BREAKER_PAUSE_SECONDS": str(PAUSE_S),
    "SAGA_FLOW__RAMP_PER_SECOND": str(RAMP),
}


@dataclass
class Asked:
    """What the topics say of one action, in milliseconds."""

    asked_ms: int
    answered_ms: int | None = None


@pytest.mark.timeout(300)
async def test_a_participant_that_is_down_under_load(world: World) -> None:
    """However long it is away no saga turns back whose payment was never issued, and all are paid when it returns.

    Commands arrive no faster than the ramp allows, and never are there more in flight than the limit.
    """
    coordinator = await relaunched(world)
    await asyncio.to_thread(world.participants["payment"].kill)
    early = await coordinator.start_many([order() for _ in range(EARLY)], BRISK)
    await eventually(lambda: is_silent(coordinator), what="the breaker is open")
    late = await coordinator.start_many([order() for _ in range(HELD)], BRISK)
    await eventually(lambda: holds(coordinator, at_least=HELD - LIMIT), what="sagas queue for the payment")
    await stay_away(coordinator)
    world.saga_ids.update([*early, *late])
    payments = await payments_so_far(world)
    untouched = [saga_id for saga_id in late if saga_id not in payments]
    assert len(untouched) > HELD / 2
    await assert_that_they_wait(world, coordinator, untouched)

    await world.fault("payment", "slow", command="ProcessPayment", seconds=SLOW_S)
    await restart(world)
    await eventually(lambda: closed_since(coordinator), within_s=60, what="the breaker is closed")
    await world.check(within_s=120, count=EARLY + HELD)
    ends = {row["id"]: row["status"] for row in await world.rows("SELECT id::text, status FROM saga")}
    assert Counter(ends[saga_id] for saga_id in untouched) == {"completed": len(untouched)}
    assert await world.value("SELECT count(*) FROM held_step") == 0
    assert_no_flood({saga: one for saga, one in (await payments_so_far(world)).items() if saga in untouched})


@pytest.mark.timeout(300)
async def test_a_restart_in_front_of_a_queue_is_no_flood(world: World) -> None:
    """The coordinator is killed while sagas queue; the next one knows the queue, and releases it on a ramp."""
    await world.mend()
    coordinator = await relaunched(world)
    await asyncio.to_thread(world.participants["payment"].kill)
    await coordinator.start_many([order() for _ in range(EARLY)], BRISK)
    await eventually(lambda: is_silent(coordinator), what="the breaker is open")
    late = await coordinator.start_many([order() for _ in range(QUEUED)], BRISK)
    await eventually(lambda: holds(coordinator, at_least=QUEUED - LIMIT), what="sagas queue for the payment")
    await coordinator.kill()
    payments = await payments_so_far(world)
    waiting = [saga_id for saga_id in late if saga_id not in payments]

    await restart(world)
    await relaunched(world)
    world.saga_ids.update(row["id"] for row in await world.rows("SELECT id::text FROM saga"))
    await world.check(within_s=120)
    ends = await world.rows("SELECT status FROM saga WHERE id = ANY($1::uuid[])", waiting)
    assert Counter(row["status"] for row in ends) == {"completed": len(waiting)}
    assert_no_flood({saga: one for saga, one in (await payments_so_far(world)).items() if saga in waiting})


@pytest.mark.timeout(300)
async def test_a_limit_holds_for_sagas_that_an_api_process_begins(world: World) -> None:
    """The API knows no slots: it leaves the first step to the engine, which never issues more than the limit."""
    await world.mend()
    await world.fault("inventory", "slow", command="ReserveItems", seconds=SLOW_S)
    limit = {"SAGA_FLOW__PARTICIPANTS": f'{{"inventory": {NARROW}}}'}
    await stop_all(world)
    await world.launched("engine", "engine", **limit)
    api = await world.launched("api", "api", **limit)
    first = (await api.http.post("/v1/sagas", json={"definition": BRISK, "input": order()})).json()
    assert (first["status"], first["deadline"]) == ("started", None)
    started = [first["id"], *await api.start_many([order() for _ in range(QUEUED - 1)], BRISK)]
    await eventually(lambda: holds(api, at_least=QUEUED // 2, name="inventory"), what="sagas queue for the inventory")
    seen = await participant(api, "inventory")
    assert seen["limit"] == NARROW
    world.saga_ids.update(started)
    await world.check(within_s=120)
    ends = await world.rows("SELECT status FROM saga WHERE id = ANY($1::uuid[])", started)
    assert Counter(row["status"] for row in ends) == {"completed": QUEUED}
    asked = await asked_and_answered(world, "inventory", "ReserveItems")
    assert 1 < most_in_flight([asked[saga_id] for saga_id in started]) <= NARROW


async def stop_all(world: World) -> None:
    """End the coordinators in order."""
    for coordinator in world.coordinators:
        if coordinator.child.exit_code is None:
            await coordinator.stop()


async def relaunched(world: World) -> Coordinator:
    """Let a coordinator take the place of the one before."""
    await stop_all(world)
    return await world.launched(f"coordinator-{len(world.coordinators)}", **SETTINGS)


async def participant(coordinator: Coordinator, name: str = "payment") -> dict[str, Any]:
    """How flow control stands towards a participant."""
    answer = await coordinator.http.get("/v1/participants")
    assert answer.status_code == 200, answer.text
    return next(one for one in answer.json()["participants"] if one["name"] == name)


async def is_silent(coordinator: Coordinator) -> bool:
    return bool((await participant(coordinator))["breaker"] != "closed")


async def holds(coordinator: Coordinator, at_least: int, name: str = "payment") -> bool:
    return bool((await participant(coordinator, name))["held"] >= at_least)


async def closed_since(coordinator: Coordinator) -> bool:
    return bool((await participant(coordinator))["breaker"] == "closed")


async def stay_away(coordinator: Coordinator) -> None:
    """Wait until the payment was away for many timeouts, and was tried in vain."""
    await asyncio.sleep(AWAY * BRISK_S)  # being away for long is what this is about
    seen: set[str] = set()

    async def tried_in_vain() -> bool:
        seen.add((await participant(coordinator))["why"])
        return "it was tried again and did not answer" in seen

    await eventually(tried_in_vain, what="the breaker has opened again")


async def assert_that_they_wait(world: World, coordinator: Coordinator, saga_ids: list[str]) -> None:
    """They go forward, have no running timeout, are not overdue, and cost no writing while they wait."""
    rows = await world.rows("SELECT status, deadline FROM saga WHERE id = ANY($1::uuid[])", saga_ids)
    assert Counter((row["status"], row["deadline"]) for row in rows) == {("pending", None): len(saga_ids)}
    saga = await coordinator.get(saga_ids[-1])
    step = saga["steps"][1]
    assert (step["held"], step["outcome"], step["deadline"], saga["deadline"]) == (True, "waiting", None, None)
    metrics = await coordinator.metrics()
    assert 'saga_participant_breaker{participant="payment"} 0.0' not in metrics
    [held] = [line for line in metrics.splitlines() if line.startswith('saga_participant_held{participant="payment"}')]
    assert float(held.split()[-1]) >= len(saga_ids)


async def restart(world: World) -> Child:
    """Let the payment come back."""
    child = world.start_participant("payment")
    await asyncio.to_thread(child.wait_for_line, r"(?m)^ready$", timeout_s=30)
    return child


async def payments_so_far(world: World) -> dict[str, Asked]:
    """Read when each saga's payment was asked for and answered."""
    return await asked_and_answered(world, "payment", "ProcessPayment")


async def asked_and_answered(world: World, participant: str, action: str) -> dict[str, Asked]:
    """Read from the topics when each saga's action was first asked for, and when it was first answered."""
    commands, replies = f"{world.prefix}{participant}.commands", f"{world.prefix}replies"
    bootstrap = world.stack.kafka.bootstrap_servers
    places = await evidence._places(bootstrap, [commands, replies])
    found: dict[str, Asked] = {}
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        async for record in evidence._read_all(consumer, places[commands]):
            if dict(record.headers)["ce_type"] == action.encode():
                found.setdefault(record.key.decode(), Asked(record.timestamp))
        async for record in evidence._read_all(consumer, places[replies]):
            known = found.get((record.key or b"").decode())
            source = dict(record.headers)["ce_source"].decode()
            if known is not None and source == participant and known.answered_ms is None:
                known.answered_ms = record.timestamp
    return found


def assert_no_flood(payments: dict[str, Asked]) -> None:
    """Second by second no more than the ramp gives; at any moment no more in flight than the limit."""
    asked = sorted(one.asked_ms for one in payments.values())
    per_second = Counter((moment - asked[0]) // 1000 for moment in asked)
    total = 0
    for second in range(max(per_second) + 1):
        total += per_second[second]
        # The first window of the ramp begins a moment before the first release.
        assert total <= RAMP * (2 ** (second + 2) - 1), per_second
    assert most_in_flight(list(payments.values())) <= LIMIT


def most_in_flight(actions: list[Asked]) -> int:
    """The largest number of actions that were asked for and not answered at any one moment."""
    moments = [(one.asked_ms, 1) for one in actions]
    moments += [(one.answered_ms, -1) for one in actions if one.answered_ms is not None]
    return max(itertools.accumulate(change for _, change in sorted(moments)))
