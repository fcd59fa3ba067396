"""Orders that go well, orders that are refused, and faults that the coordinator has to survive.

Refusals come from the orders and the participants' own data; only slow, silent or failing participants need a fault
switch.
"""

from __future__ import annotations

from typing import Any, Final

from deploy.demo.definitions import order_fulfillment
from deploy.demo.stories import tables
from deploy.demo.stories.model import (
    DONE,
    REFUSED,
    UNKNOWN,
    Expected,
    Family,
    Line,
    Parking,
    Request,
    Story,
    Stuck,
    Switch,
    commands_of,
)

STEPS: Final = tuple(step.name for step in order_fulfillment.steps)
RESERVE, PAY, SHIP, CONFIRM = STEPS
COPIES: Final = 3  # of each reply in the story of the duplicates
ADDRESS_NOT_SERVED: Final = {"country": "AQ", "city": "McMurdo Station", "street": "Hut Point 1"}

_COMPLETED: Final = Expected("completed", dict.fromkeys(STEPS, DONE))
_REFUSED_BY_SHIPPING: Final = {RESERVE: DONE, PAY: DONE, SHIP: REFUSED}


def order_request(story: Story, number: int) -> Request:
    """Write an order; orders differ in what is bought, so that the books have something to tell apart."""
    quantity = number % 3 + 1
    good: dict[str, Any] = {
        "order_id": f"{story.word}-{number:03d}",
        "customer_id": f"customer-{number}",
        "email": f"customer-{number}@example.org",
        "items": [{"sku": "sku-book", "quantity": quantity}, {"sku": "sku-lamp", "quantity": 1}],
        "amount_cents": 1990 * quantity + 4900,
        "currency": "EUR",
        "card": {"token": "tok_visa"},
        "address": {"country": "DE", "city": "Berlin", "street": "Invalidenstrasse 117"},
    }
    wanted = good | dict(story.differs)
    units = sum(item["quantity"] for item in wanted["items"])
    return Request(
        story, wanted["order_id"], wanted, {RESERVE: units, PAY: wanted["amount_cents"], SHIP: 1, CONFIRM: 1}
    )


def order_stories(good: int) -> tuple[Story, ...]:
    """List the stories, the plain ones first."""
    return (
        Story("good order", "nothing goes wrong", _COMPLETED, requests=good),
        Story(
            "out of stock",
            "refused at step 1: nothing was done, nothing is undone",
            Expected("failed", {RESERVE: REFUSED}),
            differs={"items": [{"sku": "sku-book", "quantity": 1}, {"sku": "sku-sold-out", "quantity": 1}]},
        ),
        Story(
            "card declined",
            "refused at step 2: the stock is released",
            Expected("failed", {RESERVE: DONE, PAY: REFUSED}, (RESERVE,)),
            differs={"card": {"token": "tok_declined"}},
        ),
        Story(
            "address not served",
            "refused at step 3: the money goes back, then the stock",
            Expected("failed", _REFUSED_BY_SHIPPING, (PAY, RESERVE)),
            differs={"address": ADDRESS_NOT_SERVED},
        ),
        Story(
            "e-mail blocked",
            "refused at step 4: shipment, payment and stock are undone, one after the other",
            Expected("failed", {RESERVE: DONE, PAY: DONE, SHIP: DONE, CONFIRM: REFUSED}, (SHIP, PAY, RESERVE)),
            differs={"email": "bounced@example.com"},
        ),
        Story(
            "silent shipping",
            "shipping ships but never says so: the step is unknown, and undone first",
            Expected("failed", {RESERVE: DONE, PAY: DONE, SHIP: UNKNOWN}, (SHIP, PAY, RESERVE)),
            switches=(Switch("shipping", "silent", "CreateShipment"),),
        ),
        Story(
            "replies in triplicate",
            "every reply arrives three times, and every effect happens once",
            _COMPLETED,
            switches=tuple(
                Switch(participant, "duplicate", copies=COPIES) for participant in order_fulfillment.participants
            ),
        ),
        Story(
            "refund stumbles",
            "the refund fails twice and then succeeds; nothing else is undone before it",
            Expected("failed", _REFUSED_BY_SHIPPING, (PAY, RESERVE), undo_attempts={PAY: 3}),
            differs={"address": ADDRESS_NOT_SERVED},
            switches=(Switch("payment", "fail_undo", "RefundPayment", times=2),),
        ),
        Story(
            "refund stuck",
            "every refund fails: the saga is parked with an incident, then repaired and retried",
            Expected(
                "failed",
                _REFUSED_BY_SHIPPING,
                (PAY, RESERVE),
                undo_attempts={PAY: 5},
                letters=(PAY,),
                parked=Parking("compensation_dead_lettered", PAY),
            ),
            differs={"address": ADDRESS_NOT_SERVED},
            switches=(Switch("payment", "fail_undo", "RefundPayment"),),
        ),
    )


order: Final = Family(
    name="order",
    thing="order",
    definition=order_fulfillment.name,
    key=order_fulfillment.business_key,
    steps=STEPS,
    columns=dict(zip(("inventory", "payment", "shipping", "notification"), STEPS, strict=True)),
    commands=commands_of(order_fulfillment),
    lines={
        RESERVE: Line("stock", "reserved", "released", tables.RESERVATIONS),
        PAY: Line("card", "charged", "refunded", tables.PAYMENTS, decimals=True, unit="EUR"),
        SHIP: Line("parcels", "shipped", "cancelled", tables.SHIPMENTS),
        CONFIRM: Line("notices", "confirmed", "withdrawn", tables.NOTICES),
    },
    participants=order_fulfillment.participants,
    usual=40,
    stories=order_stories,
    request=order_request,
    stuck=Stuck(
        "an order that cannot be shipped, while refunds fail: after some seconds it is suspended",
        Switch("payment", "fail_undo", "RefundPayment"),
        "refunds work again",
        {"address": ADDRESS_NOT_SERVED},
    ),
)
