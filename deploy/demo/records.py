"""What the participants' own tables say, read with SQL that knows nothing of sagas' states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import asyncpg

from deploy.demo.definitions import PARTICIPANTS
from deploy.demo.stories import CONFIRM, PAY, RESERVE, SHIP, STEP_OF, Expected, Order

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"  # subscriptable for type checkers only

BOOKS_SQL: Final = """
select saga::text,
    (select coalesce(sum(quantity), 0) from inventory.reservations
        cross join jsonb_to_recordset(lines) as line (quantity bigint) where saga_id = saga)::bigint as reserved,
    (select coalesce(sum(quantity), 0) from inventory.reservations
        cross join jsonb_to_recordset(lines) as line (quantity bigint)
        where saga_id = saga and released_at is not null)::bigint as released,
    (select coalesce(sum(amount_cents), 0) from payment.payments where saga_id = saga)::bigint as charged,
    (select coalesce(sum(amount_cents), 0) from payment.refunds where saga_id = saga)::bigint as refunded,
    (select count(*) from shipping.shipments where saga_id = saga) as shipped,
    (select count(*) from shipping.shipments where saga_id = saga and cancelled_at is not null) as cancelled,
    (select count(*) from notification.notices where saga_id = saga and kind = 'confirmation') as confirmed,
    (select count(*) from notification.notices where saga_id = saga and kind = 'cancellation') as withdrawn
from unnest($1::text[]) as saga
"""

# All participants of the demo share one Postgres, so its clock tells the order between them.
EFFECTS_SQL: Final = """
select saga_id, 'inventory' as participant, kind, at from inventory.effects where saga_id = any($1::text[])
union all select saga_id, 'payment', kind, at from payment.effects where saga_id = any($1::text[])
union all select saga_id, 'shipping', kind, at from shipping.effects where saga_id = any($1::text[])
union all select saga_id, 'notification', kind, at from notification.effects where saga_id = any($1::text[])
order by at
"""

LEDGER_SQL: Final = """
select
    (select sum(reserved) from inventory.stock)::bigint as stock,
    (select coalesce(sum(quantity), 0) from inventory.reservations
        cross join jsonb_to_recordset(lines) as line (quantity bigint) where released_at is null)::bigint as held,
    (select sum(spent_cents) from payment.cards)::bigint as spent,
    (select coalesce(sum(amount_cents), 0) from payment.payments)::bigint as charged,
    (select coalesce(sum(amount_cents), 0) from payment.refunds)::bigint as refunded
"""


@dataclass(frozen=True)
class Books:
    """What the four participants have in their tables for one saga: units, cents and counts."""

    reserved: int = 0
    released: int = 0
    charged: int = 0
    refunded: int = 0
    shipped: int = 0
    cancelled: int = 0
    confirmed: int = 0
    withdrawn: int = 0

    def __str__(self) -> str:
        """Say it in a line."""
        return "; ".join(
            (
                _line("stock", (self.reserved, "reserved"), (self.released, "released")),
                _line("card", (_money(self.charged), "charged"), (_money(self.refunded), "refunded")),
                _line("parcels", (self.shipped, "shipped"), (self.cancelled, "cancelled")),
                _line("notices", (self.confirmed, "confirmed"), (self.withdrawn, "withdrawn")),
            )
        )

    def __add__(self, other: Books) -> Books:
        """Add two sagas' books up."""
        mine, theirs = vars(self), vars(other)
        return Books(**{name: mine[name] + theirs[name] for name in mine})


def _line(what: str, *parts: tuple[int | str, str]) -> str:
    said = [f"{amount} {word}" for amount, word in parts if amount]
    return f"{what} {', '.join(said) or 'untouched'}"


def _money(cents: int) -> str:
    return f"{cents / 100:.2f} EUR" if cents else ""


@dataclass(frozen=True)
class Records:
    """One saga as the participants recorded it: the sums, and the steps in the order of their doing and undoing."""

    books: Books = Books()
    done: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()


def expected_books(order: Order, done: Sequence[str], undone: Sequence[str]) -> Books:
    """Say what the tables must hold when these steps of an order were done and those undone."""
    return Books(
        reserved=order.units * (RESERVE in done),
        released=order.units * (RESERVE in undone),
        charged=order.amount_cents * (PAY in done),
        refunded=order.amount_cents * (PAY in undone),
        shipped=int(SHIP in done),
        cancelled=int(SHIP in undone),
        confirmed=int(CONFIRM in done),
        withdrawn=int(CONFIRM in undone),
    )


def expected_records(order: Order, expected: Expected) -> Records:
    """Say what the participants must have recorded at the end of an order."""
    return Records(expected_books(order, expected.done, expected.undone), expected.done, expected.undone)


async def read_records(connection: Connection, saga_ids: Iterable[str]) -> dict[str, Records]:
    """Read what the participants recorded, by saga id."""
    wanted = list(saga_ids)
    books = {row["saga"]: Books(**dict(list(row.items())[1:])) for row in await connection.fetch(BOOKS_SQL, wanted)}
    steps: dict[tuple[str, str], list[str]] = {}
    for row in await connection.fetch(EFFECTS_SQL, wanted):
        steps.setdefault((row["saga_id"], row["kind"]), []).append(STEP_OF[row["participant"]])
    return {
        saga_id: Records(
            books[saga_id], tuple(steps.get((saga_id, "done"), ())), tuple(steps.get((saga_id, "undone"), ()))
        )
        for saga_id in wanted
    }


async def ledger_problems(connection: Connection) -> list[str]:
    """Say where a participant's totals disagree with its own entries, or where it has unfinished business."""
    problems = []
    [row] = await connection.fetch(LEDGER_SQL)
    if row["stock"] != row["held"]:
        problems.append(f"inventory has {row['stock']} units reserved in stock and {row['held']} in open reservations")
    if row["spent"] != row["charged"] - row["refunded"]:
        problems.append(
            f"payment's cards have spent {row['spent']} cents, its entries say {row['charged'] - row['refunded']}"
        )
    for name in PARTICIPANTS:
        for table, what in (("kit_outbox", "unsent replies"), ("kit_dead_letter", "dead letters")):
            count = await connection.fetchval(f'select count(*) from "{name}".{table}')  # noqa: S608
            if count:
                problems.append(f"{name} has {count} {what}")
    return problems
