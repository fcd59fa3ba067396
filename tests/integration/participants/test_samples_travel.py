"""Hotel, flight, car and itineraries: prices, what they refuse, and that nothing is sold twice."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.wire.messages import StepCompleted
from tests.integration.participants.exchange import Step
from tests.integration.participants.office import Office
from tests.integration.participants.plans import any_day, done, plan, refusal


@pytest.mark.parametrize(
    ("action", "price"), [("BookRoom", 3 * 12_000), ("BookSeat", 2 * 18_000), ("RentCar", 4 * 3_500)]
)
async def test_result_tells_the_price(agency: Office, action: str, price: int) -> None:
    """The price in a result is that of all nights, seats or days, in cents."""
    assert (await done(agency, plan(action)))["price_cents"] == price


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("BookRoom", {"room": "cellar"}, "room_unknown"),
        ("BookRoom", {"hotel": "hotel-none"}, "room_unknown"),
        ("BookRoom", {"hotel": "hotel-garden"}, "sold_out"),
        ("BookRoom", {"hotel": "hotel-liberty"}, "currency_mismatch"),
        ("BookRoom", {"check_in": "9999-12-30"}, "room_unknown"),
        ("BookRoom", {"check_in": "2031-02-30"}, "payload_invalid"),
        ("BookRoom", {"nights": 0}, "payload_invalid"),
        ("BookSeat", {"flight": "SG000"}, "flight_unknown"),
        ("BookSeat", {"flight": "SG500"}, "sold_out"),
        ("BookSeat", {"flight": "SG400"}, "sold_out"),
        ("BookSeat", {"flight": "SG600"}, "flight_cancelled"),
        ("BookSeat", {"flight": "SG300"}, "currency_mismatch"),
        ("BookSeat", {"seats": 10}, "payload_invalid"),
        ("RentCar", {"car_class": "tank"}, "car_unknown"),
        ("RentCar", {"car_class": "van"}, "sold_out"),
        ("RentCar", {"station": "newark-airport"}, "currency_mismatch"),
        ("RentCar", {"pick_up": "9999-12-30"}, "car_unknown"),
        ("RentCar", {"days": 31}, "payload_invalid"),
        ("SendItinerary", {"traveller_email": "unsubscribed@example.com"}, "recipient_unsubscribed"),
    ],
)
async def test_refusal(agency: Office, action: str, payload: dict[str, Any], code: str) -> None:
    """A refusal names its reason, is final, and leaves nothing behind."""
    one = plan(action, **payload)
    assert await refusal(agency, one) == (code, False)
    assert await agency.effects(one) == []


def _last_ones() -> dict[str, dict[str, Any]]:
    day = any_day().isoformat()
    return {
        "BookRoom": {"hotel": "hotel-garden", "room": "attic", "check_in": day},
        "BookSeat": {"flight": "SG400", "seats": 1},
        "RentCar": {"car_class": "convertible", "pick_up": day},
    }


@pytest.mark.parametrize("action", ["BookRoom", "BookSeat", "RentCar"])
async def test_last_one_is_sold_once_and_given_back(agency: Office, action: str) -> None:
    """Of many who want the last one at once a single one gets it; when that one cancels, the next one can have it."""
    wanted = _last_ones()[action]
    many = [plan(action, **wanted) for _ in range(10)]
    for one in many:
        await agency.exchange.act(one)
    winners = [one for one in many if await _got(agency, one)]
    assert len(winners) == 1
    await agency.exchange.undo(winners[0])
    await agency.exchange.reply(winners[0].undo_id)
    last = plan(action, **wanted)
    await done(agency, last)
    await agency.exchange.undo(last)
    await agency.exchange.reply(last.undo_id)


async def test_stay_is_all_or_none(agency: Office) -> None:
    """A stay of which one night is sold out takes none of the others."""
    day = any_day()
    attic = {"hotel": "hotel-garden", "room": "attic"}
    await done(agency, plan("BookRoom", **attic, check_in=day.isoformat(), nights=1))
    before = day.fromordinal(day.toordinal() - 2)
    assert await refusal(agency, plan("BookRoom", **attic, check_in=before.isoformat(), nights=3)) == (
        "sold_out",
        False,
    )
    await done(agency, plan("BookRoom", **attic, check_in=before.isoformat(), nights=2))


async def test_traveller_is_told_once(agency: Office) -> None:
    """An itinerary is one mail to the traveller."""
    itinerary = plan("SendItinerary")
    mail_id = (await done(agency, itinerary))["mail_id"]
    query = "select mail_id, kind, about from notification.mails where saga_id = $1"
    assert [tuple(row) for row in await agency.rows(query, itinerary.saga_id)] == [(mail_id, "itinerary", "trip-1")]


async def _got(agency: Office, one: Step) -> bool:
    return isinstance((await agency.exchange.reply(one.action_id)).message, StepCompleted)
