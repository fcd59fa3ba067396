"""Every shape of saga with its real participants: groups, conditions, outsiders, a point of no return, delays."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from deploy.local.stack import LocalStack
from tests.e2e.shapes import PARTICIPANTS
from tests.e2e.world import Coordinator, Saga, World, event_headers
from tests.needs import need_real_kafka

DEAR = {"stay": {"hotel": "hotel-central", "room": "suite", "check_in": "2031-05-02", "nights": 3}}
CARS_GONE = {"drive": {"station": "lisbon-airport", "car_class": "van", "pick_up": "2031-05-02", "days": 4}}
BOOKINGS = ("book_room", "book_seats", "rent_car")

_run = secrets.token_hex(3)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
async def world(stack: LocalStack) -> AsyncIterator[World]:
    """Give the participants of transfers and trips."""
    need_real_kafka(stack, "static members, several of a group")
    world = World(stack, definitions="tests.e2e.shapes:definitions")
    try:
        await world.open(PARTICIPANTS)
        yield world
    finally:
        await world.close()


@pytest.fixture(scope="module")
async def coordinator(world: World) -> Coordinator:
    """Give one coordinator that does everything."""
    return await world.launched("coordinator")


@pytest.fixture(autouse=True)
async def at_rest(world: World, coordinator: Coordinator) -> AsyncIterator[None]:
    """After each story nothing moves any more, and no money was made or lost."""
    before = await money(world)
    yield
    await world.mend()
    await world.rest()
    assert await money(world) == before


def trip(**changes: Any) -> dict[str, Any]:
    """Make a trip that everybody takes."""
    return {
        "booking_id": f"trip-{_run}-{next(_numbers)}",
        "traveller": "Ann Example",
        "traveller_email": "ann@example.com",
        "stay": {"hotel": "hotel-central", "room": "double", "check_in": "2031-05-02", "nights": 3},
        "passage": {"flight": "SG100", "seats": 2},
        "drive": {"station": "lisbon-airport", "car_class": "compact", "pick_up": "2031-05-02", "days": 4},
        "currency": "EUR",
        "card": {"token": "tok_visa"},
        **changes,
    }


def transfer(**changes: Any) -> dict[str, Any]:
    """Make a transfer that everybody takes."""
    return {
        "transfer_id": f"transfer-{_run}-{next(_numbers)}",
        "source_account": "acc-ann",
        "destination_account": "acc-bob",
        "amount_minor": 1_250,
        "currency": "EUR",
        "source_email": "ann@example.com",
        "destination_email": "bob@example.com",
        **changes,
    }


async def money(world: World) -> list[tuple[Any, ...]]:
    """Add up, for each currency, what is on accounts and on hold."""
    rows = await world.rows("SELECT currency, on_accounts + on_hold FROM accounts.money ORDER BY currency")
    return [tuple(row) for row in rows]


async def until(world: World, coordinator: Coordinator, saga_id: str, *statuses: str) -> Saga:
    """Wait until a saga has one of these statuses."""
    await world.until("SELECT status = ANY($2) FROM saga WHERE id = $1::uuid", saga_id, list(statuses))
    return await coordinator.get(saga_id)


async def until_asked(world: World, coordinator: Coordinator, saga_id: str, step: str) -> Saga:
    """Wait until a saga waits for an answer to a step."""
    query = (
        "SELECT EXISTS (SELECT FROM jsonb_array_elements(convert_from(state, 'UTF8')::jsonb->'steps') WITH ORDINALITY"
        " AS s (step, place) WHERE step->>'outcome' = 'issued' AND place = $2) FROM saga WHERE id = $1::uuid"
    )
    names = [one["name"] for one in (await coordinator.get(saga_id))["steps"]]
    await world.until(query, saga_id, names.index(step) + 1)
    return await coordinator.get(saga_id)


def outcomes(saga: Saga) -> dict[str, str]:
    """Say how each step's action went."""
    return {step["name"]: step["outcome"] for step in saga["steps"]}


