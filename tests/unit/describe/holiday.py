"""A definition that uses everything that a definition can say, and two versions of a small one beside it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from coordinator.saga.definition import Retry, SagaDefinition, Step, external, hours, minutes, parallel, seconds
from coordinator.saga.model import Kind


class Traveller(BaseModel):
    """Who travels."""

    name: Annotated[str, Field(min_length=1)]
    passport: Annotated[str, Field(pattern="^[A-Z0-9]{9}$", examples=["XK1234567"])]


class Holiday(BaseModel):
    """What is booked."""

    booking_id: str
    city: Annotated[str, Field(max_length=40)]
    budget_cents: Annotated[int, Field(ge=0)]
    traveller: Traveller
    companion: Traveller | None = None


class Room(BaseModel):
    """What the hotel answers."""

    room: str
    price_cents: int


class Bill(BaseModel):
    """What is to be paid; the alias is for readers, and a payload is written by its fields' names."""

    amount_cents: Annotated[int, Field(alias="amountCents", ge=1)]

    model_config = {"populate_by_name": True}


def is_dear(holiday: Holiday, results: Any) -> bool:
    """More than "a few" <coins> & #1 `tick`; needs a person.

    Not said in a drawing.
    """
    return holiday.budget_cents > 100_000


def wants_car(holiday: Holiday, results: Any) -> bool:
    return holiday.city != "Venice"


def bill(holiday: Holiday, results: Any) -> Bill:
    """The room's price."""
    return Bill(amount_cents=results["book_hotel"].price_cents)


def letter(holiday: Holiday, results: Any) -> dict[str, Any]:
    """A letter to the traveller."""
    return {"to": holiday.traveller.name}


holiday = SagaDefinition(
    "Holiday",
    version=2,
    input=Holiday,
    business_key="booking_id",
    deadline=hours(6),
    recovery=Retry(attempts=2, base=seconds(5), cap=minutes(1)),
    steps=(
        *parallel(
            "bookings",
            Step(
                "book_hotel",
                participant="hotel",
                action="BookRoom",
                compensation="CancelRoom",
                result=Room,
                payload={"city": "input.city", "guest": {"full-name": "input.traveller.name"}},
                progress_max=minutes(10),
            ),
            Step(
                "book_car",
                participant="car",
                action="BookCar",
                compensation="CancelCar",
                when=wants_car,
                compensation_timeout=minutes(5),
            ),
        ),
        external("approval", timeout=hours(4), when=is_dear),
        Step("take_payment", participant="payment", action="ProcessPayment", kind=Kind.PIVOT, payload=bill),
        Step(
            "tell",
            participant="notification",
            action="SendLetter",
            kind=Kind.RETRIABLE,
            payload=letter,
            retry=Retry(attempts=7),
        ),
        Step(
            "rate",
            participant="hotel",
            action="Rate",
            kind=Kind.RETRIABLE,
            payload={"room": "book_hotel.room", "guest": "input.traveller", "second": "input.companion.name"},
        ),
    ),
)


class Parcel(BaseModel):
    """The input of the first version."""

    parcel_id: str


class HeavyParcel(BaseModel):
    """The input of the second version."""

    parcel_id: str
    kilos: int


def ship(version: int, model: type[BaseModel]) -> SagaDefinition:
    """Make a version of a definition of one step, whose two commands other definitions could share."""
    step = Step("ship", participant="carrier", action="Ship", compensation="Return", timeout=minutes(1))
    return SagaDefinition("Parcel", version=version, input=model, business_key="parcel_id", steps=(step,))


parcels = (ship(1, Parcel), ship(2, HeavyParcel))
