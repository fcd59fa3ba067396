"""Sagas that flow control holds queue in Postgres: once each, oldest first, and only as they were looked at."""

from __future__ import annotations

from uuid import uuid4

from coordinator.store.postgres import Hold, PostgresStore
from tests.integration.store.workload import PARTS, Connection, Made, Workload

EVERYWHERE = list(range(PARTS))
SOON_MS = 600_000
LATER_MS = 10**14  # whenever they were held


def holds(workload: Workload, sagas: list[Made], participant: str, version: int = 1) -> list[Hold]:
    """Let sagas queue that have nothing else to wait for."""
    return [Hold(one.id, version, participant, workload.now_ms + SOON_MS, None) for one in sagas]


def someone() -> str:
    """Name a participant of this test's own."""
    return f"participant-{uuid4()}"


async def owned(store: PostgresStore) -> dict[int, int]:
    """Claim every partition; answers their epochs."""
    return {claim.part: claim.epoch for claim in await store.claim(dict.fromkeys(EVERYWHERE, 0), "us", "cluster")}


async def test_a_held_saga_waits_without_a_deadline(
    store: PostgresStore, plain: Connection, workload: Workload
) -> None:
    """It is not overdue, it does not wake before its time, and its version is what it was."""
    sagas, name = await workload.started(3), someone()
    assert await store.hold(holds(workload, sagas, name)) == [name] * 3
    rows = await plain.fetch(
        "SELECT version, deadline, wake_at > now() + interval '9 minutes' AS rests"
        " FROM saga WHERE id = ANY($1::uuid[])",
        [one.id for one in sagas],
    )
    assert [tuple(row) for row in rows] == [(1, None, True)] * 3
    assert not {one.id for one in sagas} & set(await store.due(EVERYWHERE, workload.now_ms + 60_000, 10_000))


async def test_the_oldest_are_next(store: PostgresStore, workload: Workload) -> None:
    """Whoever came to the queue when: the saga that began first is released first, for each partition's owner."""
    sagas, name = await workload.started(20), someone()
    await store.hold(holds(workload, sagas[10:], name))
    await store.hold(holds(workload, sagas[:10], name))
    ordered = sorted(one.id for one in sagas)
    assert await store.held(name, EVERYWHERE, 5) == ordered[:5]
    ours = [one.id for one in sagas if one.part == 0]
    assert await store.held(name, [0], 100) == sorted(ours)
    assert await store.count_held(EVERYWHERE) | {name: 20} == await store.count_held(EVERYWHERE)


async def test_a_saga_that_has_moved_on_does_not_queue(
    store: PostgresStore, plain: Connection, workload: Workload
) -> None:
    """What was decided on an older version is void: neither its row nor the queue changes."""
    [saga], name = await workload.started(), someone()
    query = "SELECT wake_at, deadline FROM saga WHERE id = $1::uuid"
    before = await plain.fetchrow(query, saga.id)
    assert await store.hold(holds(workload, [saga], name, version=2)) == []
    assert await plain.fetchrow(query, saga.id) == before
    assert await store.held(name, EVERYWHERE, 1) == []


async def test_coming_and_going_twice_is_harmless(store: PostgresStore, workload: Workload) -> None:
    """An answer may be lost, so both may happen again; neither counts twice."""
    sagas, name = await workload.started(2), someone()
    assert await store.hold(holds(workload, [*sagas, sagas[0]], name)) == [name] * 2
    assert await store.hold(holds(workload, sagas, name)) == []
    ids = [one.id for one in sagas]
    epochs = await owned(store)
    assert await store.release(name, ids, LATER_MS, epochs) == 2
    assert await store.release(name, ids, LATER_MS, epochs) == 0


async def test_a_release_that_comes_late_takes_nobody_out_who_came_since(
    store: PostgresStore, workload: Workload
) -> None:
    """It was decided before the saga was held anew, for another step, and arrives afterwards."""
    [saga], name = await workload.started(), someone()
    await store.hold(holds(workload, [saga], name))
    decided_ms = await store.now_ms() + 1
    while await store.now_ms() <= decided_ms:
        continue  # its clock must have gone on
    assert await store.hold(holds(workload, [saga], name)) == []
    assert await store.release(name, [saga.id], decided_ms, await owned(store)) == 0
    assert await store.held(name, EVERYWHERE, 1) == [saga.id]


async def test_a_saga_may_queue_for_two_participants(store: PostgresStore, workload: Workload) -> None:
    """Steps that are issued together wait each for its own participant."""
    [saga], names = await workload.started(), sorted([someone(), someone()])
    both = [hold for name in names for hold in holds(workload, [saga], name)]
    assert sorted(await store.hold(both)) == names
    assert await store.queues([*names, someone()]) == set(names)
    await store.release(names[0], [saga.id], LATER_MS, await owned(store))
    assert await store.queues(names) == {names[1]}
