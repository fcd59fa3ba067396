"""Who owns which partition of the reply topic, and from where each goes on.

    group assigns -> claim (new epoch in Postgres) -> sweep the outbox -> seek -> open
    group revokes -> finish the batch -> close, remembering the epoch
    fence lost    -> give it up; after a while, if the group still says that it is ours, claim it again

The epoch is the fence: every batch names it, and a batch of an owner that was superseded writes nothing. A
partition that comes back with its epoch unchanged was nobody else's meanwhile, so its sagas stay in memory.
The offset in Postgres moves in the same statement as the effects, so it is the place to go on from; Kafka's own
committed offset only feeds lag displays.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from coordinator.engine.cache import SagaCache
from coordinator.engine.ports import Clock, Inbox, Store
from coordinator.errors import Unavailable
from coordinator.kafka.records import OffsetReset
from coordinator.store.batch import Fence

log = structlog.get_logger()

RETRY_S = 0.5  # between attempts to claim while Postgres or Kafka is away
RECLAIM_S = 3.0  # before a partition is taken back: whoever took it may be about to hear that it is not theirs
RECLAIM_MAX_S = 60.0  # where that happens again and again: another installation works on this database, too


class Owned:
    """A partition that is ours; `seeks` counts how often it was read anew from `next_offset`."""

    __slots__ = ("epoch", "next_offset", "part", "seeks")

    def __init__(self, part: int, epoch: int, next_offset: int) -> None:
        self.part = part
        self.epoch = epoch
        self.next_offset = next_offset
        self.seeks = 0


Marks = Mapping[int, tuple[Owned, int]]
"""How the partitions stood when records were polled. Records of a partition that was given up or read anew since come
again: taking the old copies would pass over those before them."""


class EventDebts(Protocol):
    """Who remembers which lifecycle events may be missing on Kafka; see engine.lifecycle."""

    def claimed(self, marks: Mapping[int, int]) -> None:
        """Partitions became ours; what came after their marks is owed."""
        ...

    def unsure(self, parts: Iterable[int]) -> None:
        """A batch of these partitions may have been committed without our hearing of it."""
        ...

    def gave_up(self, parts: Iterable[int]) -> None:
        """Partitions are not ours any more."""
        ...


class Ownership:
    """The partitions of this process; listens to the group's assignments.

    `turn` is held by whoever works on sagas, and `quiesce` waits for a batch that is still being written: the
    partitions do not change under a batch.
    """

    def __init__(
        self,
        store: Store,
        inbox: Inbox,
        clock: Clock,
        cache: SagaCache,
        *,
        owner: str,
        cluster_id: str,
        sweep: Callable[[Iterable[int]], Awaitable[None]],
        events: EventDebts | None = None,
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._clock = clock
        self._cache = cache
        self._sweep = sweep
        self._events = events
        self.owner = owner
        self.cluster_id = cluster_id
        self.turn = asyncio.Lock()
        self.owned: dict[int, Owned] = {}
        self._parked: dict[int, Owned] = {}
        self._given: set[int] = set()  # what the group says is ours
        self._lost: dict[int, float] = {}  # when to take back what somebody else has claimed all the same
        self._losses: Counter[int] = Counter()  # how often that was so since the group spoke last
        self._taking = asyncio.Lock()  # two claims of ours at once could not be told apart
        self.quiesce: Callable[[], Awaitable[None]] = _nothing_in_hand
        self._resets: dict[int, int] = {}
        self.assignments = 0
        self.rewinds = 0
        self.fences_lost = 0

    async def on_assigned(self, partitions: set[int]) -> None:
        """Claim partitions that the group gave us; returns when they may be read."""
        self.assignments += 1
        self._given = set(partitions)
        log.info("partitions_assigned", partitions=sorted(partitions), owner=self.owner)
        while True:
            try:
                async with self._taking:
                    await self._take(partitions)
            except Unavailable as error:
                log.warning("claim_postponed", reason=str(error))
                await self._clock.sleep(RETRY_S)
            else:
                return

    async def on_revoked(self, partitions: set[int]) -> None:
        """Close partitions after the batch in hand; their sagas stay in memory in case they come back."""
        async with self.turn:
            await self.quiesce()
            self._given -= partitions
            self._lost.clear()
            self._losses.clear()
            try:
                await self._move_back(self._reset_of(partitions & self.owned.keys()))
            except Unavailable as error:
                log.warning("reset_postponed", reason=str(error))
            leaving = {part: self.owned.pop(part) for part in partitions if part in self.owned}
            self._parked.update(leaving)
            if self._events is not None:
                self._events.gave_up(leaving)
        log.info("partitions_revoked", partitions=sorted(partitions), owner=self.owner)
        await self._inbox.commit({part: owned.next_offset for part, owned in leaving.items()}, timeout_s=2.0)

    async def reclaim(self) -> None:
        """Take back what was claimed by somebody who is not its owner: the group's word counts. Raises Unavailable.

        A claim that was on its way when its partition was given to us may arrive after ours, or come from a process
        that has stood still since; then nobody would work on the partition until the next rebalance.
        """
        if not self._lost:
            return
        async with self._taking:
            now = self._clock.monotonic()
            due = {part for part, at in self._lost.items() if at <= now} & self._given
            if due:
                log.warning("partitions_taken_back", partitions=sorted(due), owner=self.owner, alert=True)
                await self._take(due)
                for part in due:
                    self._lost.pop(part, None)

    def marks(self) -> Marks:
        """How the partitions stand now."""
        return {part: (owned, owned.seeks) for part, owned in self.owned.items()}

    def unmoved(self, marks: Marks) -> dict[int, int]:
        """The next offsets of the partitions that are still ours and were not read anew since `marks`."""
        return {
            part: owned.next_offset
            for part, (owned, seeks) in marks.items()
            if self.owned.get(part) is owned and owned.seeks == seeks
        }

    def on_reset(self, reset: OffsetReset) -> None:
        """The inbox goes on at another offset, because the one that we wanted is not in the log."""
        log.error("offset_outside_of_log", partition=reset.partition, offset=reset.asked, alert=True)
        self._resets[reset.partition] = reset.earliest

    async def follow_resets(self) -> None:
        """Let the recorded offsets go where the inbox went, before records from there are taken for old ones.

        A reset of a partition that is not ours (any more) waits until it is: whoever has it meanwhile need not know.
        """
        if self._resets.keys().isdisjoint(self.owned):
            return
        async with self.turn:
            await self.quiesce()
            moved = await self._move_back(self._reset_of(self.owned))
            for owned in moved:
                # The batch in hand may have failed since, or a claim come: both send the inbox where Postgres stood.
                self._seek(owned)
            if self._reset_of(self.owned):
                await self.recover()  # somebody has claimed them: their resets wait

    def fence(self, part: int, next_offset: int, verdicts: list[int]) -> Fence:
        """What the batch statement must find for a partition, and what it moves it to."""
        owned = self.owned[part]
        return Fence(part, owned.epoch, self.owner, owned.next_offset, next_offset, *verdicts)

    def advance(self, fences: Iterable[Fence]) -> None:
        """A batch is committed: go on behind it."""
        for fence in fences:
            owned = self.owned.get(fence.part)
            if owned is not None and owned.epoch == fence.epoch:
                owned.next_offset = fence.next_offset

    async def recover(self) -> None:
        """Find out where Postgres stands after a batch whose outcome is unknown or that the fence refused.

        Waits for Postgres. Partitions that are still ours go on from the recorded offset with an empty memory;
        what a committed batch left in the outbox is swept. The others are given up. Only the batch worker calls this.
        """
        while self.owned:
            try:
                await self._reconcile()
            except Unavailable as error:
                log.warning("recovery_postponed", reason=str(error))
                await self._clock.sleep(RETRY_S)
            else:
                return

    async def _reconcile(self) -> None:
        shards = {shard.part: shard for shard in await self._store.shards(list(self.owned))}
        self._cache.evict_parts(set(self.owned))
        if self._events is not None:
            self._events.unsure(self.owned)
        for part, owned in list(self.owned.items()):
            shard = shards.get(part)
            if shard is None or shard.epoch != owned.epoch or shard.owner != self.owner:
                del self.owned[part]
                if self._events is not None:
                    self._events.gave_up([part])
                self.fences_lost += 1
                pause_s = min(RECLAIM_S * 2 ** min(self._losses[part], 10), RECLAIM_MAX_S)
                self._lost[part] = self._clock.monotonic() + pause_s
                self._losses[part] += 1
                log.warning("partition_lost", partition=part, epoch=owned.epoch, owner=shard and shard.owner)
                continue
            owned.next_offset = shard.next_offset
            self._seek(owned)
        await self._sweep(list(self.owned))

    async def _take(self, partitions: set[int]) -> None:
        kept = await self._unchanged(partitions)
        firsts = await self._inbox.beginning_offsets(sorted(partitions))
        claimed = set(partitions) - set(kept)
        taken = dict(kept)
        if claimed:
            self._cache.evict_parts(claimed)
            claims = await self._store.claim(
                {part: firsts[part] for part in sorted(claimed)}, self.owner, self.cluster_id
            )
            taken |= {claim.part: Owned(claim.part, claim.epoch, claim.next_offset) for claim in claims}
            if self._events is not None:
                self._events.claimed({claim.part: claim.events_through_ms for claim in claims})
        # Asked after the claim: until then the owner before us may have moved the offset past an earlier answer.
        await self._rewind(taken, firsts, await self._inbox.end_offsets(sorted(partitions)))
        await self._sweep(sorted(claimed))
        async with self.turn:
            await self.quiesce()
            if self._events is not None:
                self._events.gave_up(taken.keys() - self._given)
            for part, owned in taken.items():
                if part not in self._given:  # the group has taken it away meanwhile
                    continue
                self._parked.pop(part, None)
                self.owned[part] = owned
                self._seek(owned)
        log.info("partitions_owned", partitions=sorted(taken), kept=sorted(kept), owner=self.owner)

    async def _unchanged(self, partitions: set[int]) -> dict[int, Owned]:
        candidates = {part: self._parked[part] for part in partitions if part in self._parked}
        if not candidates:
            return {}
        shards = await self._store.shards(list(candidates))
        return {
            shard.part: candidates[shard.part]
            for shard in shards
            if shard.owner == self.owner
            and (shard.epoch, shard.next_offset) == (candidates[shard.part].epoch, candidates[shard.part].next_offset)
        }

    async def _rewind(self, taken: dict[int, Owned], firsts: dict[int, int], ends: dict[int, int]) -> None:
        """An offset outside of the log (it was cut, or made anew): read again from the first record."""
        outside = [owned for part, owned in taken.items() if not firsts[part] <= owned.next_offset <= ends[part]]
        if not outside:
            return
        for owned in outside:
            log.error("offset_outside_of_log", partition=owned.part, offset=owned.next_offset, alert=True)
            self._resets[owned.part] = firsts[owned.part]  # the log may have grown past it when this is tried again
        await self._move_back([(owned, firsts[owned.part]) for owned in outside])

    def _reset_of(self, parts: Iterable[int]) -> list[tuple[Owned, int]]:
        """Which of these partitions of ours are to be read again, and from where."""
        return [(self.owned[part], self._resets[part]) for part in parts if part in self._resets]

    async def _move_back(self, places: Sequence[tuple[Owned, int]]) -> list[Owned]:
        """Record that partitions are read again from an offset; answers those that are ours still.

        It is another epoch: a batch of before that is still on its way would find its offset again, once that was read.
        """
        if not places:
            return []
        epochs = await self._store.rewind([(owned.part, owned.epoch, offset) for owned, offset in places])
        moved = [(owned, offset) for owned, offset in places if owned.part in epochs]
        for owned, offset in moved:
            owned.epoch, owned.next_offset = epochs[owned.part], offset
            self._resets.pop(owned.part, None)
        self.rewinds += len(moved)
        return [owned for owned, _ in moved]

    def _seek(self, owned: Owned) -> None:
        owned.seeks += 1
        try:
            self._inbox.seek(owned.part, owned.next_offset)
        except ValueError:
            # The group has taken the partition meanwhile; on_revoked follows.
            log.info("seek_after_revocation", partition=owned.part)


async def _nothing_in_hand() -> None:
    """What there is to wait for before a worker is there."""
