"""Transfers of every kind in one mix, and somebody who looks at all the money while they run.

BankTransfer   as it ships
HastyX         step X times out at once when it is not answered, the others are patient
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg

from coordinator.saga.definition import Retry, SagaDefinition, minutes, seconds
from sagas.bank_transfer import bank_transfer
from tests.e2e.world import World

PARTICIPANTS = ("accounts", "ledger", "notification")
HASTY_S = 0.5
LOOK_S = 0.01  # between two looks at all the money

# Balances with what left them for holds, and without what came from holds, are those of the beginning.
MONEY_SQL = "SELECT currency, on_accounts + on_hold FROM accounts.money"
HELD_SQL = "SELECT coalesce(sum(on_hold), 0)::bigint FROM accounts.money"
ORIGIN_SQL = """
SELECT account_id, (balance_minor
    + (SELECT coalesce(sum(amount_minor), 0) FROM accounts.holds AS h
       WHERE h.account_id = a.account_id AND ending IS DISTINCT FROM 'returned')
    - (SELECT coalesce(sum(amount_minor), 0) FROM accounts.holds AS h WHERE h.credited_to = a.account_id))::bigint
FROM accounts.accounts AS a
"""
UNBALANCED_SQL = (
    "SELECT count(*) FROM (SELECT FROM ledger.postings GROUP BY entry_id HAVING sum(change_minor) <> 0) AS e"
)


def _hasty(name: str, step: str) -> SagaDefinition:
    quick = Retry(attempts=2, base=seconds(0.02), cap=seconds(0.1))
    patient = Retry(attempts=20, base=seconds(0.02), cap=seconds(0.1))
    steps = tuple(
        replace(
            one,
            timeout=seconds(HASTY_S),
            compensation_timeout=minutes(5),
            retry=quick if one.compensation else patient,  # a pivot that nobody answers would need a person
        )
        if one.name == step
        else one
        for one in bank_transfer.steps
    )
    return replace(bank_transfer, name=name, steps=steps)


definitions = (
    bank_transfer,
    _hasty("HastyDebit", "debit_source"),
    _hasty("HastyRecord", "record_transfer"),
    _hasty("HastyCredit", "credit_destination"),
)


@dataclass(frozen=True)
class Kind:
    """Transfers of one kind: how they differ, how they end, and the participant that never answers (so often)."""

    ends: str
    changes: dict[str, Any] = field(default_factory=dict)
    definition: str = bank_transfer.name
    silent: tuple[str, str] | None = None
    times: int | None = None


GOOD = Kind("completed")
KINDS = (
    GOOD,
    Kind("failed", {"destination_account": "acc-closed"}),
    Kind("completed", {"source_account": "acc-bob", "destination_account": "acc-ann"}),
    Kind("failed", {"source_account": "acc-poor", "amount_minor": 90_000}),
    Kind("failed", {"source_account": "acc-test-a", "destination_account": "acc-test-b", "currency": "XTS"}),
    Kind("failed", {}, "HastyDebit", ("accounts", "DebitAccount")),
    Kind("failed", {}, "HastyRecord", ("ledger", "RecordTransfer")),
    Kind("completed", {}, "HastyCredit", ("accounts", "CreditAccount"), times=1),
    Kind("completed", {"source_account": "acc-bob", "destination_account": "acc-ann"}),
    GOOD,
)


@dataclass(frozen=True)
class Transfer:
    """One transfer as it is asked for, and its kind."""

    kind: Kind
    input: dict[str, Any]

    @property
    def key(self) -> str:
        """The business key."""
        return str(self.input["transfer_id"])


def mixed(count: int) -> Iterator[Transfer]:
    """Make transfers of all kinds in turn."""
    run = secrets.token_hex(3)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        good = {
            "transfer_id": f"transfer-{run}-{number}",
            "source_account": "acc-ann",
            "destination_account": "acc-bob",
            "amount_minor": 1_000 + number,
            "currency": "EUR",
            "source_email": "ann@example.com",
            "destination_email": "bob@example.com",
        }
        yield Transfer(kind, good | kind.changes)


@dataclass
class Looks:
    """What was seen of the money: how often, how often with some of it on hold, and what was wrong."""

    count: int = 0
    held: int = 0
    wrong: Counter[str] = field(default_factory=Counter)


@contextlib.asynccontextmanager
async def looking(world: World, every_s: float = LOOK_S) -> AsyncIterator[Looks]:
    """Look at all the money over and over, each time at one moment; fails where a look itself fails."""
    looks, enough = Looks(), asyncio.Event()
    connection = await asyncpg.connect(world.url)
    task = asyncio.create_task(_look(connection, looks, enough, every_s))
    try:
        yield looks
    finally:
        enough.set()
        try:
            await task
        finally:
            await connection.close()


async def _look(
    connection: asyncpg.Connection[asyncpg.Record], looks: Looks, enough: asyncio.Event, every_s: float
) -> None:
    first: dict[str, list[asyncpg.Record]] = {}
    while True:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            seen = {
                "the sum of all money": await connection.fetch(f"{MONEY_SQL} ORDER BY currency"),
                "what an account began with": await connection.fetch(f"{ORIGIN_SQL} ORDER BY account_id"),
                "entries that do not add up": await connection.fetch(UNBALANCED_SQL),
            }
            looks.held += bool(await connection.fetchval(HELD_SQL))
        looks.count += 1
        first = first or seen
        looks.wrong.update(what for what, rows in seen.items() if rows != first[what])
        if enough.is_set():
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), every_s)
