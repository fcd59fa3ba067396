"""Trips: three bookings at the same time, a person's yes when it is dear, the payment as the point of no return."""

from __future__ import annotations

from typing import Any, Final

from deploy.demo.definitions import travel_booking
from deploy.demo.stories import tables
from deploy.demo.stories.model import (
    DONE,
    REFUSED,
    SKIPPED,
    UNKNOWN,
    Answer,
    Expected,
    Family,
    Line,
    Request,
    Story,
    Stuck,
    Switch,
    commands_of,
)

STEPS: Final = tuple(step.name for step in travel_booking.steps)
ROOM, SEATS, CAR, APPROVAL, PAY, MAIL = STEPS
BACKWARD: Final = (CAR, SEATS, ROOM)  # the bookings, last first
ROOM_CENTS: Final = {"double": 12_000, "suite": 95_000}  # a night in the hotel's own table
SEAT_CENTS, CAR_CENTS = 18_000, 3_500
SLOW_S: Final = 3.0  # flight and car answer within that, even when they have only just begun

_BOOKED: Final = dict.fromkeys((ROOM, SEATS, CAR), DONE)
_CHEAP: Final = Expected("completed", _BOOKED | {APPROVAL: SKIPPED, PAY: DONE, MAIL: DONE})
_SUITE: Final = {"stay": {"hotel": "hotel-central", "room": "suite", "check_in": "2031-05-02", "nights": 3}}


def trip_request(story: Story, number: int) -> Request:
    """Write a trip; trips differ in how long they last and how many people go."""
    nights, seats = number % 3 + 2, number % 2 + 1
    good: dict[str, Any] = {
        "booking_id": f"{story.word}-{number:03d}",
        "traveller": f"Traveller {number}",
        "traveller_email": f"traveller-{number}@example.org",
        "stay": {"hotel": "hotel-central", "room": "double", "check_in": "2031-05-02", "nights": nights},
        "passage": {"flight": "SG100", "seats": seats},
        "drive": {
            "station": "lisbon-airport",
            "car_class": "compact",
            "pick_up": "2031-05-02",
            "days": nights + 1,
        },
        "currency": "EUR",
        "card": {"token": "tok_visa"},
    }
    wanted = good | dict(story.differs)
    stay, days, seats = wanted["stay"], wanted["drive"]["days"], wanted["passage"]["seats"]
    price = stay["nights"] * ROOM_CENTS[stay["room"]] + seats * SEAT_CENTS + days * CAR_CENTS
    return Request(
        story,
        wanted["booking_id"],
        wanted,
        {ROOM: stay["nights"], SEATS: seats, CAR: days, PAY: price, MAIL: 1},
    )


def travel_stories(good: int) -> tuple[Story, ...]:
    """List the stories, the plain ones first."""
    return (
        Story("good trip", "booked, paid and sent; below the limit nobody is asked", _CHEAP, requests=good),
        Story(
            "slow hotel",
            "the three are asked at the same time: flight and car answer before the hotel, which was asked first",
            Expected(_CHEAP.status, _CHEAP.outcomes, overtaken={ROOM: (SEATS, CAR)}),
            switches=(Switch("hotel", "slow", "BookRoom", seconds=SLOW_S),),
        ),
        Story(
            "dear trip",
            "above the limit the saga waits; somebody approves over the API, and then it is paid",
            Expected("completed", dict.fromkeys(STEPS, DONE)),
            differs=_SUITE,
            answer=Answer(APPROVAL, {"approved_by": "anna"}),
        ),
        Story(
            "too dear",
            "somebody refuses over the API: the bookings are undone, last first, and nothing was paid",
            Expected("failed", _BOOKED | {APPROVAL: REFUSED}, BACKWARD),
            differs=_SUITE,
            answer=Answer(APPROVAL, code="too_dear"),
        ),
        Story(
            "nobody approves",
            "nobody says anything in time: the bookings are undone, last first",
            Expected("failed", _BOOKED | {APPROVAL: UNKNOWN}, BACKWARD),
            differs=_SUITE,
        ),
        Story(
            "no car left",
            "one of the three is refused: the others are awaited, then undone, last first",
            Expected("failed", {ROOM: DONE, SEATS: DONE, CAR: REFUSED}, (SEATS, ROOM)),
            differs={"drive": {"station": "lisbon-airport", "car_class": "van", "pick_up": "2031-05-02", "days": 4}},
        ),
        Story(
            "payment declined",
            "refused at the pivot: the bookings are undone, last first",
            Expected("failed", _BOOKED | {APPROVAL: SKIPPED, PAY: REFUSED}, BACKWARD),
            differs={"card": {"token": "tok_declined"}},
        ),
    )


travel: Final = Family(
    name="travel",
    thing="trip",
    definition=travel_booking.name,
    key=travel_booking.business_key,
    steps=STEPS,
    columns=dict(zip(("hotel", "flight", "car", "approval", "payment", "mail"), STEPS, strict=True)),
    commands=commands_of(travel_booking),
    lines={
        ROOM: Line("nights", "booked", "cancelled", tables.ROOMS),
        SEATS: Line("seats", "booked", "cancelled", tables.TICKETS),
        CAR: Line("car days", "rented", "cancelled", tables.RENTALS),
        PAY: Line("card", "charged", "refunded", tables.PAYMENTS, decimals=True, unit="EUR"),
        MAIL: Line("mails", "sent", "withdrawn", tables.MAILS),
    },
    participants=travel_booking.participants,
    usual=10,
    stories=travel_stories,
    request=trip_request,
    stuck=Stuck(
        "a trip whose itinerary bounces: it is booked and paid, and after some seconds the saga is suspended",
        Switch("notification", "retry", "SendItinerary", code="recipient_bounced"),
        "the mailbox is back",
    ),
)
