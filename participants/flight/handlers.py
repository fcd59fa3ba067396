"""Flight: sell seats of a flight, and take the ticket back.

    command      done                       refused, for good
    BookSeat     seats less on the flight   flight_unknown, flight_cancelled, currency_mismatch, sold_out
    CancelSeat   the same seats more        (its compensation) never

One ticket is for all seats of a booking; its price, in cents, is in the result. Flights are locked in the order of
their numbers.
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

flight: Final = Participant("flight", tables=Path(__file__).with_name("tables.sql"))
sql: Final = Statements(Path(__file__).with_name("queries"))


class Wish(msgspec.Struct):
    """What the airline reads of a trip; everything else in the payload is none of its business."""

    booking_id: str
    flight: str
    seats: Annotated[int, msgspec.Meta(ge=1, le=9)]
    currency: str


class Offer(msgspec.Struct):
    """What is left of a flight, and what a seat costs."""

    status: str
    free: int
    price_cents: int
    currency: str


@flight.locks
async def lock_flights(commands: Sequence[Command | Compensation], connection: Connection) -> None:
    """Lock the flights that a batch of bookings and cancellations is about."""
    await _offers([read_payload(command, Wish) for command in commands], connection)


@flight.handles_many("BookSeat")
async def book_seats(commands: Sequence[Command], connection: Connection) -> Sequence[Outcome]:
    """Book each trip's seats: one look at the flights, one decision in order of arrival, one write."""
    wishes = [read_payload(command, Wish) for command in commands]
    offers = await _offers(wishes, connection)
    outcomes: list[Outcome] = []
    tickets: list[tuple[object, ...]] = []
    for command, wish in zip(commands, wishes, strict=True):
        price = wish if isinstance(wish, Refused) else take(wish, offers)
        if isinstance(price, Refused) or isinstance(wish, Refused):
            outcomes.append(price if isinstance(price, Refused) else None)
            continue
        ticket_id = f"tkt_{uuid4().hex}"
        tickets.append(
            (ticket_id, command.command_id, command.saga_id, wish.booking_id, wish.flight, wish.seats, price)
        )
        outcomes.append({"ticket_id": ticket_id, "price_cents": price})
    if tickets:
        await connection.execute(sql("book"), *zip(*tickets, strict=True))
    return outcomes


def take(wish: Wish, offers: Mapping[str, Offer]) -> int | Refused:
    """Take the seats off the flight and give their price, or say why not and take none."""
    offer = offers.get(wish.flight)
    if offer is None:
        return Refused("flight_unknown", f"there is no flight {wish.flight}")
    if offer.status != "scheduled":
        return Refused("flight_cancelled", f"the flight {wish.flight} is {offer.status}")
    if offer.currency != wish.currency:
        return Refused("currency_mismatch", f"the flight {wish.flight} costs {offer.currency}, not {wish.currency}")
    if wish.seats > offer.free:
        return Refused("sold_out", f"{wish.seats} seats of {wish.flight} asked, {offer.free} free")
    offer.free -= wish.seats
    return wish.seats * offer.price_cents


@flight.compensates("CancelSeat")
async def cancel_seat(command: Compensation, connection: Connection) -> Outcome:
    """Cancel the ticket of the action, once."""
    ticket_id = (command.original_result or {}).get("ticket_id")
    await lock_flights([command], connection)
    booked = await connection.fetchval(
        sql("cancel"), command.compensates, ticket_id, command.saga_id, command.command_id
    )
    return Effect.UNDONE if booked else Effect.NOTHING_TO_UNDO


async def _offers(wishes: Sequence[Wish | Refused], connection: Connection) -> dict[str, Offer]:
    names = {wish.flight for wish in wishes if isinstance(wish, Wish)}
    rows = await connection.fetch(sql("lock_flights"), list(names))
    return {row["flight"]: Offer(*row[1:]) for row in rows}
