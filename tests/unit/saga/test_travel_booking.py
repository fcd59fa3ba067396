"""The models of TravelBooking: a strict input, and payloads and results that participants understand."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, ValidationError

from participants.car.handlers import Drive
from participants.flight.handlers import Wish
from participants.hotel.handlers import Stay
from participants.notification.handlers import Trip
from participants.payment.handlers import Order
from sagas import travel_booking as models

TRIP: dict[str, Any] = {
    "booking_id": "b-1",
    "traveller": "Ada Lovelace",
    "traveller_email": "ada@example.org",
    "stay": {"hotel": "hotel-central", "room": "double", "check_in": "2031-05-02", "nights": 3},
    "passage": {"flight": "SG100", "seats": 2},
    "drive": {"station": "lisbon-airport", "car_class": "compact", "pick_up": "2031-05-02", "days": 4},
    "currency": "EUR",
    "card": {"token": "tok_visa"},
}
ANSWERED: dict[str, Any] = {
    "order_id": "b-1",
    "amount_cents": 86_000,
    "room_booking_id": "room_1",
    "ticket_id": "tkt_1",
    "rental_id": "car_1",
}


def test_a_trip_is_read_and_written_unchanged() -> None:
    """The input model neither adds, drops nor converts a field, dates included."""
    assert models.TravelInput.model_validate_json(json.dumps(TRIP)).model_dump(mode="json") == TRIP


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("booking_id", ""),
        ("traveller_email", "nobody"),
        ("currency", "euro"),
        ("card.number", "4111"),
        ("stay.check_in", "2031-02-30"),
        ("stay.check_in", "2031-5-2"),
        ("stay.check_in", 20310502),
        ("stay.nights", 0),
        ("stay.nights", 31),
        ("stay.breakfast", True),
        ("passage.seats", 10),
        ("passage.seats", "2"),
        ("drive.pick_up", "tomorrow"),
        ("drive.days", 1.5),
        ("approval_above_cents", 1),
    ],
)
def test_a_wrong_trip_is_refused_before_anything_is_done(path: str, value: object) -> None:
    """No coercion, no unknown fields, limits on everything; the error points at the field."""
    trip: Any = deepcopy(TRIP)
    *parents, field = path.split(".")
    place = trip
    for parent in parents:
        place = place[parent]
    place[field] = value
    with pytest.raises(ValidationError) as refusal:
        models.TravelInput.model_validate_json(json.dumps(trip))
    assert ".".join(map(str, refusal.value.errors()[0]["loc"])) == path


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (models.BookRoomPayload, Stay),
        (models.BookSeatPayload, Wish),
        (models.RentCarPayload, Drive),
        (models.ProcessPaymentPayload, Order),
        (models.SendItineraryPayload, Trip),
    ],
)
def test_participants_understand_the_payloads(model: type[BaseModel], shape: type[msgspec.Struct]) -> None:
    """What a payload model lets through is what the participant reads of it."""
    known = {**TRIP, **TRIP["stay"], **TRIP["passage"], **TRIP["drive"], **ANSWERED}
    payload = model.model_validate_json(json.dumps({name: known[name] for name in model.model_fields})).model_dump(
        mode="json"
    )
    read = msgspec.to_builtins(msgspec.convert(payload, shape, strict=True))
    assert read.items() <= payload.items()
