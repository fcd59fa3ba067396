"""Shipping: create a shipment to a country that is served, and cancel it.

command          done                   refused, for good
CreateShipment   a shipment             country_unknown, country_not_served
CancelShipment   it is cancelled        (its compensation) never
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final
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

shipping: Final = Participant("shipping", tables=Path(__file__).with_name("tables.sql"))
sql: Final = Statements(Path(__file__).with_name("queries"))


class Address(msgspec.Struct):
    """Where the parcel goes."""

    country: str
    city: str
    street: str


class Order(msgspec.Struct):
    """What shipping reads of an order; everything else in the payload is none of its business."""

    order_id: str
    address: Address


@shipping.handles_many("CreateShipment")
async def create_shipments(commands: Sequence[Command], connection: Connection) -> Sequence[Outcome]:
    """Create each order's shipment; one statement looks at the countries and writes."""
    outcomes: list[Outcome] = [None] * len(commands)
    places: list[int] = []
    shipments: list[tuple[str, ...]] = []
    for place, command in enumerate(commands):
        order = read_payload(command, Order)
        if isinstance(order, Refused):
            outcomes[place] = order
            continue
        places.append(place)
        owner = (command.command_id, command.saga_id, order.order_id)
        shipments.append((f"shp_{uuid4().hex}", *owner, *msgspec.structs.astuple(order.address)))
    if shipments:
        rows = await connection.fetch(sql("create"), *zip(*shipments, strict=True))
        for place, shipment, row in zip(places, shipments, rows, strict=True):
            outcomes[place] = answer(shipment[0], shipment[4], row["served"])
    return outcomes


def answer(shipment_id: str, country: str, served: bool | None) -> Outcome:
    """Say what became of a shipment; `served` is None for a country that nobody has heard of."""
    if served:
        return {"shipment_id": shipment_id}
    if served is None:
        return Refused("country_unknown", f"there is no country {country}")
    return Refused("country_not_served", f"nothing is shipped to {country}")


@shipping.compensates("CancelShipment")
async def cancel_shipment(command: Compensation, connection: Connection) -> Outcome:
    """Cancel the shipment of the action, once."""
    shipment_id = (command.original_result or {}).get("shipment_id")
    shipped = await connection.fetchval(
        sql("cancel"), command.compensates, shipment_id, command.saga_id, command.command_id
    )
    return Effect.UNDONE if shipped else Effect.NOTHING_TO_UNDO


# Without a coordinator: the same work, on hearing that something happened.
shipping.reacts(
    "PaymentProcessed", of="payment", action="CreateShipment", emits="ShipmentCreated", refused="ShipmentFailed"
)
