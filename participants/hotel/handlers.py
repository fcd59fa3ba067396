"""Hotel: book a room for some nights in a row, all or none, and cancel the booking.

    command      done                                 refused, for good
    BookRoom     a room less in each of the nights    room_unknown, currency_mismatch, sold_out
    CancelRoom   the same room more                   (its compensation) never

The price of the whole stay, in cents, is in the result. Nights are locked in the order of hotel, room and date.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Final, TypeAlias
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

hotel: Final = Participant("hotel", tables=Path(__file__).with_name("tables.sql"))
sql: Final = Statements(Path(__file__).with_name("queries"))

Night: TypeAlias = tuple[str, str, date]


class Stay(msgspec.Struct):
    """What the hotel reads of a trip; everything else in the payload is none of its business."""

    booking_id: str
    hotel: str
    room: str
    check_in: date
    nights: Annotated[int, msgspec.Meta(ge=1, le=30)]
    currency: str

    def each_night(self) -> list[Night]:
        """List the nights, each with its hotel and room; none where the calendar ends."""
        if self.check_in > date.max - timedelta(days=self.nights):
            return []
        return [(self.hotel, self.room, self.check_in + timedelta(days=day)) for day in range(self.nights)]


class Offer(msgspec.Struct):
    """What is left of one room in one night, and what it costs."""

    free: int
    price_cents: int
    currency: str


@hotel.locks
async def lock_nights(commands: Sequence[Command | Compensation], connection: Connection) -> None:
    """Lock the nights that a batch of bookings and cancellations is about."""
    await _offers([read_payload(command, Stay) for command in commands], connection)


@hotel.handles_many("BookRoom")
async def book_rooms(commands: Sequence[Command], connection: Connection) -> Sequence[Outcome]:
    """Book each trip's room: one look at the nights, one decision in order of arrival, one write."""
    stays = [read_payload(command, Stay) for command in commands]
    offers = await _offers(stays, connection)
    outcomes: list[Outcome] = []
    bookings: list[tuple[object, ...]] = []
    taken: Counter[Night] = Counter()
    for command, stay in zip(commands, stays, strict=True):
        price = stay if isinstance(stay, Refused) else take(stay, offers)
        if isinstance(price, Refused) or isinstance(stay, Refused):
            outcomes.append(price if isinstance(price, Refused) else None)
            continue
        taken.update(stay.each_night())
        room_booking_id = f"room_{uuid4().hex}"
        what = (stay.booking_id, stay.hotel, stay.room, stay.check_in, stay.nights, price)
        bookings.append((room_booking_id, command.command_id, command.saga_id, *what))
        outcomes.append({"room_booking_id": room_booking_id, "price_cents": price})
    if bookings:
        columns = (*zip(*bookings, strict=True), *zip(*taken, strict=True))
        await connection.execute(sql("book"), *columns, list(taken.values()))
    return outcomes


def take(stay: Stay, offers: Mapping[Night, Offer]) -> int | Refused:
    """Take a room off each of the nights and give the price, or say why not and take none."""
    nights = [(night, offers.get(night)) for night in stay.each_night()]
    wanted = [offer for _, offer in nights if offer is not None]
    if not wanted or len(wanted) < len(nights):
        return Refused("room_unknown", f"{stay.hotel} has no room {stay.room} to book on {stay.check_in}")
    if wanted[0].currency != stay.currency:
        return Refused("currency_mismatch", f"{stay.hotel} charges {wanted[0].currency}, not {stay.currency}")
    for (_, _, night), offer in nights:
        if offer is not None and offer.free < 1:
            return Refused("sold_out", f"no {stay.room} of {stay.hotel} is free on {night}")
    for offer in wanted:
        offer.free -= 1
    return sum(offer.price_cents for offer in wanted)


@hotel.compensates("CancelRoom")
async def cancel_room(command: Compensation, connection: Connection) -> Outcome:
    """Cancel the booking of the action, once."""
    room_booking_id = (command.original_result or {}).get("room_booking_id")
    await lock_nights([command], connection)
    booked = await connection.fetchval(
        sql("cancel"), command.compensates, room_booking_id, command.saga_id, command.command_id
    )
    return Effect.UNDONE if booked else Effect.NOTHING_TO_UNDO


async def _offers(stays: Sequence[Stay | Refused], connection: Connection) -> dict[Night, Offer]:
    wanted = {night for stay in stays if isinstance(stay, Stay) for night in stay.each_night()}
    if not wanted:
        return {}
    columns = [list(column) for column in zip(*wanted, strict=True)]
    await connection.execute(sql("open_nights"), *columns)
    rows = await connection.fetch(sql("lock_nights"), *columns)
    return {(row["hotel"], row["room"], row["night"]): Offer(*row[3:]) for row in rows}
