"""A partition that the group gave us stays ours, whoever claims it by mistake; one that it took away does not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from coordinator.engine.cache import SagaCache
from coordinator.engine.ownership import RECLAIM_S, Ownership
from coordinator.errors import Unavailable
from coordinator.kafka import OffsetReset
from tests.simulation.database import Database
from tests.simulation.faults import RATES, Faults
from tests.simulation.process import Life
from tests.simulation.store import Link, SimulatedStore


class Clock:
    """Time that a test moves."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Inbox:
    """Partitions that end somewhere, and where it was told to go on."""

    end = 0

    def __init__(self) -> None:
        self.sought: list[tuple[int, int]] = []

    def seek(self, partition: int, offset: int) -> None:
        self.sought.append((partition, offset))

    async def commit(self, offsets: dict[int, int], timeout_s: float = 5.0) -> bool:
        return bool(offsets) or timeout_s > 0

    async def beginning_offsets(self, partitions: Sequence[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Sequence[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, self.end)


class Desk:
    """One process that owns partitions of a database that others use, too."""

    def __init__(self) -> None:
        chance = random.Random(1)
        self.database = Database(lambda: 0)
        self.store = SimulatedStore(Link(self.database, Faults(chance, without=RATES), chance), Life("me"))
        self.clock, self.inbox = Clock(), Inbox()
        inbox: Any = self.inbox
        self.ownership = Ownership(
            self.store, inbox, self.clock, SagaCache(), owner="me", cluster_id="c", sweep=self._sweep
        )
        self.swept: list[list[int]] = []

    async def _sweep(self, parts: Any) -> None:
        self.swept.append(sorted(parts))

    async def read(self, offset: int) -> None:
        """Own a partition that was read so far, and goes on a little."""
        await self.ownership.on_assigned({0})
        shard = self.database.shards[0]
        shard.first_offset = shard.next_offset = offset
        self.inbox.end = offset + 10
        await self.ownership.recover()

    async def lose(self, owner: str = "somebody late") -> None:
        """Let a claim arrive that is not due any more, and find out by a fence."""
        self.database.claim({0: 0}, owner, "c")
        await self.ownership.recover()


async def test_a_claim_that_came_late_is_undone() -> None:
    """The group still says that the partition is ours: after a while it is claimed again, swept and read."""
    desk = Desk()
    await desk.ownership.on_assigned({0})
    await desk.lose()
    assert desk.ownership.owned == {}
    await desk.ownership.reclaim()
    assert desk.ownership.owned == {}
    desk.clock.now += RECLAIM_S
    await desk.ownership.reclaim()
    assert desk.ownership.owned[0].epoch == 3
    assert (desk.database.shards[0].owner, desk.swept[-1], desk.inbox.sought[-1]) == ("me", [0], (0, 0))


async def test_a_claim_of_our_own_that_came_late_is_undone() -> None:
    """A claim that nobody heard of and that was repeated may arrive after its repetition: it is ours all the same."""
    desk = Desk()
    await desk.ownership.on_assigned({0})
    await desk.lose("me")
    desk.clock.now += RECLAIM_S
    await desk.ownership.reclaim()
    assert desk.ownership.owned[0].epoch == 3


async def test_what_the_group_took_away_is_not_taken_back() -> None:
    """Whoever has the partition now keeps it."""
    desk = Desk()
    await desk.ownership.on_assigned({0, 1})
    await desk.lose("the next owner")
    await desk.ownership.on_revoked({0, 1})
    await desk.ownership.on_assigned({1})
    desk.clock.now += RECLAIM_S
    await desk.ownership.reclaim()
    assert set(desk.ownership.owned) == {1}
    assert desk.database.shards[0].owner == "the next owner"


async def test_a_log_that_is_another_one_is_read_from_its_start_whatever_becomes_of_the_batch_in_hand() -> None:
    """Nobody hears of its commit, so the inbox is sent where Postgres stands; the reset comes after that and wins."""
    desk = Desk()
    await desk.read(27)
    marks = desk.ownership.marks()
    desk.ownership.on_reset(OffsetReset("replies", 0, 27, 3))
    desk.ownership.quiesce = desk.ownership.recover
    await desk.ownership.follow_resets()
    assert desk.inbox.sought[-1] == (0, 3)
    assert desk.database.shards[0].next_offset == desk.ownership.owned[0].next_offset == 3
    assert desk.ownership.unmoved(marks) == {}
    assert desk.ownership.rewinds == 1


async def test_a_reset_leaves_with_its_partition() -> None:
    """Its log has grown past the recorded offset: whoever has it next cannot see that it was cut."""
    desk = Desk()
    await desk.read(27)
    desk.ownership.on_reset(OffsetReset("replies", 0, 27, 0))
    await desk.ownership.on_revoked({0})
    assert desk.database.shards[0].next_offset == 0
    await desk.ownership.on_assigned({0})
    await desk.ownership.follow_resets()
    assert desk.inbox.sought[-1] == (0, 0)
    assert desk.ownership.rewinds == 1


@pytest.mark.parametrize("follow", [True, False])
async def test_a_reset_that_cannot_be_recorded_waits_until_its_partition_is_ours_again(
    monkeypatch: pytest.MonkeyPatch, *, follow: bool
) -> None:
    """Postgres is away while the partition leaves: nobody else knows that its log was cut."""
    desk = Desk()
    await desk.read(27)
    desk.ownership.on_reset(OffsetReset("replies", 0, 27, 0))
    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "rewind", _away)
        await desk.ownership.on_revoked({0})
    if follow:
        await desk.ownership.follow_resets()
    await desk.ownership.on_assigned({0})
    assert desk.inbox.sought[-1] == (0, 27)
    await desk.ownership.follow_resets()
    assert desk.inbox.sought[-1] == (0, 0)
    assert desk.database.shards[0].next_offset == 0
    await desk.ownership.follow_resets()
    assert desk.ownership.rewinds == 1


@pytest.mark.parametrize("in_hand", [True, False])
async def test_a_reset_of_a_partition_that_was_claimed_meanwhile_waits(*, in_hand: bool) -> None:
    """A batch in hand finds it out, or the rewind itself; nothing is moved until the partition is ours again."""
    desk = Desk()
    await desk.read(27)
    desk.ownership.on_reset(OffsetReset("replies", 0, 27, 0))
    if in_hand:
        desk.ownership.quiesce = desk.lose
    else:
        desk.database.claim({0: 0}, "somebody late", "c")
    await desk.ownership.follow_resets()
    assert desk.ownership.owned == {}
    assert desk.database.shards[0].next_offset == 27
    desk.ownership.quiesce = desk.ownership.recover
    desk.clock.now += RECLAIM_S
    await desk.ownership.reclaim()
    await desk.ownership.follow_resets()
    assert desk.database.shards[0].next_offset == desk.ownership.owned[0].next_offset == 0
    assert desk.inbox.sought[-1] == (0, 0)


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_reset_whose_recording_nobody_heard_of_is_recorded_again(
    monkeypatch: pytest.MonkeyPatch, *, leaves: bool
) -> None:
    """Postgres has it, in an epoch that we do not know: the partition is claimed anew, and read from its start."""
    desk = Desk()
    await desk.read(27)
    desk.ownership.on_reset(OffsetReset("replies", 0, 27, 0))
    rewind = desk.store.rewind

    async def unheard(rewinds: Any) -> Any:
        await rewind(rewinds)
        raise Unavailable("by the test")

    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "rewind", unheard)
        if leaves:
            await desk.ownership.on_revoked({0})
        else:
            with pytest.raises(Unavailable):
                await desk.ownership.follow_resets()
    if leaves:
        await desk.ownership.on_assigned({0})
    else:
        await desk.ownership.follow_resets()
        assert desk.ownership.owned == {}
        desk.clock.now += RECLAIM_S
        await desk.ownership.reclaim()
    await desk.ownership.follow_resets()
    assert desk.ownership.owned[0].epoch == desk.database.shards[0].epoch
    assert desk.database.shards[0].next_offset == desk.ownership.owned[0].next_offset == 0
    assert desk.inbox.sought[-1] == (0, 0)


