"""The order choreography with the four real participants and nobody in charge; the coordinator watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from deploy.local.stack import LocalStack
from tests.e2e.orders import order
from tests.e2e.world import Coordinator, Saga, World, event_headers
from tests.needs import need_real_kafka

GOOD = ["OrderCreated", "InventoryReserved", "PaymentProcessed", "ShipmentCreated", "OrderFulfilled"]
DECLINED = ["OrderCreated", "InventoryReserved", "PaymentFailed", "InventoryReleased", "OrderFailed"]
UNSHIPPABLE = [
    *("OrderCreated", "InventoryReserved", "PaymentProcessed", "ShipmentFailed"),
    *("PaymentRefunded", "InventoryReleased", "OrderFailed"),
]
STOCK_AND_MONEY = """
SELECT (SELECT sum(reserved) FROM inventory.stock) AS reserved, (SELECT sum(spent_cents) FROM payment.cards) AS spent
"""
DONE = """
SELECT (SELECT count(*) FROM inventory.reservations WHERE order_id = $1),
    (SELECT count(*) FROM payment.payments WHERE order_id = $1),
    (SELECT count(*) FROM shipping.shipments WHERE order_id = $1),
    (SELECT count(*) FROM notification.notices WHERE order_id = $1)
"""


class Dance(World):
    """A world whose coordinators observe the order choreography."""

    def environment(self, **settings: str) -> dict[str, str]:
        """Name the choreography."""
        return super().environment(SAGA_CHOREOGRAPHIES="tests.e2e.choreographies:choreographies", **settings)

    async def say(self, order: Mapping[str, Any], ce_type: str = "OrderCreated", source: str = "shop") -> None:
        """Publish an event with an order as its data, as a shop would."""
        producer = await self.producer()
        headers = event_headers(ce_type, source, ce_id=f"{order['order_id']}:{ce_type}", ce_subject=order["order_id"])
        key, value = order["order_id"].encode(), msgspec.json.encode(order)
        await producer.send_and_wait(f"{self.prefix}{source}.events", value, key=key, headers=headers)

    async def until_status(self, order: Mapping[str, Any], *statuses: str, within_s: float = 40.0) -> str:
        """Wait until an order's saga has one of these statuses; answers its id."""
        saga_id = await self.saga_of(order, within_s=within_s)
        query = "SELECT status = ANY($2) FROM saga WHERE id = $1::uuid"
        await self.until(query, saga_id, statuses, within_s=within_s)
        return saga_id

    async def whole_story(self, watcher: Coordinator, order: Mapping[str, Any], events: Sequence[str]) -> Saga:
        """Wait until all these events were seen of an order, in whatever order: topics are read side by side."""
        saga_id = await self.saga_of(order)
        seen = (
            "SELECT count(DISTINCT step_name) = $2 FROM saga_log WHERE saga_id = $1::uuid AND event = 'EventObserved'"
        )
        await self.until(seen, saga_id, len(events))
        saga = await watcher.get(saga_id)
        assert {step_name for _, step_name in _timeline(saga)} == set(events)
        return saga


@pytest.fixture(scope="module")
async def dance(stack: LocalStack) -> AsyncIterator[Dance]:
    """Give participants, topics and one coordinator."""
    need_real_kafka(stack, "static members, several of a group")
    dance = Dance(stack)
    try:
        await dance.open()
        await dance.launched("watcher")
        yield dance
    finally:
        await dance.close()


@pytest.fixture
def watcher(dance: Dance) -> Coordinator:
    """Give the coordinator."""
    return dance.coordinators[0]


async def test_an_order_is_fulfilled_with_nobody_in_charge(dance: Dance, watcher: Coordinator) -> None:
    """Five events end a good order; the same API shows them as steps and as a timeline, and no command was sent."""
    one = order()
    await dance.say(one)
    saga = await dance.whole_story(watcher, one, GOOD)
    assert saga["status"] == "completed"
    assert {entry["event"] for entry in saga["log"]} == {"EventObserved"}
    outcomes = {step["name"]: step["outcome"] for step in saga["steps"]}
    assert [name for name, outcome in outcomes.items() if outcome == "completed"] == GOOD
    assert {outcome for name, outcome in outcomes.items() if name not in GOOD} == {"skipped"}
    assert saga["input"]["order_id"] == one["order_id"]
    listed = (await watcher.http.get("/v1/sagas", params={"business_key": one["order_id"]})).json()["sagas"]
    assert [(each["definition"], each["status"]) for each in listed] == [("HastyChoreography", "completed")]
    assert await dance.value("SELECT count(*) FROM outbox") == 0


