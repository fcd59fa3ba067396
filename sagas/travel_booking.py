"""TravelBooking: room, seats and car at the same time, a person's yes when it is dear, the money, the itinerary.

    book room    book seat    rent car       approve the trip        pay              send the itinerary
    BookRoom     BookSeat     RentCar        (external, only when    ProcessPayment   SendItinerary
    CancelRoom   CancelSeat   CancelRental   it costs very much)     (pivot)          (retriable)
    (the three at the same time)

The prices are not known before the three have answered; what is paid is their sum.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from coordinator.saga.definition import Fields, Kind, Retry, SagaDefinition, Step, external, hours, minutes, parallel
from coordinator.saga.payloads import Results

APPROVAL_ABOVE_CENTS = 200_000


Name = Annotated[str, Field(min_length=1, max_length=128)]
Line = Annotated[str, Field(min_length=1, max_length=256)]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
Cents = Annotated[int, Field(ge=0, le=10**12)]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$")]
Day = Annotated[date, Field(examples=["2031-05-02"])]
Days = Annotated[int, Field(ge=1, le=30)]
Seats = Annotated[int, Field(ge=1, le=9)]


class _Input(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Result(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Card(_Input):
    """A payment card, as the token that the payment service knows it by."""

    token: Name


class Stay(_Input):
    """The room that is wanted, from the night of `check_in` on."""

    hotel: Name
    room: Name
    check_in: Day
    nights: Days


class Passage(_Input):
    """The flight that is wanted, for so many people."""

    flight: Name
    seats: Seats


class Drive(_Input):
    """The car that is wanted, from the day of `pick_up` on."""

    station: Name
    car_class: Name
    pick_up: Day
    days: Days


class TravelInput(_Input):
    """A trip as the travel agency sends it; `booking_id` names it for ever, all prices are in `currency`."""

    booking_id: Name
    traveller: Line
    traveller_email: Email
    stay: Stay
    passage: Passage
    drive: Drive
    currency: Currency
    card: Card


class BookRoomPayload(Stay):
    """What the hotel needs."""

    booking_id: Name
    currency: Currency


class BookSeatPayload(Passage):
    """What the airline needs."""

    booking_id: Name
    currency: Currency


class RentCarPayload(Drive):
    """What the car rental needs."""

    booking_id: Name
    currency: Currency


class ProcessPaymentPayload(_Input):
    """What payment needs; the order it knows is the trip, so `order_id` is the booking's id."""

    order_id: Name
    amount_cents: Cents
    currency: Currency
    card: Card


class SendItineraryPayload(_Input):
    """What notification needs to tell the traveller what is booked and what it has cost."""

    booking_id: Name
    traveller: Line
    traveller_email: Email
    room_booking_id: Name
    ticket_id: Name
    rental_id: Name
    amount_cents: Cents
    currency: Currency


class BookRoomResult(_Result):
    """What the hotel answers; the price is that of all nights."""

    room_booking_id: Name
    price_cents: Cents


class BookSeatResult(_Result):
    """What the airline answers; the price is that of all seats."""

    ticket_id: Name
    price_cents: Cents


class RentCarResult(_Result):
    """What the car rental answers; the price is that of all days."""

    rental_id: Name
    price_cents: Cents


class ApproveTripResult(_Result):
    """What whoever may approve an expensive trip answers."""

    approved_by: Name


class ProcessPaymentResult(_Result):
    """What payment answers."""

    payment_id: Name
    amount_cents: Cents


class SendItineraryResult(_Result):
    """What notification answers."""

    mail_id: Name


def price_cents(results: Results) -> int:
    """What the three bookings cost together."""
    return sum(results[step].price_cents for step in ("book_room", "book_seats", "rent_car"))


def is_dear(_trip: TravelInput, results: Results) -> bool:
    """The trip costs so much that somebody has to approve it."""
    return price_cents(results) > APPROVAL_ABOVE_CENTS


def bill(trip: TravelInput, results: Results) -> ProcessPaymentPayload:
    """What the traveller pays."""
    return ProcessPaymentPayload(
        order_id=trip.booking_id, amount_cents=price_cents(results), currency=trip.currency, card=trip.card
    )


def _booking(model: type[BaseModel], part: str) -> Fields:
    """What a booking carries: the trip's id and currency, and the part of the input that is about it."""
    own = {name: f"input.{part}.{name}" for name in model.model_fields if name not in ("booking_id", "currency")}
    return Fields(model, {"booking_id": "input.booking_id", "currency": "input.currency", **own})


travel_booking = SagaDefinition(
    "TravelBooking",
    version=1,
    input=TravelInput,
    business_key="booking_id",
    sensitive=("traveller", "traveller_email", "card.token"),
    deadline=hours(12),
    steps=(
        *parallel(
            "bookings",
            Step(
                "book_room",
                participant="hotel",
                action="BookRoom",
                compensation="CancelRoom",
                timeout=minutes(2),
                payload=_booking(BookRoomPayload, "stay"),
                result=BookRoomResult,
            ),
            Step(
                "book_seats",
                participant="flight",
                action="BookSeat",
                compensation="CancelSeat",
                timeout=minutes(5),
                progress_max=minutes(30),
                payload=_booking(BookSeatPayload, "passage"),
                result=BookSeatResult,
            ),
            Step(
                "rent_car",
                participant="car",
                action="RentCar",
                compensation="CancelRental",
                timeout=minutes(2),
                payload=_booking(RentCarPayload, "drive"),
                result=RentCarResult,
            ),
        ),
        external("approve_trip", timeout=hours(8), when=is_dear, result=ApproveTripResult),
        Step(
            "take_payment",
            participant="payment",
            action="ProcessPayment",
            kind=Kind.PIVOT,
            payload=bill,
            sensitive=("payload.card.token",),
            result=ProcessPaymentResult,
        ),
        Step(
            "send_itinerary",
            participant="notification",
            action="SendItinerary",
            kind=Kind.RETRIABLE,
            retry=Retry(attempts=5),
            timeout=minutes(2),
            payload=Fields(
                SendItineraryPayload,
                {
                    "booking_id": "input.booking_id",
                    "traveller": "input.traveller",
                    "traveller_email": "input.traveller_email",
                    "room_booking_id": "book_room.room_booking_id",
                    "ticket_id": "book_seats.ticket_id",
                    "rental_id": "rent_car.rental_id",
                    "amount_cents": "take_payment.amount_cents",
                    "currency": "input.currency",
                },
            ),
            result=SendItineraryResult,
        ),
    ),
)
