"""Money is conserved at every committed moment, whatever fails and whoever dies."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import pytest

from deploy.local.stack import LocalStack
from tests.e2e.transfers import KINDS, PARTICIPANTS, Looks, Transfer, looking, mixed
from tests.e2e.world import Coordinator, World
from tests.needs import need_real_kafka

TRANSFERS = 150
SLOW_S = 1.5  # how late the ledger answers for one of the accounts, so that money is on hold when the kill comes
ENDED = "status IN ('completed', 'failed')"


@pytest.fixture(scope="module")
async def world(stack: LocalStack) -> AsyncIterator[World]:
    """Give the participants of transfers, each of which says everything twice."""
    need_real_kafka(stack, "static members, several of a group")
    world = World(stack, definitions="tests.e2e.transfers:definitions")
    try:
        await world.open(PARTICIPANTS)
        for participant in PARTICIPANTS:
            await world.fault(participant, "duplicate", copies=2)
        await world.fault("ledger", "slow", command="RecordTransfer", match="acc-bob", seconds=SLOW_S)
        yield world
    finally:
        await world.close()


def launch(world: World, number: int) -> Coordinator:
    """Start the coordinator, each time as the same member of its group."""
    return world.launch(f"coordinator-{number}", SAGA_KAFKA__INSTANCE_ID=f"{world.prefix}member")


async def silence(world: World, transfers: Sequence[Transfer]) -> None:
    """Let participants that are to be silent about a transfer be silent about it."""
    for transfer in transfers:
        if transfer.kind.silent is not None:
            participant, command = transfer.kind.silent
            await world.fault(participant, "silent", command=command, match=transfer.key, times=transfer.kind.times)


async def ask_for(world: World, transfers: Sequence[Transfer]) -> None:
    """Ask for transfers over Kafka, which takes them whether or not a coordinator runs."""
    by_definition = defaultdict(list)
    for transfer in transfers:
        by_definition[transfer.kind.definition].append(transfer.input)
    for definition, wanted in by_definition.items():
        await world.request_starts(wanted, definition)


@pytest.mark.timeout(300)
async def test_money_is_conserved_at_every_committed_moment(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """150 transfers, most of which meet a failure, and a SIGKILL in their middle: each look finds the same money.

    Afterwards every transfer has ended as its kind does, no money is on hold, and the balances have changed by what
    the ledger has recorded.
    """
    transfers = list(mixed(TRANSFERS))
    await silence(world, transfers)
    half = TRANSFERS // 2
    async with looking(world) as looks:
        first = await world.rows("SELECT account_id, balance_minor FROM accounts.accounts")
        coordinator = launch(world, 1)
        await ask_for(world, transfers[:half])
        await world.until(f"SELECT count(*) >= {len(KINDS)} FROM saga WHERE {ENDED}", within_s=60)  # noqa: S608
        await coordinator.kill()
        running = await world.value(f"SELECT count(*) FROM saga WHERE NOT ({ENDED})")  # noqa: S608
        await ask_for(world, transfers[half:])
        await look_again(looks)  # while nobody coordinates
        await launch(world, 2).ready()
        await world.until(f"SELECT count(*) = {TRANSFERS} FROM saga WHERE {ENDED}", within_s=120)  # noqa: S608
        await world.rest()
    with capsys.disabled():
        print(f"\nlooks: {looks.count}, with money on hold: {looks.held}; running at the kill: {running}")  # noqa: T201
    assert not looks.wrong
    assert running > 0
    assert looks.held > 10
    await assert_ends(world, transfers)
    await assert_books_agree(world, {row["account_id"]: row["balance_minor"] for row in first})


async def assert_ends(world: World, transfers: Sequence[Transfer]) -> None:
    """Each transfer ended as its kind does; money reached its destination, and was announced, once each."""
    rows = await world.rows("SELECT business_key, status FROM saga")
    assert {row["business_key"]: row["status"] for row in rows} == {each.key: each.kind.ends for each in transfers}
    completed = sorted(each.key for each in transfers if each.kind.ends == "completed")
    for query in (
        "SELECT transfer_id AS key FROM accounts.effects WHERE command = 'CreditAccount' ORDER BY key",
        "SELECT about AS key FROM notification.mails ORDER BY key",
    ):
        assert sorted(row["key"] for row in await world.rows(query)) == completed
    assert await world.value("SELECT sum(duplicate) FROM shard") >= TRANSFERS


async def assert_books_agree(world: World, first: dict[str, int]) -> None:
    """No hold is open, and each account has changed by what the ledger has recorded for it."""
    assert await world.value("SELECT count(*) FROM accounts.holds WHERE ending IS NULL") == 0
    recorded = await world.rows("SELECT account_id, sum(change_minor)::bigint AS sum FROM ledger.postings GROUP BY 1")
    ledger = {row["account_id"]: row["sum"] for row in recorded}
    last = await world.rows("SELECT account_id, balance_minor FROM accounts.accounts")
    changed = {row["account_id"]: row["balance_minor"] - first[row["account_id"]] for row in last}
    assert changed == {account: ledger.get(account, 0) for account in first}
    assert changed["acc-ann"] == -changed["acc-bob"] != 0


async def test_a_cent_that_is_missing_for_a_moment_is_seen(world: World) -> None:
    """The looks above can fail: a cent that goes and comes back is noticed."""
    take = "UPDATE accounts.accounts SET balance_minor = balance_minor + $1 WHERE account_id = 'acc-ann'"
    async with looking(world) as looks:
        await look_again(looks)
        await world.rows(take, -1)
        await look_again(looks)
        await world.rows(take, 1)
    assert looks.wrong.keys() == {"the sum of all money", "what an account began with"}


async def look_again(looks: Looks) -> None:
    """Wait for some whole looks."""
    before = looks.count
    async with asyncio.timeout(10):
        while looks.count < before + 5:  # noqa: ASYNC110 - looks are about what others commit
            await asyncio.sleep(0.01)
