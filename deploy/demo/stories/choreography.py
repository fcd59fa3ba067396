"""Orders with nobody in charge: the participants react to each other's events, and the coordinator only watches.

The steps are the events that may come. Participants know such an order by its business key, since nobody has told them
of a saga; what they undo is told by the events that say so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer

from coordinator.wire.cloudevents import message_headers
from deploy.demo.definitions import order_choreography
from deploy.demo.listening import wait_until_heard
from deploy.demo.seen import Seen, read_saga
from deploy.demo.starting import Stage
from deploy.demo.stories import order as orders
from deploy.demo.stories.model import DONE, REFUSED, SKIPPED, Expected, Family, Parking, Request, Story, Switch

SHOP: Final = "shop"
COPIES: Final = 3  # of the first event, in the story of the event that is said again
NOTICED, REPLAYED = ("DeadlinePassed",), ("ReplayRequested", "EventReplayed")  # the log's words for a missed event
OBSERVED, DUPLICATE = "EventObserved", "duplicate"  # the log's words for an event, and for one that came again
STEPS: Final = tuple(event.type for event in order_choreography.events)
CREATED, RESERVED, PAID, SHIPPED, FULFILLED = (
    *("OrderCreated", "InventoryReserved", "PaymentProcessed", "ShipmentCreated", "OrderFulfilled"),
)
REJECTED, NOT_PAID, NOT_SHIPPED = "InventoryRejected", "PaymentFailed", "ShipmentFailed"
REFUNDED, RELEASED, FAILED = "PaymentRefunded", "InventoryReleased", "OrderFailed"

_EFFECT: Final = dict(zip(orders.STEPS, (RESERVED, PAID, SHIPPED, FULFILLED), strict=True))
_UNDOES: Final = {REFUNDED: PAID, RELEASED: RESERVED}  # in the order of the undoing
_REFUSES: Final = {REJECTED: RESERVED, NOT_PAID: PAID, NOT_SHIPPED: SHIPPED}


def _expected(
    status: str, seen: Sequence[str], undone: tuple[str, ...] = (), parked: Parking | None = None, copies: int = 1
) -> Expected:
    outcomes = {step: DONE if step in seen else SKIPPED for step in STEPS}
    outcomes |= {step: REFUSED for event, step in _REFUSES.items() if event in seen}
    timeline = (*seen, *(NOTICED if parked else ()), *(REPLAYED if parked and parked.verb else ()))
    return Expected(status, outcomes, undone, attempts=dict.fromkeys(seen, copies), parked=parked, timeline=timeline)


_UNSERVED: Final = (CREATED, RESERVED, PAID, NOT_SHIPPED, REFUNDED, RELEASED, FAILED)
_GOOD: Final = (CREATED, RESERVED, PAID, SHIPPED, FULFILLED)


def choreography_stories(good: int) -> tuple[Story, ...]:
    """List the stories, the plain ones first."""
    return (
        Story("nobody in charge", "five events, each said by who did something", _expected("completed", _GOOD), good),
        Story(
            "shelf empty",
            "inventory says so, and nobody after it does anything",
            _expected("failed", (CREATED, REJECTED, FAILED)),
            differs={"items": [{"sku": "sku-sold-out", "quantity": 1}]},
        ),
        Story(
            "card refused",
            "payment says so, and inventory hears it and releases the stock",
            _expected("failed", (CREATED, RESERVED, NOT_PAID, RELEASED, FAILED), (RESERVED,)),
            differs={"card": {"token": "tok_declined"}},
        ),
        Story(
            "too far away",
            "shipping says so, payment hears it and refunds, inventory hears that and releases",
            _expected("failed", _UNSERVED, (PAID, RESERVED)),
            differs={"address": orders.ADDRESS_NOT_SERVED},
        ),
        Story(
            "refund tried again",
            "the refund fails twice; since nobody repeats an event, payment itself tries again",
            _expected("failed", _UNSERVED, (PAID, RESERVED)),
            differs={"address": orders.ADDRESS_NOT_SERVED},
            switches=(Switch("payment", "fail_undo", "RefundPayment", times=2),),
        ),
        Story(
            "said three times",
            "everybody says again what was said, the log notes the duplicates, and every effect happens once",
            _expected("completed", _GOOD, copies=COPIES),
            copies=COPIES,
        ),
        Story(
            "event missed",
            "payment missed an event: the silence is noticed, and a replay of the last good event finishes the saga",
            _expected("completed", _GOOD, parked=Parking("next_event_overdue", PAID, "replay")),
            switches=(Switch("payment", "drop", "ProcessPayment", times=1),),
        ),
        Story(
            "payment away",
            "nobody is there to hear it: the silence is noticed; payment comes back, hears it, and the saga goes on",
            _expected("completed", _GOOD, parked=Parking("next_event_overdue", PAID, None)),
            away="payment",
        ),
    )


def choreography_request(story: Story, number: int) -> Request:
    """Write an order, as the shop publishes it; its steps are those of an order, by the events that tell of them."""
    same = orders.order_request(story, number)
    return replace(same, amounts={_EFFECT[step]: amount for step, amount in same.amounts.items()})


async def publish_orders(stage: Stage, _definition: str, wanted: Sequence[Mapping[str, Any]]) -> None:
    """Say on the shop's own topic that orders were made; whoever it concerns is listening."""
    topic = f"{stage.topic_prefix}{SHOP}.events"
    producer = AIOKafkaProducer(bootstrap_servers=stage.bootstrap_servers)
    await producer.start()
    try:
        for made in wanted:
            key = str(made["order_id"])
            headers = message_headers(CREATED, f"{key}:{CREATED}", SHOP, key, int(time.time() * 1000))
            await producer.send_and_wait(topic, msgspec.json.encode(made), key=key.encode(), headers=headers)
    finally:
        await producer.stop()


