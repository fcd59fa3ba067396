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
from deploy.demo.seen import Seen, read_saga
from deploy.demo.starting import Stage
from deploy.demo.stories import order as orders
from deploy.demo.stories.model import DONE, SKIPPED, Expected, Family, Parking, Request, Story, Switch

SHOP: Final = "shop"
STEPS: Final = tuple(event.type for event in order_choreography.events)
CREATED, RESERVED, PAID, SHIPPED, FULFILLED = (
    *("OrderCreated", "InventoryReserved", "PaymentProcessed", "ShipmentCreated", "OrderFulfilled"),
)
REJECTED, NOT_PAID, NOT_SHIPPED = "InventoryRejected", "PaymentFailed", "ShipmentFailed"
REFUNDED, RELEASED, FAILED = "PaymentRefunded", "InventoryReleased", "OrderFailed"

_EFFECT: Final = dict(zip(orders.STEPS, (RESERVED, PAID, SHIPPED, FULFILLED), strict=True))
_UNDOES: Final = {REFUNDED: PAID, RELEASED: RESERVED}  # in the order of the undoing


def _expected(
    status: str, seen: Sequence[str], undone: tuple[str, ...] = (), parked: Parking | None = None
) -> Expected:
    outcomes = {step: DONE if step in seen else SKIPPED for step in STEPS}
    return Expected(status, outcomes, undone, parked=parked)


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
            _expected("failed", (CREATED, RESERVED, PAID, NOT_SHIPPED, REFUNDED, RELEASED, FAILED), (PAID, RESERVED)),
            differs={"address": orders.ADDRESS_NOT_SERVED},
        ),
        Story(
            "event missed",
            "payment missed an event: the silence is noticed, and a replay of the last good event finishes the saga",
            _expected("completed", _GOOD, parked=Parking("next_event_overdue", PAID, "replay")),
            switches=(Switch("payment", "drop", "ProcessPayment", times=1),),
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
    """Read what the API shows of an observed saga; what was undone is told by the events that were seen."""
    seen = read_saga(saga)
    told = {step for step, outcome in zip(STEPS, seen.outcomes, strict=True) if outcome == DONE}
    return replace(seen, undone=tuple(step for event, step in _UNDOES.items() if event in told))


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
        "refund": REFUNDED,
        "release": RELEASED,
        "end": FAILED,
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
    topics=tuple(f"{source}.events" for source in (SHOP, *orders.order.participants)),
    settings={"SAGA_CHOREOGRAPHIES": "deploy.demo.definitions:choreographies"},
)
