"""A Kafka of the run: partitions with offsets, and a group whose members come, go, stall and come back as zombies.

What it does not do is bytes: records are values. What it does do is what hurts: it stores and does not say so, it
stores twice, it loses the end of a partition that it had acknowledged, and it gives a partition to somebody else while
its old owner still works on it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from tests.simulation.faults import Faults

SESSION_S = 3.0  # a member that is not heard of for so long is out of the group
REBALANCE_S = 6.0  # how long the others wait for one that should give its partitions back
CLUSTER = "simulated"


class Kept(msgspec.Struct, frozen=True):
    """One record as it is stored; it is a `kafka.records.Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Unplaced(msgspec.Struct, frozen=True):
    """A record that is to be stored."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Member(Protocol):
    """One consumer in a group."""

    async def give_back(self) -> bool:
        """Let all partitions go; False when it did not answer in time."""
        ...

    def take(self, generation: int, partitions: set[int]) -> None:
        """These are yours."""
        ...

    @property
    def answers(self) -> bool:
        """Whether its heartbeats come."""
        ...


class Broker:
    """Topics, and the group of the coordinators; `watch` hears of every record that is stored."""

    def __init__(self, counts: dict[str, int], faults: Faults, chance: random.Random) -> None:
        self.faults = faults
        self.chance = chance
        self.logs: dict[tuple[str, int], list[Kept]] = {
            (topic, partition): [] for topic, count in counts.items() for partition in range(count)
        }
        self.cuts: Counter[tuple[str, int]] = Counter()  # each costs its readers their connection
        self.away_until = 0.0
        self.watch: Callable[[Kept], None] = lambda record: None
        self.stored: list[Kept] = []  # everything that was ever stored, also what was lost again
        self.arrived: dict[str, asyncio.Event] = {topic: asyncio.Event() for topic in counts}

    @property
    def is_away(self) -> bool:
        """Whether nobody reaches it now."""
        return asyncio.get_running_loop().time() < self.away_until

    def delay_s(self) -> float:
        """How long a request or an answer takes."""
        if self.faults.happens("broker_slow"):
            return self.chance.uniform(0.05, 2.0)
        return self.chance.uniform(0.001, 0.015)

    def store(self, records: Sequence[Unplaced]) -> None:
        """Append records to their partitions."""
        now_ms = int(asyncio.get_running_loop().time() * 1000)
        for one in records:
            log = self.logs[one.topic, one.partition]
            kept = Kept(one.topic, one.partition, len(log), now_ms, one.key, one.value, one.headers)
            log.append(kept)
            self.stored.append(kept)
            self.watch(kept)
            self.arrived[one.topic].set()

    def lose_tail(self, topic: str) -> None:
        """Forget the newest records of one partition, as a broker does that was not asked to flush."""
        partitions = sorted(key for key, log in self.logs.items() if key[0] == topic and log)
        if partitions:
            place = self.chance.choice(partitions)
            log = self.logs[place]
            self.cuts[place] += 1
            del log[-self.chance.randint(1, min(5, len(log))) :]


class Group:
    """The group that reads the reply topic; eager: each rebalance takes all partitions from all."""

    def __init__(self, broker: Broker, partitions: int) -> None:
        self._broker = broker
        self._partitions = partitions
        self._members: list[Member] = []
        self._changed = asyncio.Event()
        self.generation = 0
        self.offsets: dict[int, int] = {}

    def join(self, member: Member) -> None:
        """Ask for partitions."""
        if member not in self._members:
            self._members.append(member)
        self._changed.set()

    def leave(self, member: Member) -> None:
        """Go."""
        if member in self._members:
            self._members.remove(member)
            self._changed.set()

    def has(self, member: Member) -> bool:
        """Whether the group still counts somebody in."""
        return member in self._members

    def unsettle(self) -> None:
        """Rebalance for no reason that anybody could see."""
        self._changed.set()

    async def run(self) -> None:
        """Coordinate for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._broker.is_away:
                await asyncio.sleep(0.25)
            await self._rebalance()

    async def look_after(self) -> None:
        """Put out whoever is not heard of, for ever."""
        silent: dict[int, float] = {}
        while True:
            await asyncio.sleep(0.5)
            now = asyncio.get_running_loop().time()
            for member in list(self._members):
                if member.answers:
                    silent.pop(id(member), None)
                elif now - silent.setdefault(id(member), now) >= SESSION_S:
                    silent.pop(id(member), None)
                    self.leave(member)

    async def _rebalance(self) -> None:
        self.generation += 1
        members = list(self._members)
        answers = await asyncio.gather(*(self._given_back(member) for member in members))
        for member, has_answered in zip(members, answers, strict=True):
            if not has_answered and member in self._members:
                self._members.remove(member)
        if self._changed.is_set():
            return
        left = list(range(self._partitions))
        self._broker.chance.shuffle(left)
        for place, member in enumerate(self._members):
            member.take(self.generation, set(left[place :: len(self._members)]))

    async def _given_back(self, member: Member) -> bool:
        try:
            async with asyncio.timeout(REBALANCE_S):
                return await member.give_back()
        except TimeoutError:
            return False