async def test_a_cut_that_a_claim_has_found_is_not_forgotten_because_postgres_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the claim is tried again, the log has grown past the recorded offset."""
    desk = Desk()
    await desk.read(27)
    await desk.ownership.on_revoked({0})
    desk.inbox.end = 10
    rewind = desk.store.rewind

    async def once(_: object) -> Any:
        desk.inbox.end = 40
        monkeypatch.setattr(desk.store, "rewind", rewind)
        raise Unavailable("by the test")

    monkeypatch.setattr(desk.store, "rewind", once)
    await desk.ownership.on_assigned({0})
    await desk.ownership.follow_resets()
    assert desk.database.shards[0].next_offset == 0
    assert desk.inbox.sought[-1] == (0, 0)


async def test_two_who_were_told_the_same_do_not_fight_all_the_time() -> None:
    """Where somebody claims it again and again (two groups on one database), each taking back waits longer."""
    desk = Desk()
    await desk.ownership.on_assigned({0})
    waits = []
    for _ in range(7):
        await desk.lose()
        began = desk.clock.now
        while not desk.ownership.owned:
            desk.clock.now += 1
            await desk.ownership.reclaim()
        waits.append(desk.clock.now - began)
    assert waits == [3, 6, 12, 24, 48, 60, 60]


class Slow:
    """Lets the first claim arrive when it is told to, or, `heard_late`, be heard of only then."""

    def __init__(self, desk: Desk, *, heard_late: bool) -> None:
        self.go, self.asked = asyncio.Event(), asyncio.Event()
        self._claim = desk.store.claim
        self._heard_late = heard_late

    async def claim(self, *arguments: Any) -> Any:
        if self.asked.is_set():
            return await self._claim(*arguments)
        self.asked.set()
        if self._heard_late:
            claims = await self._claim(*arguments)
            await self.go.wait()
            return claims
        await self.go.wait()
        return await self._claim(*arguments)


async def _taking_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, heard_late: bool = False
) -> tuple[Slow, asyncio.Task[None]]:
    """Begin to take a partition back, as far as the claim, which is on its way."""
    await desk.ownership.on_assigned({0})
    await desk.lose()
    desk.clock.now += RECLAIM_S
    slow = Slow(desk, heard_late=heard_late)
    monkeypatch.setattr(desk.store, "claim", slow.claim)
    taking = asyncio.create_task(desk.ownership.reclaim())
    await slow.asked.wait()
    return slow, taking


async def test_what_is_taken_away_while_it_is_taken_back_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group has spoken in the meantime: the claim comes to nothing, and the next owner takes its partition back."""
    desk = Desk()
    slow, taking = await _taking_back(desk, monkeypatch)
    await desk.ownership.on_revoked({0})
    slow.go.set()
    await taking
    assert desk.ownership.owned == {}


async def test_what_is_given_anew_while_it_is_taken_back_is_claimed_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two claims of ours never cross: what we hold is the epoch that the database has."""
    desk = Desk()
    slow, taking = await _taking_back(desk, monkeypatch, heard_late=True)
    await desk.ownership.on_revoked({0})
    given = asyncio.create_task(desk.ownership.on_assigned({0}))
    await asyncio.wait([given], timeout=0.2)  # it must wait for the claim before, or would be overtaken by its answer
    slow.go.set()
    await asyncio.gather(taking, given)
    assert desk.ownership.owned[0].epoch == desk.database.shards[0].epoch


async def test_taking_back_waits_for_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    """While Postgres is away nothing is forgotten."""
    desk = Desk()
    await desk.ownership.on_assigned({0})
    await desk.lose()
    desk.clock.now += RECLAIM_S
    monkeypatch.setattr(desk.store, "claim", _away)
    with pytest.raises(Unavailable):
        await desk.ownership.reclaim()
    monkeypatch.undo()
    await desk.ownership.reclaim()
    assert set(desk.ownership.owned) == {0}


async def _away(*_: object) -> Any:
    raise Unavailable("by the test")
