"""What the saga promises its participants, told by the participants' own records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.checker.evidence import gather
from tests.e2e.definitions import PATIENT, UNDO_ATTEMPTS, hasty
from tests.e2e.orders import ACTIONS, REFUSED, STEPS, order, undone
from tests.e2e.world import Coordinator, Saga, World, event_headers

LATE_S = 15.0  # longer than a hasty step may take after what looked like an outage: of Kafka, on a machine that is busy


@pytest.fixture(scope="module")
async def coordinator(world: World) -> Coordinator:
    """Give one coordinator that does everything."""
    return await world.launched("coordinator")


@pytest.fixture(autouse=True)
async def checked(world: World, coordinator: Coordinator) -> AsyncIterator[None]:
    """Let the independent checker look at database and topics after each story."""
    yield
    await world.mend()
    await world.check()


async def ended(world: World, coordinator: Coordinator, orders: list[dict[str, Any]], definition: str) -> list[Saga]:
    """Start sagas and wait until they have ended."""
    return [await end_of(world, coordinator, saga_id) for saga_id in await coordinator.start_many(orders, definition)]


async def end_of(world: World, coordinator: Coordinator, saga_id: str) -> Saga:
    """Wait until a saga has ended."""
    world.saga_ids.add(saga_id)
    await world.until("SELECT status IN ('completed', 'failed') FROM saga WHERE id = $1::uuid", saga_id)
    return await coordinator.get(saga_id)


async def verdicts(world: World, name: str) -> int:
    """Count the records with a verdict so far."""
    return int(await world.value(f'SELECT sum("{name}") FROM shard'))  # noqa: S608


async def test_a_good_order_is_fulfilled(world: World, coordinator: Coordinator) -> None:
    """Every step takes effect once, in order, and nothing is undone."""
    [saga] = await ended(world, coordinator, [order()], PATIENT)
    assert saga["status"] == "completed"
    assert await world.story(saga["id"]) == ACTIONS


async def test_a_refusal_at_each_step_undoes_those_before(world: World, coordinator: Coordinator) -> None:
    """A step that is refused is not undone; the completed ones are, one by one, in strict reverse order."""
    sagas = await ended(world, coordinator, [order(**changes) for changes in REFUSED], PATIENT)
    for position, saga in enumerate(sagas):
        assert saga["status"] == "failed"
        assert await world.story(saga["id"]) == ACTIONS[:position] + undone(position - 1)
        assert saga["steps"][position]["outcome"] == "failed"


async def test_a_silent_step_is_undone_first(world: World, coordinator: Coordinator) -> None:
    """A step that took effect and never answered times out at each position, and is the first to be undone."""
    sagas = []
    for step in STEPS:
        silent = order()
        await world.fault(step.participant, "silent", command=step.action, match=silent["order_id"])
        sagas.append(await coordinator.start(silent, hasty(step.name)))
    for position, saga_id in enumerate(sagas):
        saga = await end_of(world, coordinator, saga_id)
        assert saga["status"] == "failed"
        assert saga["steps"][position]["outcome"] == "unknown"
        assert await world.story(saga_id) == ACTIONS[: position + 1] + undone(position)


async def test_a_step_that_never_ran_has_nothing_to_undo(world: World, coordinator: Coordinator) -> None:
    """A command that got lost is undone first all the same: the participant has a tombstone, and answers so."""
    lost = order()
    await world.fault("payment", "drop", command="ProcessPayment", match=lost["order_id"])
    [saga] = await ended(world, coordinator, [lost], hasty("process_payment"))
    assert saga["status"] == "failed"
    assert await world.story(saga["id"]) == ["ReserveItems", "ReleaseReservation"]
    [row] = await world.rows("SELECT undo, at FROM payment.kit_command WHERE saga_id = $1", saga["id"])
    assert row["undo"] == "nothing_to_undo"
    released = await world.value("SELECT released_at FROM inventory.reservations WHERE saga_id = $1", saga["id"])
    assert row["at"] < released


async def test_a_success_after_the_undo_revives_nothing(world: World, coordinator: Coordinator) -> None:
    """A success that arrives when its step is undone is noted in the log; the saga stays failed, nothing comes back."""
    late = order()
    before = {name: await verdicts(world, name) for name in ("applied", "stale", "duplicate")}
    await world.fault("payment", "slow", command="ProcessPayment", match=late["order_id"], seconds=LATE_S)
    [saga] = await ended(world, coordinator, [late], hasty("process_payment"))
    expected = ["ReserveItems", "ProcessPayment", "RefundPayment", "ReleaseReservation"]
    assert saga["status"] == "failed"
    assert await world.story(saga["id"]) == expected
    await world.until(
        "SELECT EXISTS (SELECT FROM saga_log WHERE saga_id = $1::uuid AND event = 'StepCompleted'"
        " AND step_name = 'process_payment')",
        saga["id"],
    )
    after = await coordinator.get(saga["id"])
    assert (after["status"], after["log"][-1]["step_name"]) == ("failed", "process_payment")
    assert await world.story(saga["id"]) == expected
    await world.rest()
    grown = {name: await verdicts(world, name) - count for name, count in before.items()}
    # Applied: the start's notice, a step, two undos. The payment was asked twice, so its success comes twice, too late.
    assert after["steps"][1]["attempts"] == 2
    assert grown == {"applied": 4, "stale": 1, "duplicate": 1}
    assert await world.value("SELECT count(*) FROM incident WHERE saga_id = $1::uuid", saga["id"]) == 0


async def test_a_success_after_nothing_to_undo_is_an_incident(world: World, coordinator: Coordinator) -> None:
    """A participant that had nothing to undo and then reports success contradicts itself: a person must look."""
    lost = order()
    await world.fault("payment", "drop", command="ProcessPayment", match=lost["order_id"])
    [saga] = await ended(world, coordinator, [lost], hasty("process_payment"))
    part = await world.value("SELECT part FROM saga WHERE id = $1::uuid", saga["id"])
    identity = f"{saga['id']}:1:process_payment:action"
    said = {"saga_id": saga["id"], "step_name": "process_payment", "command_id": identity, "attempt": 1}
    value = msgspec.json.encode({**said, "result": {"payment_id": "p", "amount_cents": 1}})
    headers = event_headers("SagaStepCompleted", "payment")
    key = saga["id"].encode()
    producer = await world.producer()
    await producer.send_and_wait(f"{world.prefix}replies", value, key=key, headers=headers, partition=part)
    await world.until(
        "SELECT EXISTS (SELECT FROM incident WHERE saga_id = $1::uuid AND reason = 'conflicting_undo')", saga["id"]
    )
    assert (await coordinator.get(saga["id"]))["status"] == "failed"


async def test_every_reply_twice_changes_nothing(world: World, coordinator: Coordinator) -> None:
    """With every reply sent twice, good and refused orders end as they would, and the copies count as duplicates."""
    orders = [order(), *(order(**changes) for changes in REFUSED)]
    for twice in orders:
        for step in STEPS:
            await world.fault(step.participant, "duplicate", match=twice["order_id"], copies=2)
    before = await verdicts(world, "duplicate")
    sagas = await ended(world, coordinator, orders, PATIENT)
    assert [saga["status"] for saga in sagas] == ["completed", *["failed"] * len(REFUSED)]
    assert await world.story(sagas[0]["id"]) == ACTIONS
    for position, saga in enumerate(sagas[1:]):
        assert await world.story(saga["id"]) == ACTIONS[:position] + undone(position - 1)
    await world.rest()
    replies = len(STEPS) + sum(2 * position + 1 for position in range(len(REFUSED)))
    assert await verdicts(world, "duplicate") == before + replies


async def test_an_undo_is_tried_until_it_works(world: World, coordinator: Coordinator) -> None:
    """A compensation that fails twice is tried a third time; the next one waits for it."""
    tried = order(**REFUSED[2])
    await world.fault("payment", "fail_undo", match=tried["order_id"], code="gateway_down", times=2)
    [saga] = await ended(world, coordinator, [tried], PATIENT)
    assert saga["status"] == "failed"
    assert await world.story(saga["id"]) == ["ReserveItems", "ProcessPayment", "RefundPayment", "ReleaseReservation"]
    assert saga["steps"][1]["undo_attempts"] == 3
    failures = [entry for entry in saga["log"] if entry["event"] == "CompensationFailed"]
    assert [entry["step_name"] for entry in failures] == ["process_payment"] * 2


async def test_an_undo_that_never_works_parks_the_saga_until_a_retry(world: World, coordinator: Coordinator) -> None:
    """A compensation past its budget becomes a dead letter and an incident; nothing else is undone until a retry."""
    stuck = order(**REFUSED[2])
    await world.fault("payment", "fail_undo", match=stuck["order_id"], code="gateway_down")
    saga_id = await coordinator.start(stuck)
    await world.until("SELECT status = 'suspended' FROM saga WHERE id = $1::uuid", saga_id)
    await assert_parked(world, coordinator, saga_id)
    await world.mend()
    version = (await coordinator.get(saga_id))["version"]
    body = {"reason": "the gateway is back", "expected_version": version}
    answer = await coordinator.http.post(f"/v1/sagas/{saga_id}/retry", json=body)
    assert answer.status_code == 202, answer.text
    saga = await end_of(world, coordinator, saga_id)
    assert saga["status"] == "failed"
    assert await world.story(saga_id) == ["ReserveItems", "ProcessPayment", "RefundPayment", "ReleaseReservation"]
    [incident] = await world.rows("SELECT * FROM incident WHERE saga_id = $1::uuid", saga_id)
    assert incident["resolved_at"] is not None
    [audit] = await world.rows("SELECT * FROM audit_log WHERE saga_id = $1::uuid AND outcome = 'done'", saga_id)
    assert (audit["action"], audit["reason"], audit["version_before"]) == ("retry", "the gateway is back", version)


async def test_the_checker_sees_what_there_is(world: World, coordinator: Coordinator) -> None:
    """What the checker has read of these stories holds something of everything: it was not content with nothing."""
    saga_ids = await coordinator.start_many([order(**changes) for changes in REFUSED])
    world.saga_ids.update(saga_ids)
    await world.rest()
    found = await gather(world.url, world.stack.kafka.bootstrap_servers, world.plan)
    for saga_id in saga_ids:
        versions = [entry.version for entry in found.log[saga_id]]
        assert versions == sorted(version for known, version in found.transitions if known == saga_id)
        undone = sum(effect.kind == "undone" for effect in found.effects if effect.saga_id == saga_id)
        sent = [identity for identity in found.published if identity.startswith(saga_id)]
        assert len(sent) == 2 * undone + 1
    assert sum(shard.verdicts for shard in found.shards.values()) >= len(found.published)
    assert found.end_offsets.keys() == found.shards.keys()
    assert found.keys.keys() == found.sagas.keys()


async def assert_parked(world: World, coordinator: Coordinator, saga_id: str) -> None:
    """A parked saga has a reason, a dead letter in table and topic, and the step before it still stands."""
    assert await world.story(saga_id) == ["ReserveItems", "ProcessPayment"]
    [incident] = await world.rows("SELECT * FROM incident WHERE saga_id = $1::uuid", saga_id)
    assert (incident["reason"], incident["step_name"]) == ("compensation_dead_lettered", "process_payment")
    [letter] = await world.rows("SELECT * FROM dead_letter WHERE saga_id = $1::uuid", saga_id)
    assert letter["command_id"] == f"{saga_id}:1:process_payment:compensation"
    assert "gateway_down" in letter["detail"]
    command = msgspec.json.decode(letter["value"])
    assert (command["compensates"], command["attempt"]) == (f"{saga_id}:1:process_payment:action", UNDO_ATTEMPTS)
    await asyncio.gather(
        world.until("SELECT bool_and(on_topic) FROM dead_letter WHERE saga_id = $1::uuid", saga_id), world.check()
    )