async def effects(world: World, saga_id: str) -> list[str]:
    """List the commands that took effect for a saga, in the order of the clock."""
    union = " UNION ALL ".join(f"SELECT command, saga_id, at FROM {name}.effects" for name in PARTICIPANTS)  # noqa: S608
    rows = await world.rows(f"SELECT command FROM ({union}) AS e WHERE saga_id = $1 ORDER BY at", saga_id)  # noqa: S608
    return [row["command"] for row in rows]


async def test_a_trip_is_booked_at_once_paid_and_sent(world: World, coordinator: Coordinator) -> None:
    """The three bookings are issued together, no approval is asked below the limit, and what they cost is paid."""
    saga = await until(world, coordinator, await coordinator.start(trip(), "TravelBooking"), "completed", "failed")
    assert saga["status"] == "completed"
    assert outcomes(saga)["approve_trip"] == "skipped"
    steps = {step["name"]: step for step in saga["steps"]}
    assert steps["approve_trip"]["condition"] is False
    prices = [steps[name]["result"]["price_cents"] for name in BOOKINGS]
    assert steps["take_payment"]["payload"]["amount_cents"] == sum(prices) > 0
    assert len(saga["log"]) == 6  # one start for three commands, then one transition per reply
    done = await effects(world, saga["id"])
    assert set(done[:3]) == {"BookRoom", "BookSeat", "RentCar"}
    assert done[3:] == ["ProcessPayment", "SendItinerary"]


async def test_a_booking_that_is_refused_undoes_the_others_last_first(world: World, coordinator: Coordinator) -> None:
    """The others of the group are awaited, then undone in reverse order of start; no payment was ever asked for."""
    saga_id = await coordinator.start(trip(**CARS_GONE), "TravelBooking")
    saga = await until(world, coordinator, saga_id, "completed", "failed")
    assert saga["status"] == "failed"
    assert outcomes(saga)["take_payment"] == "waiting"
    assert (await effects(world, saga_id))[2:] == ["CancelSeat", "CancelRoom"]


async def test_a_dear_trip_waits_for_a_person(world: World, coordinator: Coordinator) -> None:
    """Above the limit the saga waits; an answer over the API lets it go on, and a second one changes nothing."""
    saga_id = await coordinator.start(trip(**DEAR), "TravelBooking")
    await until_asked(world, coordinator, saga_id, "approve_trip")
    path = f"/v1/sagas/{saga_id}/steps/approve_trip"
    wrong = await coordinator.http.post(f"{path}/complete", json={"result": {"approved": True}})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/result/approved_by")
    answer = await coordinator.http.post(f"{path}/complete", json={"result": {"approved_by": "anna"}})
    assert answer.status_code == 202, answer.text
    saga = await until(world, coordinator, saga_id, "completed", "failed")
    assert saga["status"] == "completed"
    version = saga["version"]
    for verb, body in (("complete", {"result": {"approved_by": "bob"}}), ("fail", {"code": "too_dear"})):
        late = await coordinator.http.post(f"{path}/{verb}", json=body)
        assert (late.status_code, late.json()["saga_status"]) == (409, "completed")
    assert (await coordinator.get(saga_id))["version"] == version


@pytest.mark.parametrize("step", ["book_room", "take_payment", "nonsense"])
async def test_only_a_step_that_waits_for_outside_is_answered_from_there(
    world: World, coordinator: Coordinator, step: str
) -> None:
    """409 for a participant's step and for none at all; nothing changes."""
    saga_id = await coordinator.start(trip(**DEAR), "TravelBooking")
    before = await until_asked(world, coordinator, saga_id, "approve_trip")
    answer = await coordinator.http.post(f"/v1/sagas/{saga_id}/steps/{step}/complete", json={})
    assert answer.status_code in (409, 422)
    assert await coordinator.get(saga_id) == before
    await coordinator.http.post(f"/v1/sagas/{saga_id}/steps/approve_trip/fail", json={"code": "enough"})
    assert (await until(world, coordinator, saga_id, "completed", "failed"))["status"] == "failed"


