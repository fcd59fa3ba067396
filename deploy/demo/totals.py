"""What each participant's totals must agree with: its own entries, when nothing moves any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"  # subscriptable for type checkers only


@dataclass(frozen=True)
class Total:
    """Two numbers of a participant that must be the same: `sql` answers both, `said` has a place for each."""

    said: str
    sql: str


TOTALS: Final = {
    "inventory": Total(
        "inventory has {} units reserved in stock and {} in open reservations",
        """
        select (select sum(reserved) from inventory.stock)::bigint,
            (select coalesce(sum(quantity), 0) from inventory.reservations
                cross join jsonb_to_recordset(lines) as line (quantity bigint) where released_at is null)::bigint
        """,
    ),
    "payment": Total(
        "payment's cards have spent {} cents, its entries say {}",
        """
        select (select sum(spent_cents) from payment.cards)::bigint,
            ((select coalesce(sum(amount_cents), 0) from payment.payments)
                - (select coalesce(sum(amount_cents), 0) from payment.refunds))::bigint
        """,
    ),
    "accounts": Total(
        "accounts has {} open holds, and {} transfers under way",
        "select (select count(*) from accounts.holds where ending is null), 0",
    ),
    "ledger": Total(
        "the ledger has {} postings, its entries need {}",
        "select (select count(*) from ledger.postings), 2 * (select count(*) from ledger.entries)",
    ),
    "hotel": Total(
        "the hotel has {} rooms booked by night, its open bookings say {}",
        """
        select (select coalesce(sum(booked), 0) from hotel.nights)::bigint,
            (select coalesce(sum(nights), 0) from hotel.room_bookings where cancelled_at is null)::bigint
        """,
    ),
    "flight": Total(
        "flights have {} seats taken, the open tickets say {}",
        """
        select (select sum(taken) from flight.flights)::bigint,
            (select coalesce(sum(seats), 0) from flight.tickets where cancelled_at is null)::bigint
        """,
    ),
    "car": Total(
        "the car rental has {} cars out by day, its open rentals say {}",
        """
        select (select coalesce(sum(rented), 0) from car.days)::bigint,
            (select coalesce(sum(days), 0) from car.rentals where cancelled_at is null)::bigint
        """,
    ),
}


async def total_problems(connection: Connection, participants: Iterable[str]) -> list[str]:
    """Say where a participant's totals disagree with its own entries, or where it has unfinished business."""
    problems = []
    for name in participants:
        if (total := TOTALS.get(name)) is not None:
            [(held, should)] = await connection.fetch(total.sql)
            if held != should:
                problems.append(total.said.format(held, should))
        for table, what in (("kit_outbox", "unsent replies"), ("kit_dead_letter", "dead letters")):
            count = await connection.fetchval(f'select count(*) from "{name}".{table}')  # noqa: S608
            if count:
                problems.append(f"{name} has {count} {what}")
    return problems