@pytest.mark.parametrize(
    ("changes", "events"),
    [
        ({"card": {"token": "tok_declined"}}, DECLINED),
        ({"address": {"country": "AQ", "city": "South Pole", "street": "Station 1"}}, UNSHIPPABLE),
        ({"items": [{"sku": "sku-sold-out", "quantity": 1}]}, ["OrderCreated", "InventoryRejected", "OrderFailed"]),
    ],
)
async def test_a_failing_order_walks_back(
    dance: Dance, watcher: Coordinator, changes: dict[str, Any], events: list[str]
) -> None:
    """What was done is undone, latest first, until OrderFailed; stock and money are as before."""
    before = tuple((await dance.rows(STOCK_AND_MONEY))[0])
    one = order(**changes)
    await dance.say(one)
    saga = await dance.whole_story(watcher, one, events)
    assert saga["status"] == "failed"
    assert tuple((await dance.rows(STOCK_AND_MONEY))[0]) == before


async def test_a_missing_event_is_noticed_and_a_replay_finishes_the_saga(dance: Dance, watcher: Coordinator) -> None:
    """Payment is off, an incident opens; it comes back having lost what it missed, and a replay finishes the saga."""
    await asyncio.to_thread(dance.participants["payment"].kill)
    one = order()
    await dance.fault("payment", "drop", match=one["order_id"], times=1)
    await dance.say(one)
    saga_id = await dance.until_status(one, "suspended")
    parked = await watcher.get(saga_id)
    assert [incident["reason"] for incident in parked["incidents"]] == ["next_event_overdue"]
    assert "PaymentProcessed of payment or PaymentFailed of payment" in parked["incidents"][0]["detail"]
    dance.start_participant("payment")
    await dance.until("SELECT bool_and(remaining = 0) FROM payment.faults")
    assert (await watcher.get(saga_id))["status"] == "suspended"

    stale = await watcher.http.post(
        f"/v1/sagas/{saga_id}/replay", json={"reason": "payment is back", "expected_version": 1}
    )
    assert stale.status_code == 412
    retry = {"reason": "the wrong verb", "expected_version": parked["version"]}
    assert (await watcher.http.post(f"/v1/sagas/{saga_id}/retry", json=retry)).status_code == 409
    act = {"reason": "payment is back", "expected_version": parked["version"]}
    answer = await watcher.http.post(f"/v1/sagas/{saga_id}/replay", json=act)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    await dance.until_status(one, "completed")

    saga = await watcher.get(saga_id)
    assert [name for name, _ in _timeline(saga)].count("EventReplayed") == 1
    assert [incident["resolved_by"] for incident in saga["incidents"]] == ["anonymous"]
    acts = "SELECT action, reason FROM audit_log WHERE saga_id = $1::uuid AND outcome = 'done'"
    audits = await dance.rows(acts, saga_id)
    assert [tuple(row) for row in audits] == [("replay", "payment is back")]
    assert tuple((await dance.rows(DONE, one["order_id"]))[0]) == (1, 1, 1, 1)
    again = await watcher.http.post(f"/v1/sagas/{saga_id}/replay", json=act)
    assert (again.status_code, again.json()["saga_status"]) == (409, "completed")


async def test_a_participant_that_comes_back_goes_on_by_itself(dance: Dance, watcher: Coordinator) -> None:
    """An event after the incident resolves it: nobody has to do anything."""
    await asyncio.to_thread(dance.participants["payment"].kill)
    one = order()
    await dance.say(one)
    saga_id = await dance.until_status(one, "suspended")
    dance.start_participant("payment")
    await dance.until_status(one, "completed")
    saga = await watcher.get(saga_id)
    assert [incident["resolved_by"] for incident in saga["incidents"]] == ["observer"]


