"""Notification: confirm an order to the customer, and take the confirmation back."""

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

notification: Final = Participant("notification", tables=Path(__file__).with_name("tables.sql"))
sql: Final = Statements(Path(__file__).with_name("queries"))


class Order(msgspec.Struct):
    """What notification reads of an order; everything else in the payload is none of its business."""

    order_id: str
    email: str


@notification.handles_many("SendOrderConfirmation")
async def send_confirmations(commands: Sequence[Command], connection: Connection) -> Sequence[Outcome]:
    """Confirm each order; one statement looks at the blocked recipients and writes."""
    outcomes: list[Outcome] = [None] * len(commands)
    places: list[int] = []
    notices: list[tuple[str, ...]] = []
    for place, command in enumerate(commands):
        order = read_payload(command, Order)
        if isinstance(order, Refused):
            outcomes[place] = order
            continue
        places.append(place)
        notices.append((f"ntc_{uuid4().hex}", command.command_id, command.saga_id, order.order_id, order.email))
    if notices:
        rows = await connection.fetch(sql("send"), *zip(*notices, strict=True))
        for place, notice, row in zip(places, notices, rows, strict=True):
            outcomes[place] = answer(notice[0], notice[4], row["reason"])
    return outcomes


def answer(notice_id: str, email: str, reason: str | None) -> Outcome:
    """Say what became of a notice; `reason` is why its recipient is blocked."""
    if reason is None:
        return {"notice_id": notice_id}
    return Refused(f"recipient_{reason}", f"mail to {email} is blocked: {reason}")


@notification.compensates("SendCancellationNotice")
async def send_cancellation(command: Compensation, connection: Connection) -> Outcome:
    """Tell the customer that the order is off, once."""
    notice_id = (command.original_result or {}).get("notice_id")
    confirmed = await connection.fetchval(
        *(sql("cancel"), command.compensates, notice_id, command.saga_id, command.command_id, f"ntc_{uuid4().hex}")
    )
    return Effect.UNDONE if confirmed else Effect.NOTHING_TO_UNDO


# Without a coordinator: the same work, on hearing that something happened. An order whose parcel is on its way is
# fulfilled, whether its customer can be told or not.
notification.reacts("ShipmentCreated", of="shipping", action="SendOrderConfirmation", emits="OrderFulfilled")
for event in ("InventoryReleased", "InventoryRejected"):
    notification.walks_back(
        event,
        of="inventory",
        action="SendOrderConfirmation",
        compensation="SendCancellationNotice",
        emits="OrderFailed",
    )
