"""Many transfers and trips at once, on two processes of a participant: sums hold, and nothing locks up."""

from __future__ import annotations

import asyncio
import itertools
import random

import asyncpg
import pytest

from coordinator.wire.messages import CompensationCompleted, CompensationFailed, StepCompleted
from deploy.local.processes import Child
from deploy.local.stack import LocalStack
from tests.integration.participants.exchange import Step
from tests.integration.participants.office import COMMAND_PARTITIONS, Office
from tests.integration.participants.plans import account, plan

TRANSFERS = 400
AT_ONCE = 80
WAVES = 6
WAVE = 150
LOCKED = [f"acc-{number}" for number in range(12)]
OPEN_ACCOUNTS = "insert into accounts.accounts select id, id, 'EUR', 'open', 1000000000 from unnest($1::text[]) as id"
BALANCES = "select sum(balance_minor)::bigint from accounts.accounts"
HOLDS = "select coalesce(sum(amount_minor), 0)::bigint from accounts.holds where ending is null"
UNEVEN = """
    select entry_id from ledger.entries left join ledger.postings using (entry_id)
    group by entry_id having count(side) <> 2 or sum(change_minor) <> 0
"""


class Teller:
    """Carries out transfers as a coordinator would, with copies, undos that overtake, and changes of mind."""

    def __init__(self, office: Office, chance: random.Random, sources: list[str], destinations: list[str]) -> None:
        self.office = office
        self.chance = chance
        self.sources = sources
        self.destinations = destinations
        self.credited: list[Step] = []
        self.given_up: list[Step] = []
        self._places = asyncio.Semaphore(AT_ONCE)

    async def transfer(self) -> None:
        """Carry out one transfer to its end, which is a credit, or the undo of everything."""
        async with self._places:
            source, destination = self.chance.choice(self.sources), self.chance.choice(self.destinations)
            what = {"source_account": source, "destination_account": destination}
            debit = plan("DebitAccount", **what, amount_minor=self.chance.randrange(1, 200))
            record = plan("RecordTransfer", debit.saga_id, **debit.payload)
            if self.chance.random() < 0.1:
                await self.office.exchange.undo(debit, partition=self._anywhere())
            hold = await self._act(debit)
            if hold is not None and await self._act(record) is not None and self.chance.random() < 0.8:
                credit = plan("CreditAccount", debit.saga_id, **hold, destination_account=destination)
                if await self._act(credit) is not None:
                    self.credited.append(debit)
                    return
            await self._undo(record)
            await self._undo(debit)
            self.given_up.append(debit)

    async def _act(self, step: Step) -> dict[str, object] | None:
        copies = self.chance.choice([1, 1, 2])
        for attempt in range(copies):
            await self.office.exchange.act(step, attempt + 1, partition=self._anywhere())
        message = (await self.office.exchange.reply(step.action_id, copies, within_s=60)).message
        return dict(message.result) if isinstance(message, StepCompleted) else None

    async def _undo(self, step: Step) -> None:
        for attempt in itertools.count(1):
            await self.office.exchange.undo(step, attempt, partition=self._anywhere())
            message = (await self.office.exchange.replies(step.undo_id, attempt, within_s=60))[-1].message
            if isinstance(message, CompensationCompleted):
                return
            assert isinstance(message, CompensationFailed)
            assert message.error.retryable

    def _anywhere(self) -> int:
        return self.chance.randrange(COMMAND_PARTITIONS)


async def test_money_is_conserved(real_kafka: LocalStack, own_office: Office) -> None:
    """Balances and open holds add up to the same sum at every moment of a run in which credits fail and a process dies.

    At its end nothing is on hold, every entry of the ledger is even, and transfers that were given up left no trace.
    """
    office = own_office
    await office.open("accounts", "ledger")
    ledger = office.launch("ledger")
    children = await _two(office, "accounts")
    opened = [await account(office, 5_000) for _ in range(8)]
    closed = [await account(office, 0, status="closed"), await account(office, 0, "USD"), "acc-none"]
    teller = Teller(office, random.Random(7), [*opened, "acc-poor"], [*opened, *closed])
    over = asyncio.Event()
    watching = asyncio.create_task(_watch_money(office.url, over))
    running = asyncio.gather(*(teller.transfer() for _ in range(TRANSFERS)))
    await office.until("select count(*) >= 50 from accounts.effects where command = 'CreditAccount'")
    await asyncio.to_thread(children[1].kill)
    children[1] = office.launch("accounts", "--instance", "two")
    await running
    over.set()
    assert await watching > 0, "no look found money on hold"
    assert len(teller.credited) > 0 < len(teller.given_up)
    assert (await office.rows(HOLDS))[0][0] == 0
    assert await office.rows(UNEVEN) == []
    await _check_books(office, teller)
    await asyncio.gather(*(asyncio.to_thread(child.stop) for child in (*children, ledger)))