async def test_the_same_order_said_again_changes_nothing(dance: Dance, watcher: Coordinator) -> None:
    """Every participant says again what it said and does nothing twice; the log notes the duplicates."""
    one = order()
    await dance.say(one)
    saga_id = (await dance.whole_story(watcher, one, GOOD))["id"]
    await dance.say(one)
    query = "SELECT count(*) = 10 FROM saga_log WHERE saga_id = $1::uuid"
    await dance.until(query, saga_id)
    saga = await watcher.get(saga_id)
    verdicts = [entry["data"]["verdict"] for entry in saga["log"]]
    assert verdicts == ["applied"] * 5 + ["duplicate"] * 5
    assert sorted(step_name for _, step_name in _timeline(saga)[5:]) == sorted(GOOD)
    assert saga["status"] == "completed"
    assert tuple((await dance.rows(DONE, one["order_id"]))[0]) == (1, 1, 1, 1)


async def test_bad_records_are_set_aside_and_hold_up_nobody(dance: Dance) -> None:
    """What cannot be read, or names no order, becomes a dead letter of its topic; the orders around it go on."""
    producer = await dance.producer()
    topic = f"{dance.prefix}shop.events"
    one = order()
    bad = {"not_json": b"{", "schema": b'{"order_id":7}'}
    for value in bad.values():
        await producer.send_and_wait(topic, value, key=b"bad", headers=event_headers("OrderCreated", "shop"))
    await dance.say(one)
    await dance.until_status(one, "completed")
    await dance.until("SELECT count(*) = 2 FROM dead_letter WHERE topic = $1", topic)
    letters = await dance.rows("SELECT reason, value FROM dead_letter WHERE topic = $1", topic)
    assert {row["reason"]: row["value"] for row in letters} == bad


async def test_an_order_that_nobody_heard_of_is_not_lost(dance: Dance, watcher: Coordinator) -> None:
    """A later event without the first begins the saga's record, and its participants go on from there."""
    one = order()
    await dance.say(one, "PaymentProcessed", "payment")
    saga = await dance.whole_story(watcher, one, GOOD[2:])
    assert "OrderCreated has not been seen" in saga["log"][0]["data"]["note"]
    outcomes = {step["name"]: step["outcome"] for step in saga["steps"]}
    assert [outcomes[name] for name in GOOD] == ["unknown", "unknown", "completed", "completed", "completed"]
    await dance.say(one)
    await dance.until("SELECT version >= 4 FROM saga WHERE id = $1::uuid", saga["id"])
    assert (await watcher.get(saga["id"]))["log"][3]["data"]["note"].startswith("out of order")


async def test_replicas_share_the_watching(dance: Dance, watcher: Coordinator) -> None:
    """Two coordinators observe, one is killed: every order ends, its log is a chain, and each event is in it once."""
    other = await dance.launched("other", "engine")
    changes: list[dict[str, Any]] = [{}, {}, {"card": {"token": "tok_declined"}}]
    orders = [order(**changes[number % 3]) for number in range(60)]
    for one in orders[:30]:
        await dance.say(one)
    await dance.until("SELECT count(*) > 0 FROM saga WHERE business_key = ANY($1)", [one["order_id"] for one in orders])
    await other.kill()
    for one in orders[30:]:
        await dance.say(one)
    # The end may be seen first: the topics that the other one read are given away when its session is over.
    seen = (
        "SELECT count(DISTINCT (saga_id, step_name)) = 300 FROM saga_log"
        " WHERE event = 'EventObserved' AND saga_id IN (SELECT id FROM saga WHERE business_key = ANY($1))"
    )
    await dance.until(seen, [one["order_id"] for one in orders], within_s=60)
    for number, one in enumerate(orders):
        saga = await watcher.get(await dance.saga_of(one))
        expected = DECLINED if number % 3 == 2 else GOOD
        applied = [entry["step_name"] for entry in saga["log"] if entry["data"].get("verdict") == "applied"]
        assert sorted(applied) == sorted(expected)
        assert [entry["version"] for entry in saga["log"]] == list(range(1, saga["version"] + 1))
        assert saga["status"] == ("failed" if number % 3 == 2 else "completed")


async def test_an_observer_stops_in_order(dance: Dance) -> None:
    """SIGTERM ends the process with 0 once what was in hand is done; another one goes on from there."""
    other = await dance.launched("leaver", "engine")
    one = order()
    await dance.say(one)
    assert await other.stop() == 0
    await dance.until_status(one, "completed")


def _timeline(saga: Saga) -> list[tuple[str, str]]:
    return [(entry["event"], entry["step_name"]) for entry in saga["log"]]
