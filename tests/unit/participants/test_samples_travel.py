"""How hotel, flight and car decide: pure functions over a few rows."""

from __future__ import annotations

from datetime import date

from participants.car.handlers import Drive
from participants.car.handlers import Offer as CarOffer
from participants.car.handlers import take as take_car
from participants.flight.handlers import Offer as SeatOffer
from participants.flight.handlers import Wish
from participants.flight.handlers import take as take_seats
from participants.hotel.handlers import Offer as RoomOffer
from participants.hotel.handlers import Stay
from participants.hotel.handlers import take as take_room
from participants.kit import Refused

DAY = date(2031, 5, 2)


def test_stay_takes_every_night_or_none() -> None:
    """A stay of which the last night is sold out leaves the others as they were; one that fits costs their sum."""
    stay = Stay("trip", "h", "r", DAY, 3, "EUR")
    offers = {night: RoomOffer(2, 100 + place, "EUR") for place, night in enumerate(stay.each_night())}
    assert take_room(stay, offers) == 303
    offers[stay.each_night()[2]].free = 0
    assert isinstance(take_room(stay, offers), Refused)
    assert [offer.free for offer in offers.values()] == [1, 1, 0]


def test_drive_takes_every_day_or_none() -> None:
    """A rental of which the first day is sold out leaves the others as they were; one that fits costs their sum."""
    drive = Drive("trip", "s", "c", DAY, 2, "EUR")
    offers = {day: CarOffer(1, 50, "EUR") for day in drive.each_day()}
    assert take_car(drive, offers) == 100
    offers[drive.each_day()[1]].free = 1
    assert isinstance(take_car(drive, offers), Refused)
    assert [offer.free for offer in offers.values()] == [0, 1]


def test_seats_are_taken_in_order_of_arrival() -> None:
    """Of several bookings in one batch those that find enough seats pass, and a small one after a big one may."""
    offers = {"f": SeatOffer("scheduled", 5, 10, "EUR")}
    prices = [take_seats(Wish("trip", "f", seats, "EUR"), offers) for seats in (3, 3, 2)]
    assert [price if isinstance(price, int) else price.code for price in prices] == [30, "sold_out", 20]


def test_calendar_has_an_end() -> None:
    """A stay that would outlast the calendar has no nights, and is refused as one that nobody offers."""
    last = Stay("trip", "h", "r", date(9999, 12, 30), 1, "EUR")
    beyond = Stay("trip", "h", "r", date(9999, 12, 30), 2, "EUR")
    assert len(last.each_night()) == 1
    assert beyond.each_night() == []
    assert isinstance(take_room(beyond, {}), Refused)
