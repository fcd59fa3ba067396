"""OrderFulfillment: reserve the goods, take the money, hand over the parcel, tell the customer.

    reserve_inventory -> process_payment -> create_shipment -> send_confirmation
    ReserveItems         ProcessPayment     CreateShipment     SendOrderConfirmation
    ReleaseReservation   RefundPayment      CancelShipment     SendCancellationNotice

The order that starts the saga is the payload of all four actions. Inputs are strict, because a wrong one is
best refused before anything is done; results only name what later readers rely on.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from coordinator.saga.definition import Retry, SagaDefinition, Step, minutes

Name = Annotated[str, Field(min_length=1, max_length=128)]
Line = Annotated[str, Field(min_length=1, max_length=256)]
Cents = Annotated[int, Field(ge=0, le=10**12)]

ITEMS_MAX = 500  # an order of this many lines is still far below the 256 KiB of a message


class _Input(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Result(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Item(_Input):
    """One line of an order."""

    sku: Name
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


class Card(_Input):
    """A payment card, as the token that the payment service knows it by."""

    token: Name


class Address(_Input):
    """Where the parcel goes; `country` is an ISO 3166 code of two letters."""

    country: Annotated[str, Field(pattern="^[A-Z]{2}$", examples=["NL"])]
    city: Line
    street: Line


class OrderInput(_Input):
    """An order as the shop sends it; `order_id` names it for ever, `currency` is an ISO 4217 code."""

    order_id: Name
    customer_id: Name
    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254, examples=["jo@example.com"])]
    items: Annotated[list[Item], Field(min_length=1, max_length=ITEMS_MAX)]
    amount_cents: Cents
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["EUR"])]
    card: Card
    address: Address


class ReserveItemsResult(_Result):
    """What inventory answers."""

    reservation_id: Name


class ProcessPaymentResult(_Result):
    """What payment answers."""

    payment_id: Name
    amount_cents: Cents


class CreateShipmentResult(_Result):
    """What shipping answers."""

    shipment_id: Name


class SendOrderConfirmationResult(_Result):
    """What notification answers."""

    notice_id: Name


order_fulfillment = SagaDefinition(
    "OrderFulfillment",
    version=1,
    input=OrderInput,
    business_key="order_id",
    sensitive=("card.token", "email", "address"),
    steps=(
        Step(
            "reserve_inventory",
            participant="inventory",
            action="ReserveItems",
            compensation="ReleaseReservation",
            timeout=minutes(2),
            retry=Retry(attempts=3),
            result=ReserveItemsResult,
        ),
        Step(
            "process_payment",
            participant="payment",
            action="ProcessPayment",
            compensation="RefundPayment",
            timeout=minutes(1),
            result=ProcessPaymentResult,
        ),
        Step(
            "create_shipment",
            participant="shipping",
            action="CreateShipment",
            compensation="CancelShipment",
            timeout=minutes(15),
            result=CreateShipmentResult,
        ),
        Step(
            "send_confirmation",
            participant="notification",
            action="SendOrderConfirmation",
            compensation="SendCancellationNotice",
            timeout=minutes(2),
            result=SendOrderConfirmationResult,
        ),
    ),
)
