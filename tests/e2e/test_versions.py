"""Several versions of a definition on several processes: a saga ends on the version it began with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.e2e.orders import order
from tests.e2e.versions import NAME
from tests.e2e.world import Coordinator, World, eventually

SLOW_S = 5.0
HELD_S = 12.0  # longer than a process takes to start
CHANGE = "step reserve_inventory: timeout was 300000 ms, is 420000 ms"


@pytest.fixture(autouse=True)
async def stopped(world: World) -> AsyncIterator[None]:
    """Stop what a test left running."""
    yield
    await world.mend()
    await asyncio.gather(*(each.stop() for each in world.coordinators if each.child.exit_code is None))


async def launched(world: World, name: str, definitions: str, role: str = "all") -> Coordinator:
    """Start a coordinator that holds some versions."""
    return await world.launched(name, role, SAGA_DEFINITIONS=f"tests.e2e.versions:{definitions}")


async def version_of(coordinator: Coordinator, saga_id: str) -> int:
    return int((await coordinator.get(saga_id))["definition_version"])


async def listed(coordinator: Coordinator) -> list[dict[str, Any]]:
    answer = await coordinator.http.get("/v1/definitions")
    assert answer.status_code == 200, answer.text
    return [each for each in answer.json()["definitions"] if each["name"] == NAME]


async def test_versions_live_side_by_side(world: World) -> None:
    """New sagas stay on the old version until the roll-out is over, then begin on the new one; all end on their own."""
    before, during = [order() for _ in range(3)], [order() for _ in range(3)]
    for slow in (*before, *during):
        await world.fault("inventory", "slow", command="ReserveItems", match=slow["order_id"], seconds=SLOW_S)
    outdated = await launched(world, "outdated", "old")
    on_first = [await outdated.start(each, NAME) for each in before]
    updated = await launched(world, "updated", "both")
    on_first += [await updated.start(each, NAME) for each in during]
    named = await updated.http.post("/v1/sagas", json={"definition": NAME, "version": 2, "input": order()})
    assert named.status_code == 409
    assert named.json()["type"] == "urn:saga-coordinator:problem:version-not-ready"
    assert named.json()["detail"] == (
        f"{NAME} version 2 starts no sagas for now: one live replica does not know it yet;"
        " ask again when all are up to date"
    )
    assert [(each["version"], each["known_by"], each["replicas"]) for each in await listed(updated)] == [
        (1, 2, 2),
        (2, 1, 2),
    ]
    assert await outdated.stop() == 0
    await eventually(lambda: second_is_chosen(world, updated), within_s=20, what="version 2 starts sagas")
    on_second = [await updated.start(order(), NAME) for _ in range(3)]
    await world.until("SELECT bool_and(status = 'completed') FROM saga", within_s=40)
    assert [await version_of(updated, saga_id) for saga_id in (*on_first, *on_second)] == [1] * 6 + [2] * 3
    commands = ["ReserveItems", "ProcessPayment", "CreateShipment", "SendOrderConfirmation"]
    assert [await world.story(saga_id) for saga_id in on_first] == [commands] * 6
    assert [await world.story(saga_id) for saga_id in on_second] == [commands[:3]] * 3


async def second_is_chosen(world: World, coordinator: Coordinator) -> bool:
    saga_id = await coordinator.start(order(), NAME)
    return await version_of(coordinator, saga_id) == 2


async def test_a_changed_version_ends_start_up_while_sagas_are_in_flight(world: World) -> None:
    """A coordinator with a changed version exits with 2, the difference, and what to do; the sagas in flight go on."""
    held = order()
    await world.fault("inventory", "slow", command="ReserveItems", match=held["order_id"], seconds=HELD_S)
    running = await launched(world, "running", "old")
    saga_id = await running.start(held, NAME)
    refused = world.launch("refused", SAGA_DEFINITIONS="tests.e2e.versions:changed")
    assert await asyncio.to_thread(refused.child.wait, 30) == 2
    sentence = f"{NAME} version 1 has changed while 1 saga of it is in flight and a live replica runs the other content"
    assert sentence in refused.child.output()
    assert CHANGE in refused.child.output()
    await world.until("SELECT status = 'completed' FROM saga WHERE id = $1::uuid", saga_id, within_s=40)


async def test_the_command_lists_what_runs_on_each_version(world: World) -> None:
    """`saga definitions` shows versions with counts, those that are not loaded, too, and works without a database."""
    running = await launched(world, "counted", "both")
    held = order()
    await world.fault("inventory", "silent", command="ReserveItems", match=held["order_id"])
    await running.start(held, NAME)
    header, *rows = await printed(world, "old")
    assert header.split() == ["NAME", "VERSION", "STEPS", "CONTENT", "IN", "FLIGHT", "SUSPENDED", "REPLICAS"]
    shown = [row.split() for row in rows if row.startswith(NAME)]
    assert [row[:3] + row[4:] for row in shown] == [
        [NAME, "1", "4", "0", "0", "1/1"],
        [NAME, "2", "-", "1", "0", "1/1", "not", "loaded", "here"],
    ]
    header, row = await printed(world, "old", SAGA_DATABASE__URL="postgresql://nobody@127.0.0.1:1/none")
    assert row.split()[4:] == ["-", "-", "-"]


async def printed(world: World, definitions: str, **settings: str) -> list[str]:
    """Run `saga definitions`; answers its lines."""
    environment = world.environment(SAGA_DEFINITIONS=f"tests.e2e.versions:{definitions}", **settings)
    child = world.stack.processes.python(
        f"{world.database}-definitions", "-m", "coordinator", "definitions", environment=environment
    )
    assert await asyncio.to_thread(child.wait, 30) == 0, child.output()
    return [line for line in child.output().splitlines() if line.startswith((NAME, "NAME"))]


async def test_one_number_for_two_contents_is_refused(world: World) -> None:
    """Definitions that give one number to two contents end the process with 2 and the difference."""
    child = world.launch("twice", SAGA_DEFINITIONS="tests.e2e.versions:twice").child
    assert await asyncio.to_thread(child.wait, 30) == 2
    assert f"{NAME} version 1 is defined twice, with two contents: {CHANGE}" in child.output()