def read_observed(saga: Mapping[str, Any]) -> Seen:
    """Read what the API shows of an observed saga; what was refused and undone is told by the events that were seen."""
    seen = read_saga(saga)
    outcomes = dict(zip(STEPS, seen.outcomes, strict=True))
    told = {step for step, outcome in outcomes.items() if outcome == DONE}
    undone = tuple(step for event, step in _UNDOES.items() if event in told)
    refused = {step for event, step in _REFUSES.items() if event in told and outcomes[step] == SKIPPED}
    timeline = tuple(
        entry["step_name"] if entry["event"] == OBSERVED else entry["event"]
        for entry in saga["log"]
        if entry["data"].get("verdict") != DUPLICATE
    )
    return replace(
        seen,
        outcomes=tuple(REFUSED if step in refused else outcome for step, outcome in outcomes.items()),
        undos=tuple("compensated" if step in undone else "none" for step in STEPS),
        undone=undone,
        timeline=timeline,
    )


async def until_all_is_heard(stage: Stage) -> tuple[str, bool]:
    """Wait until participants and coordinator have read everything that was said."""
    return await wait_until_heard(order_choreography, stage)


def under_the_business_key(request: Request, _saga_id: str) -> str:
    """Participants that react to events know no saga; they record an order under its own name."""
    return request.key


choreography: Final = Family(
    name="choreography",
    thing="order",
    definition=order_choreography.name,
    key=order_choreography.correlation,
    steps=STEPS,
    columns={
        "inventory": RESERVED,
        "payment": PAID,
        "shipping": SHIPPED,
        "notification": FULFILLED,
    },
    commands={command: _EFFECT[step] for command, step in orders.order.commands.items()},
    lines={_EFFECT[step]: line for step, line in orders.order.lines.items()},
    participants=orders.order.participants,
    usual=8,
    stories=choreography_stories,
    request=choreography_request,
    start=publish_orders,
    read=read_observed,
    recorded_under=under_the_business_key,
    settle=until_all_is_heard,
    topics=tuple(f"{source}.events" for source in (SHOP, *orders.order.participants)),
    settings={"SAGA_CHOREOGRAPHIES": "deploy.demo.definitions:choreographies"},
)
