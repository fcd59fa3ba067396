"""Rooms, seats and cars that many want at once, and many give back, on two processes of a participant."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import asyncpg
import pytest

from coordinator.wire.messages import CompensationCompleted, StepCompleted, StepFailed
from deploy.local.stack import LocalStack
from tests.integration.participants.office import COMMAND_PARTITIONS, Office
from tests.integration.participants.plans import NAMES, plan

CAPACITY = 5
WISHES = 150
AT_ONCE = 30
OFFERS = {
    "BookRoom": "insert into hotel.rooms values ('scarce', 'bed', 5, 100, 'EUR')",
    "BookSeat": "insert into flight.flights values ('scarce', 'BER', 'BER', now(), 5, 0, 100, 'EUR')",
    "RentCar": "insert into car.fleet values ('scarce', 'kart', 5, 100, 'EUR')",
}
TAKEN = {
    "BookRoom": "select coalesce(sum(booked), 0) from hotel.nights where hotel = 'scarce'",
    "BookSeat": "select taken from flight.flights where flight = 'scarce'",
    "RentCar": "select coalesce(sum(rented), 0) from car.days where station = 'scarce'",
}
OWNED = {
    "BookRoom": "select coalesce(sum(nights), 0) from hotel.room_bookings where cancelled_at is null",
    "BookSeat": "select coalesce(sum(seats), 0) from flight.tickets where cancelled_at is null",
    "RentCar": "select coalesce(sum(days), 0) from car.rentals where cancelled_at is null",
}


def wish(action: str, chance: random.Random) -> dict[str, Any]:
    """Want a few of the scarce things: some of three nights, seats or days."""
    many, day = chance.randrange(1, 4), f"2031-06-{chance.randrange(1, 4):02}"
    if action == "BookRoom":
        return {"hotel": "scarce", "room": "bed", "check_in": day, "nights": many}
    if action == "BookSeat":
        return {"flight": "scarce", "seats": many}
    return {"station": "scarce", "car_class": "kart", "pick_up": day, "days": many}


@pytest.mark.parametrize("action", OFFERS)
async def test_scarce_things_are_never_sold_twice(real_kafka: LocalStack, own_office: Office, action: str) -> None:
    """At every moment what is taken is what somebody owns, some wishes are refused, and all comes back at the end."""
    office = own_office
    participant = NAMES[action][0]
    await office.open(participant)
    children = [office.launch(participant), office.launch(participant, "--instance", "two")]
    for child in children:
        await asyncio.to_thread(child.wait_for_line, r'"partitions": \[\d, \d\]', timeout_s=30)
    await office.rows(OFFERS[action])
    over = asyncio.Event()
    watching = asyncio.create_task(_watch(office.url, action, over))
    customers = [_book_and_cancel(office, action, random.Random(seed)) for seed in range(AT_ONCE)]
    served = sum(await asyncio.gather(*customers))
    over.set()
    assert CAPACITY <= served < WISHES
    assert await watching > 0, "no look found anything taken"
    assert (await office.rows(TAKEN[action]))[0][0] == 0
    await asyncio.gather(*(asyncio.to_thread(child.stop) for child in children))


async def _book_and_cancel(office: Office, action: str, chance: random.Random) -> int:
    """Book one thing after the other, and cancel what one got; count it."""
    served = 0
    for _ in range(WISHES // AT_ONCE):
        one = plan(action, **wish(action, chance))
        await office.exchange.act(one, partition=chance.randrange(COMMAND_PARTITIONS))
        message = (await office.exchange.reply(one.action_id)).message
        if isinstance(message, StepCompleted):
            served += 1
        else:
            assert isinstance(message, StepFailed)
            assert message.error.code == "sold_out"
        await office.exchange.undo(one, partition=chance.randrange(COMMAND_PARTITIONS))
        assert isinstance((await office.exchange.reply(one.undo_id)).message, CompensationCompleted)
    return served


async def _watch(url: str, action: str, over: asyncio.Event) -> int:
    """Compare what is taken with what is owned in one snapshot after the other; count those in which some was."""
    connection = await asyncpg.connect(url)
    seen_taken = 0
    while not over.is_set():
        row = await connection.fetchrow(f"select ({TAKEN[action]}) as taken, ({OWNED[action]}) as owned")
        assert row is not None
        assert row["taken"] == row["owned"]
        seen_taken += row["taken"] > 0
    await connection.close()
    return seen_taken