async def test_a_person_may_answer_by_a_message(world: World, coordinator: Coordinator) -> None:
    """The same answers come over Kafka, in any partition, and a refusal turns the saga back."""
    yes, no = [await coordinator.start(trip(**DEAR), "TravelBooking") for _ in range(2)]
    for saga_id in (yes, no):
        await until_asked(world, coordinator, saga_id, "approve_trip")
    producer = await world.producer()
    about = {"step_name": "approve_trip"}
    said: list[tuple[str, dict[str, Any]]] = [
        ("SagaExternalStepCompleted", {"saga_id": yes, **about, "result": {"approved_by": "anna"}}),
        ("SagaExternalStepFailed", {"saga_id": no, **about, "error": {"code": "too_dear", "message": ""}}),
    ]
    for partition, (ce_type, value) in enumerate(said):
        headers = event_headers(ce_type, "travel-desk")
        await producer.send_and_wait(
            f"{world.prefix}replies", msgspec.json.encode(value), headers=headers, partition=partition
        )
    assert (await until(world, coordinator, yes, "completed", "failed"))["status"] == "completed"
    refused = await until(world, coordinator, no, "completed", "failed")
    assert refused["status"] == "failed"
    assert outcomes(refused)["approve_trip"] == "failed"
    assert (await effects(world, no))[3:] == ["CancelRental", "CancelSeat", "CancelRoom"]


async def test_an_approval_that_nobody_gives_turns_the_saga_back(world: World, coordinator: Coordinator) -> None:
    """The timeout of an external step undoes what was booked."""
    saga_id = await coordinator.start(trip(**DEAR), "ShortApproval")
    saga = await until(world, coordinator, saga_id, "completed", "failed")
    assert saga["status"] == "failed"
    assert outcomes(saga)["approve_trip"] == "unknown"


async def test_a_saga_past_its_own_deadline_turns_back(world: World, coordinator: Coordinator) -> None:
    """Before the pivot the deadline of the whole saga cancels it, whatever the step's own timeout says."""
    saga_id = await coordinator.start(trip(**DEAR), "ShortTrip")
    saga = await until(world, coordinator, saga_id, "completed", "failed")
    assert saga["status"] == "failed"
    assert "SagaDeadlinePassed" in [entry["event"] for entry in saga["log"]]


async def test_a_transfer_moves_money_once(world: World, coordinator: Coordinator) -> None:
    """Debit, entry, credit, notice: the hold that the debit made is what the credit consumes."""
    saga_id = await coordinator.start(transfer(), "BankTransfer")
    saga = await until(world, coordinator, saga_id, "completed", "failed")
    assert saga["status"] == "completed"
    steps = {step["name"]: step for step in saga["steps"]}
    assert steps["credit_destination"]["payload"]["hold_id"] == steps["debit_source"]["result"]["hold_id"]
    assert await effects(world, saga_id) == ["DebitAccount", "RecordTransfer", "CreditAccount", "SendTransferNotice"]


async def test_a_credit_that_is_refused_gives_the_money_back(world: World, coordinator: Coordinator) -> None:
    """The pivot failed, so the saga turns back: the entry is voided, then the hold returns to its source."""
    saga_id = await coordinator.start(transfer(destination_account="acc-closed"), "BankTransfer")
    saga = await until(world, coordinator, saga_id, "completed", "failed")
    assert saga["status"] == "failed"
    assert (await effects(world, saga_id))[-2:] == ["VoidTransfer", "ReturnDebit"]


