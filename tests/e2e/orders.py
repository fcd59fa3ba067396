"""Orders, and what becomes of them at the four sample participants."""

from __future__ import annotations

import itertools
import secrets
from typing import Any

from tests.checker.evidence import PlannedStep

STEPS = (
    PlannedStep("reserve_inventory", "inventory", "ReserveItems", "ReleaseReservation"),
    PlannedStep("process_payment", "payment", "ProcessPayment", "RefundPayment"),
    PlannedStep("create_shipment", "shipping", "CreateShipment", "CancelShipment"),
    PlannedStep("send_confirmation", "notification", "SendOrderConfirmation", "SendCancellationNotice"),
)
ACTIONS = [step.action for step in STEPS]
COMPENSATIONS = [step.compensation for step in STEPS]

# The data that makes a participant refuse, by the position of its step.
REFUSED: tuple[dict[str, Any], ...] = (
    {"items": [{"sku": "sku-sold-out", "quantity": 1}]},
    {"card": {"token": "tok_declined"}},
    {"address": {"country": "AQ", "city": "South Pole", "street": "Station 1"}},
    {"email": "bounced@example.com"},
)

# Of an order, what no log may have.
SECRETS = ("tok_visa", "tok_declined", "ann@example.com", "bounced@example.com", "Unter den Linden", "Station 1")

_run = secrets.token_hex(3)
_numbers = itertools.count(1)


def order(**changes: Any) -> dict[str, Any]:
    """Make an order that every participant takes; keywords replace its fields."""
    return {
        "order_id": f"order-{_run}-{next(_numbers)}",
        "customer_id": "customer-1",
        "email": "ann@example.com",
        "items": [{"sku": "sku-book", "quantity": 2}],
        "amount_cents": 4_200,
        "currency": "EUR",
        "card": {"token": "tok_visa"},
        "address": {"country": "DE", "city": "Berlin", "street": "Unter den Linden 1"},
        **changes,
    }


def undone(last: int, first: int = 0) -> list[str]:
    """Name the compensations of the steps from position `last` down to `first`."""
    return COMPENSATIONS[first : last + 1][::-1]
