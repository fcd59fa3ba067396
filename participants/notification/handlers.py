"""Notification: tell customers about their orders, transfers and trips.

    command                  done                             refused, for good
    SendOrderConfirmation    a confirmation to the customer   recipient_unsubscribed, recipient_bounced
    SendCancellationNotice   a cancellation of the same       (its compensation) never
    SendTransferNotice       one mail to both parties         recipient_unsubscribed; recipient_bounced may pass
    SendItinerary            one mail to the traveller        recipient_unsubscribed; recipient_bounced may pass

Transfer notices and itineraries have no compensation: their sagas only go forward by then. So a mailbox that bounces is
a reason to ask again, not a refusal for good.
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
    Retry,
    Statements,
    read_payload,
)

notification: Final = Participant("notification", tables=Path(__file__).with_name("tables.sql"))
sql: Final = Statements(Path(__file__).with_name("queries"))


class Order(msgspec.Struct):
    """What notification reads of an order; everything else in the payload is none of its business."""

    order_id: str
    email: str


class Transfer(msgspec.Struct):
    """What notification reads of a transfer."""

    transfer_id: str
    source_email: str
    destination_email: str


class Trip(msgspec.Struct):
    """What notification reads of a trip."""

    booking_id: str
    traveller_email: str


class Mail(msgspec.Struct):
    """One mail to be written; `about` is the key of what it is about."""

    kind: str
    about: str
    recipients: list[str]


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


@notification.handles_many("SendTransferNotice")
async def send_transfer_notices(commands: Sequence[Command], connection: Connection) -> Sequence[Outcome]:
    """Tell both parties of each transfer that the money has moved."""
    transfers = [read_payload(command, Transfer) for command in commands]
    mails = [
        each
        if isinstance(each, Refused)
        else Mail("transfer_notice", each.transfer_id, [each.source_email, each.destination_email])
        for each in transfers
    ]
    return await _send(commands, mails, connection)


@notification.handles_many("SendItinerary")
async def send_itineraries(commands: Sequence[Command], connection: Connection) -> Sequence[Outcome]:
    """Send each traveller the trip that is booked and paid."""
    trips = [read_payload(command, Trip) for command in commands]
    mails = [
        each if isinstance(each, Refused) else Mail("itinerary", each.booking_id, [each.traveller_email])
        for each in trips
    ]
    return await _send(commands, mails, connection)


async def _send(
    commands: Sequence[Command], mails: Sequence[Mail | Refused], connection: Connection
) -> Sequence[Outcome]:
    """Write the mails; one statement looks at the blocked recipients and writes."""
    outcomes: list[Outcome] = [mail if isinstance(mail, Refused) else None for mail in mails]
    places = [place for place, mail in enumerate(mails) if isinstance(mail, Mail)]
    rows: list[tuple[str, ...]] = []
    for command, mail in zip(commands, mails, strict=True):
        if isinstance(mail, Mail):
            owner = (command.command_id, command.saga_id, mail.about)
            rows.append((f"mail_{uuid4().hex}", mail.kind, *owner, msgspec.json.encode(mail.recipients).decode()))
    if rows:
        reasons = await connection.fetch(sql("mail"), *zip(*rows, strict=True))
        for place, row, judged in zip(places, rows, reasons, strict=True):
            outcomes[place] = mail_answer(row[0], judged["reason"])
    return outcomes


def mail_answer(mail_id: str, reason: str | None) -> Outcome:
    """Say what became of a mail; `reason` is why one of its recipients is blocked."""
    if reason is None:
        return {"mail_id": mail_id}
    why = f"mail to a recipient is blocked: {reason}"
    return Retry("recipient_bounced", why) if reason == "bounced" else Refused("recipient_unsubscribed", why)


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
