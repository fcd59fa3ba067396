"""Car: rent a car of a class for some days in a row, all or none, and cancel the rental.

    command        done                              refused, for good
    RentCar        a car less on each of the days    car_unknown, currency_mismatch, sold_out
    CancelRental   the same car more                 (its compensation) never

The price of the whole rental, in cents, is in the result. Days are locked in the order of station, class and date.
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

car: Final = Participant("car", tables=Path(__file__).with_name("tables.sql"))
sql: Final = Statements(Path(__file__).with_name("queries"))

Day: TypeAlias = tuple[str, str, date]


class Drive(msgspec.Struct):
    """What the car rental reads of a trip; everything else in the payload is none of its business."""

    booking_id: str
    station: str
    car_class: str
    pick_up: date
    days: Annotated[int, msgspec.Meta(ge=1, le=30)]
    currency: str

    def each_day(self) -> list[Day]:
        """List the days, each with its station and class; none where the calendar ends."""
        if self.pick_up > date.max - timedelta(days=self.days):
            return []
        return [(self.station, self.car_class, self.pick_up + timedelta(days=day)) for day in range(self.days)]


class Offer(msgspec.Struct):
    """What is left of one class on one day, and what it costs."""

    free: int
    price_cents: int
    currency: str


@car.locks
async def lock_days(commands: Sequence[Command | Compensation], connection: Connection) -> None:
    """Lock the days that a batch of rentals and cancellations is about."""
    await _offers([read_payload(command, Drive) for command in commands], connection)


@car.handles_many("RentCar")
async def rent_cars(commands: Sequence[Command], connection: Connection) -> Sequence[Outcome]:
    """Rent each trip's car: one look at the days, one decision in order of arrival, one write."""
    drives = [read_payload(command, Drive) for command in commands]
    offers = await _offers(drives, connection)
    outcomes: list[Outcome] = []
    rentals: list[tuple[object, ...]] = []
    taken: Counter[Day] = Counter()
    for command, drive in zip(commands, drives, strict=True):
        price = drive if isinstance(drive, Refused) else take(drive, offers)
        if isinstance(price, Refused) or isinstance(drive, Refused):
            outcomes.append(price if isinstance(price, Refused) else None)
            continue
        taken.update(drive.each_day())
        rental_id = f"car_{uuid4().hex}"
        what = (drive.booking_id, drive.station, drive.car_class, drive.pick_up, drive.days, price)
        rentals.append((rental_id, command.command_id, command.saga_id, *what))
        outcomes.append({"rental_id": rental_id, "price_cents": price})
    if rentals:
        columns = (*zip(*rentals, strict=True), *zip(*taken, strict=True))
        await connection.execute(sql("rent"), *columns, list(taken.values()))
    return outcomes


def take(drive: Drive, offers: Mapping[Day, Offer]) -> int | Refused:
    """Take a car off each of the days and give the price, or say why not and take none."""
    days = [(day, offers.get(day)) for day in drive.each_day()]
    wanted = [offer for _, offer in days if offer is not None]
    if not wanted or len(wanted) < len(days):
        return Refused("car_unknown", f"{drive.station} has no {drive.car_class} to rent on {drive.pick_up}")
    if wanted[0].currency != drive.currency:
        return Refused("currency_mismatch", f"{drive.station} charges {wanted[0].currency}, not {drive.currency}")
    for (_, _, day), offer in days:
        if offer is not None and offer.free < 1:
            return Refused("sold_out", f"no {drive.car_class} of {drive.station} is free on {day}")
    for offer in wanted:
        offer.free -= 1
    return sum(offer.price_cents for offer in wanted)


@car.compensates("CancelRental")
async def cancel_rental(command: Compensation, connection: Connection) -> Outcome:
    """Cancel the rental of the action, once."""
    rental_id = (command.original_result or {}).get("rental_id")
    await lock_days([command], connection)
    rented = await connection.fetchval(
        sql("cancel"), command.compensates, rental_id, command.saga_id, command.command_id
    )
    return Effect.UNDONE if rented else Effect.NOTHING_TO_UNDO


async def _offers(drives: Sequence[Drive | Refused], connection: Connection) -> dict[Day, Offer]:
    wanted = {day for drive in drives if isinstance(drive, Drive) for day in drive.each_day()}
    if not wanted:
        return {}
    columns = [list(column) for column in zip(*wanted, strict=True)]
    await connection.execute(sql("open_days"), *columns)
    rows = await connection.fetch(sql("lock_days"), *columns)
    return {(row["station"], row["class"], row["day"]): Offer(*row[3:]) for row in rows}
