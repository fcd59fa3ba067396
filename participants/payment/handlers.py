"""Payment: charge a card within its limit, and give the money back.

command          done                                refused, for good
ProcessPayment   cents spent of the card's limit     card_unknown, card_declined, card_limit
RefundPayment    the same cents given back           (its compensation) never
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final
from uuid import uuid4

import msgspec

from participants.kit import (
    Command,
    Compensation,
    Connection,
    Effect,
    Outcome,
    Participant,
    Refused,
    Statements,
    read_payload,
)

payment: Final = Participant("payment", tables=Path(__file__).with_name("tables.sql"))
sql: Final = Statements(Path(__file__).with_name("queries"))


class PaymentCard(msgspec.Struct):
    """How the customer pays."""

    token: str


class Order(msgspec.Struct):
    """What payment reads of an order; everything else in the payload is none of its business."""

    order_id: str
    amount_cents: Annotated[int, msgspec.Meta(ge=0)]
    currency: str
    card: PaymentCard


class Card(msgspec.Struct):
    """What a card's row says about paying."""

    status: str
    left_cents: int


@payment.handles_many("ProcessPayment")
async def process_payments(commands: Sequence[Command], connection: Connection) -> Sequence[Outcome]:
    """Charge each order's card: one look at the cards, one decision in order of arrival, one write."""
    orders = [read_payload(command, Order) for command in commands]
    tokens = {order.card.token for order in orders if isinstance(order, Order)}
    rows = await connection.fetch(sql("lock_cards"), list(tokens))
    cards = {row["token"]: Card(row["status"], row["left_cents"]) for row in rows}
    outcomes: list[Outcome] = []
    charges: list[tuple[object, ...]] = []
    for command, order in zip(commands, orders, strict=True):
        refusal = order if isinstance(order, Refused) else authorise(order, cards)
        if isinstance(refusal, Refused) or isinstance(order, Refused):
            outcomes.append(refusal)
            continue
        payment_id = f"pay_{uuid4().hex}"
        owner = (command.command_id, command.saga_id, order.order_id)
        charges.append((payment_id, *owner, order.card.token, order.amount_cents, order.currency))
        outcomes.append({"payment_id": payment_id, "amount_cents": order.amount_cents})
    if charges:
        await connection.execute(sql("charge"), *zip(*charges, strict=True))
    return outcomes


def authorise(order: Order, cards: Mapping[str, Card]) -> Refused | None:
    """Say why the order's card cannot pay; when it can, take the amount off what is left on it."""
    card = cards.get(order.card.token)
    if card is None:
        return Refused("card_unknown", f"there is no card {order.card.token}")
    if card.status != "active":
        return Refused("card_declined", f"the card {order.card.token} is {card.status}")
    if order.amount_cents > card.left_cents:
        return Refused("card_limit", f"{order.amount_cents} cents asked, {card.left_cents} cents left on the card")
    card.left_cents -= order.amount_cents
    return None


@payment.compensates("RefundPayment")
async def refund_payment(command: Compensation, connection: Connection) -> Outcome:
    """Refund the payment of the action, once."""
    payment_id = (command.original_result or {}).get("payment_id")
    charged = await connection.fetchval(
        sql("refund"), command.compensates, payment_id, command.saga_id, command.command_id
    )
    return Effect.UNDONE if charged else Effect.NOTHING_TO_UNDO


# Without a coordinator: the same work, on hearing that something happened.
payment.reacts(
    "InventoryReserved", of="inventory", action="ProcessPayment", emits="PaymentProcessed", refused="PaymentFailed"
)
payment.walks_back(
    "ShipmentFailed", of="shipping", action="ProcessPayment", compensation="RefundPayment", emits="PaymentRefunded"
)