async def test_past_the_pivot_a_step_is_tried_until_a_person_is_asked(world: World, coordinator: Coordinator) -> None:
    """The notice cannot be delivered: dead letter, durable retries, then an incident; nothing is ever undone."""
    saga_id = await coordinator.start(transfer(destination_email="bounced@example.com"), "RelentlessTransfer")
    saga = await until(world, coordinator, saga_id, "suspended", "failed", "completed")
    assert saga["status"] == "suspended"
    assert [incident["reason"] for incident in saga["incidents"]] == ["retries_exhausted"]
    assert {step["name"]: step["undo"] for step in saga["steps"]} == dict.fromkeys(outcomes(saga), "none")
    letters = await world.rows("SELECT kind, command_id FROM dead_letter WHERE saga_id = $1::uuid", saga_id)
    assert [tuple(letter) for letter in letters] == [("action", f"{saga_id}:1:send_notice:action")]
    await world.rows("DELETE FROM notification.blocked_recipients WHERE email = 'bounced@example.com'")
    answer = await coordinator.http.post(
        f"/v1/sagas/{saga_id}/retry", json={"reason": "the mailbox is back", "expected_version": saga["version"]}
    )
    assert answer.status_code == 202, answer.text
    saga = await until(world, coordinator, saga_id, "completed")
    assert saga["incidents"][0]["resolved_by"] == "anonymous"


async def test_k34_a_reply_of_an_earlier_generation_is_stale(world: World, coordinator: Coordinator) -> None:
    """Past the pivot a step that failed for good runs anew under another id; an answer to the old id does nothing."""
    saga_id = await coordinator.start(transfer(source_email="unsubscribed@example.com"), "RelentlessTransfer")
    saga = await until(world, coordinator, saga_id, "suspended", "failed", "completed")
    assert [incident["reason"] for incident in saga["incidents"]] == ["failed_past_pivot"]
    await world.rows("DELETE FROM notification.blocked_recipients WHERE email = 'unsubscribed@example.com'")
    stale = await world.value("SELECT sum(stale) FROM shard")
    answer = await coordinator.http.post(
        f"/v1/sagas/{saga_id}/retry", json={"reason": "subscribed again", "expected_version": saga["version"]}
    )
    assert answer.status_code == 202, answer.text
    old = {
        "saga_id": saga_id,
        "step_name": "send_notice",
        "command_id": f"{saga_id}:1:send_notice:action",
        "attempt": 1,
    }
    value = msgspec.json.encode({**old, "result": {"mail_id": "of another time"}})
    producer = await world.producer()
    headers = event_headers("SagaStepCompleted", "notification")
    await producer.send_and_wait(f"{world.prefix}replies", value, key=saga_id.encode(), headers=headers, partition=0)
    saga = await until(world, coordinator, saga_id, "completed")
    await world.rest()
    notice = saga["steps"][-1]
    assert (notice["generation"], notice["attempts"]) == (2, 1)
    assert notice["result"]["mail_id"] != "of another time"
    assert await world.value("SELECT sum(stale) FROM shard") == stale + 1


async def test_a_saga_begins_at_the_moment_it_was_scheduled_for(world: World, coordinator: Coordinator) -> None:
    """Until then it is `scheduled` and has asked nobody for anything; its key is taken from the beginning."""
    wanted = transfer()
    moment = datetime.now(UTC) + timedelta(seconds=2)
    body = {"definition": "BankTransfer", "input": wanted, "start_at": moment.isoformat()}
    first = await coordinator.http.post("/v1/sagas", json=body)
    assert (first.status_code, first.json()["status"]) == (201, "scheduled")
    again = await coordinator.http.post("/v1/sagas", json=body)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    if time.time() < moment.timestamp() - 0.5:
        assert await effects(world, first.json()["id"]) == []
    saga = await until(world, coordinator, first.json()["id"], "completed", "failed")
    assert saga["status"] == "completed"
    begun = datetime.fromisoformat(saga["log"][1]["at"])
    assert saga["log"][1]["event"] == "StartDue"
    assert begun >= moment - timedelta(milliseconds=1)