async def _check_books(office: Office, teller: Teller) -> None:
    """Hold the balances against the ledger: what it says has moved is what has."""
    traces = """
        select saga_id from ledger.entries join ledger.postings using (entry_id)
        where saga_id = any($1::text[]) group by saga_id, account_id having sum(change_minor) <> 0
    """
    assert await office.rows(traces, [debit.saga_id for debit in teller.given_up]) == []
    moved = await office.rows("select account_id, sum(change_minor)::bigint from ledger.postings group by account_id")
    changes = {row[0]: row[1] for row in moved}
    for row in await office.rows("select account_id, balance_minor from accounts.accounts where owner = 'somebody'"):
        opened_with = 5_000 if row["account_id"] in teller.sources else 0
        assert row["balance_minor"] == opened_with + changes.get(row["account_id"], 0)


async def _watch_money(url: str, over: asyncio.Event) -> int:
    """Add up the money in one snapshot after the other, and count those in which some was on hold."""
    connection = await asyncpg.connect(url)
    seen_on_hold = 0
    total: int | None = None
    while not over.is_set():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            balances, held = await connection.fetchval(BALANCES), await connection.fetchval(HOLDS)
        total = balances + held if total is None else total
        assert balances + held == total
        seen_on_hold += held > 0
    await connection.close()
    return seen_on_hold


@pytest.mark.parametrize("participant", ["accounts", "hotel", "flight", "car"])
async def test_overlapping_batches_never_lock_each_other(
    real_kafka: LocalStack, own_office: Office, participant: str
) -> None:
    """Two processes whose batches do and undo things with the same few rows never wait for each other in a circle."""
    office = own_office
    await office.open(participant)
    # Well below the participants' lock_timeout, which would end a circle before anybody calls it one.
    [database] = (await office.rows("select current_database()"))[0]
    await office.rows(f'alter database "{database}" set deadlock_timeout = 100')
    children = await _two(office, participant)
    if participant == "accounts":
        await office.rows(OPEN_ACCOUNTS, LOCKED)
    chance = random.Random(11)
    before: list[Step] = []
    for _ in range(WAVES):
        wave = [_wish(participant, chance) for _ in range(WAVE)]
        credits_ = [await _credit(office, one, chance) for one in before[::2] if participant == "accounts"]
        undone = before[1::2] if credits_ else before
        actions = chance.sample([*wave, *credits_], len(wave) + len(credits_))
        await asyncio.gather(
            *(office.exchange.act(one, partition=chance.randrange(COMMAND_PARTITIONS)) for one in actions),
            *(office.exchange.undo(one, partition=chance.randrange(COMMAND_PARTITIONS)) for one in undone),
        )
        for one in actions:
            message = (await office.exchange.reply(one.action_id)).message
            assert isinstance(message, StepCompleted), message
        for one in undone:
            assert isinstance((await office.exchange.reply(one.undo_id)).message, CompensationCompleted)
        before = wave
    await asyncio.gather(*(asyncio.to_thread(child.stop) for child in children))
    assert [child.name for child in children if "DeadlockDetectedError" in child.output()] == []
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    assert (await office.rows(deadlocks))[0][0] == 0


async def _credit(office: Office, debit: Step, chance: random.Random) -> Step:
    """Want the money of a debit that was done put on one of the accounts that are debited."""
    message = (await office.exchange.reply(debit.action_id)).message
    assert isinstance(message, StepCompleted)
    destination = chance.choice(LOCKED)
    return plan("CreditAccount", debit.saga_id, **message.result, destination_account=destination)


def _wish(participant: str, chance: random.Random) -> Step:
    """Want one of a few things that other wishes are about as well."""
    day = f"2031-06-{chance.randrange(1, 8):02}"
    if participant == "accounts":
        return plan("DebitAccount", source_account=chance.choice(LOCKED))
    if participant == "hotel":
        return plan("BookRoom", room=chance.choice(["single", "double"]), check_in=day, nights=chance.randrange(1, 8))
    if participant == "flight":
        return plan("BookSeat", flight=chance.choice(["SG100", "SG200"]))
    return plan("RentCar", car_class=chance.choice(["compact", "estate"]), pick_up=day, days=chance.randrange(1, 8))


async def _two(office: Office, participant: str) -> list[Child]:
    """Start two processes of a participant, and wait until they share its partitions."""
    children = [office.launch(participant), office.launch(participant, "--instance", "two")]
    for child in children:
        await asyncio.to_thread(child.wait_for_line, r'"partitions": \[\d, \d\]', timeout_s=30)
    return children
