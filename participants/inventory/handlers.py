"""Inventory: reserve an order's items, all or none, and release them.

command              done                                  refused, for good
ReserveItems         items less on the shelf               sku_unknown, out_of_stock
ReleaseReservation   the same items more                   (its compensation) never
"""

from __future__ import annotations

from collections import Counter
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

inventory: Final = Participant("inventory", tables=Path(__file__).with_name("tables.sql"))
sql: Final = Statements(Path(__file__).with_name("queries"))


class Item(msgspec.Struct):
    """One line of an order."""

    sku: str
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Order(msgspec.Struct):
    """What inventory reads of an order; everything else in the payload is none of its business."""

    order_id: str
    items: Annotated[list[Item], msgspec.Meta(min_length=1, max_length=1_000)]


class Line(msgspec.Struct):
    """How much of one sku a reservation holds."""

    sku: str
    quantity: int


@inventory.handles_many("ReserveItems")
async def reserve_items(commands: Sequence[Command], connection: Connection) -> Sequence[Outcome]:
    """Reserve each order's items: one look at the stock, one decision in order of arrival, one write."""
    orders = [read_payload(command, Order) for command in commands]
    skus = {item.sku for order in orders if isinstance(order, Order) for item in order.items}
    free = {row["sku"]: row["free"] for row in await connection.fetch(sql("lock_stock"), list(skus))}
    outcomes: list[Outcome] = []
    reservations: list[tuple[object, ...]] = []
    taken: Counter[str] = Counter()
    for command, order in zip(commands, orders, strict=True):
        lines = order if isinstance(order, Refused) else take(order, free)
        if isinstance(lines, Refused) or isinstance(order, Refused):
            outcomes.append(lines if isinstance(lines, Refused) else None)
            continue
        taken.update({line.sku: line.quantity for line in lines})
        reservation_id = f"rsv_{uuid4().hex}"
        owner = (command.command_id, command.saga_id, order.order_id)
        reservations.append((reservation_id, *owner, msgspec.json.encode(lines).decode()))
        outcomes.append({"reservation_id": reservation_id})
    if reservations:
        columns = zip(*reservations, strict=True)
        await connection.execute(sql("reserve"), *columns, list(taken), list(taken.values()))
    return outcomes


def take(order: Order, free: dict[str, int]) -> list[Line] | Refused:
    """Take an order's items off what is free, or say why not and take none; an order may name a sku twice."""
    wanted: Counter[str] = Counter()
    for item in order.items:
        wanted[item.sku] += item.quantity
    if (refusal := _shortage(wanted, free)) is not None:
        return refusal
    for sku, quantity in wanted.items():
        free[sku] -= quantity
    return [Line(sku, quantity) for sku, quantity in wanted.items()]


def _shortage(wanted: Mapping[str, int], free: Mapping[str, int]) -> Refused | None:
    for sku, quantity in wanted.items():
        if sku not in free:
            return Refused("sku_unknown", f"there is no {sku}")
        if quantity > free[sku]:
            return Refused("out_of_stock", f"{quantity} of {sku} asked, {free[sku]} free")
    return None


@inventory.compensates("ReleaseReservation")
async def release_reservation(command: Compensation, connection: Connection) -> Outcome:
    """Release the reservation of the action, once."""
    reservation_id = (command.original_result or {}).get("reservation_id")
    reserved = await connection.fetchval(
        sql("release"), command.compensates, reservation_id, command.saga_id, command.command_id
    )
    return Effect.UNDONE if reserved else Effect.NOTHING_TO_UNDO


# Without a coordinator: the same work, on hearing that something happened.
inventory.reacts(
    "OrderCreated", of="shop", action="ReserveItems", emits="InventoryReserved", refused="InventoryRejected"
)
for event in ("PaymentFailed", "PaymentRefunded"):
    inventory.walks_back(
        event, of="payment", action="ReserveItems", compensation="ReleaseReservation", emits="InventoryReleased"
    )
