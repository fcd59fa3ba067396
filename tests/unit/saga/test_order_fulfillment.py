"""The shipped OrderFulfillment: its plan, its strict input and what its participants answer."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from pydantic import ValidationError

from sagas import definitions
from sagas.order_fulfillment import OrderInput, order_fulfillment

ORDER: dict[str, Any] = {
    "order_id": "o-1",
    "customer_id": "c-1",
    "email": "ada@example.org",
    "items": [{"sku": "book", "quantity": 2}],
    "amount_cents": 4_200,
    "currency": "EUR",
    "card": {"token": "tok-1"},
    "address": {"country": "DE", "city": "Berlin", "street": "Unter den Linden 1"},
}


def test_the_plan_is_the_one_of_the_manual() -> None:
    """Four steps, each with its participant, its two commands and its timeout in minutes."""
    assert order_fulfillment in definitions
    assert [
        (step.name, step.participant, step.action, step.compensation, step.timeout_ms // 60_000)
        for step in order_fulfillment.steps
    ] == [
        ("reserve_inventory", "inventory", "ReserveItems", "ReleaseReservation", 2),
        ("process_payment", "payment", "ProcessPayment", "RefundPayment", 1),
        ("create_shipment", "shipping", "CreateShipment", "CancelShipment", 15),
        ("send_confirmation", "notification", "SendOrderConfirmation", "SendCancellationNotice", 2),
    ]


def test_an_order_is_read_and_written_unchanged() -> None:
    """The input model neither adds, drops nor converts a field."""
    assert OrderInput.model_validate(ORDER).model_dump() == ORDER


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("order_id", 1),
        ("order_id", ""),
        ("amount_cents", "4200"),
        ("amount_cents", 42.0),
        ("amount_cents", -1),
        ("items", []),
        ("items.0.quantity", 0),
        ("items.0.quantity", True),
        ("items.0.colour", "red"),
        ("currency", "euro"),
        ("email", "nobody"),
        ("card.number", "4111"),
        ("address.country", "Germany"),
        ("coupon", "SAVE10"),
    ],
)
def test_a_wrong_order_is_refused_before_anything_is_done(path: str, value: object) -> None:
    """No coercion, no unknown fields, limits on everything; the error points at the field."""
    order: Any = deepcopy(ORDER)
    *parents, field = path.split(".")
    place = order
    for parent in parents:
        place = place[int(parent) if parent.isdecimal() else parent]
    place[field] = value
    with pytest.raises(ValidationError) as refusal:
        OrderInput.model_validate(order)
    assert ".".join(map(str, refusal.value.errors()[0]["loc"])) == path


def test_every_step_says_what_its_result_must_hold() -> None:
    """Results may carry more than is asked for, but not less, and not of another type."""
    for step in order_fulfillment.steps:
        assert step.result is not None
        full = {name: 1 if field.annotation is int else "x" for name, field in step.result.model_fields.items()}
        step.result.model_validate(full | {"more": "than asked for"})
        for name, value in full.items():
            with pytest.raises(ValidationError):
                step.result.model_validate({other: full[other] for other in full if other != name})
            with pytest.raises(ValidationError):
                step.result.model_validate(full | {name: [value]})
