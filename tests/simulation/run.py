"""One seed, one run, one digest: a time with faults, then one in which everything works and all must come to rest."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import itertools
import logging
import random
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec
import structlog

from coordinator.errors import SagaError
from tests.simulation.asking import Asking
from tests.simulation.dancing import hanging
from tests.simulation.database import Database
from tests.simulation.loop import VirtualLoop
from tests.simulation.participants import Ledgers
from tests.simulation.resting import problems
from tests.simulation.transcript import Transcript
from tests.simulation.watching import TERMINAL, Violation
from tests.simulation.world import Coordinator, World

SAGAS = 100  # of a run, on average
FAULTY_S = 25.0
REST_S = 240.0  # everything must have come to rest so long after the last fault
OWNED_S = 120.0  # somebody who takes a partition back may wait for a minute, where it was taken again and again
HANDLED_S = 5.0
IN_HAND_S = 90.0  # a slot of which nothing was heard is doubted after half a minute
LOOK_S = 1.0
PROBE_S = 0.2


class Outcome(msgspec.Struct, frozen=True):
    """What a run did; `violation` is None where nothing was found."""

    seed: int
    digest: str
    sagas: int
    transitions: int
    faults: dict[str, int]
    statuses: dict[str, int]
    rested_s: float
    violation: str | None


def run(seed: int, sagas: int = SAGAS, without: Collection[str] = (), transcript: Transcript | None = None) -> Outcome:
    """Run a seed; `without` leaves faults out by name, `transcript` takes down what happens."""
    with _quiet():
        return _played(seed, sagas, without, transcript)


def _played(seed: int, sagas: int, without: Collection[str], transcript: Transcript | None) -> Outcome:
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        played = _Run(seed, sagas, without)
        loop.set_exception_handler(lambda _, context: _overheard(played.world, context))
        if transcript is not None:
            transcript.follow(played.world)
        return loop.run_until_complete(played.play())
    finally:
        loop.set_exception_handler(lambda *_: None)
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # those of killed processes never end
        loop.close()
        asyncio.set_event_loop(None)


def _overheard(world: World, context: dict[str, Any]) -> None:
    """A task has failed that nobody waits for: a refusal to whoever has gone meanwhile is no failure."""
    error = context.get("exception")
    if error is not None and not isinstance(error, SagaError):
        world.fail(error)


class _Run:
    def __init__(self, seed: int, sagas: int, without: Collection[str]) -> None:
        self._seed = seed
        self.world = World(seed, sagas, without)
        self._chance = random.Random(f"{seed}/run")
        self._asking = Asking(self.world, FAULTY_S * 0.8)

    async def play(self) -> Outcome:
        """Play the run to its end."""
        world = self.world
        for place in range(world.size.coordinators):
            world.boot(place)
        for work in (
            world.group.run(),
            world.group.look_after(),
            self._supervise(),
            self._asking.operate(),
            self._asking.answer(),
        ):
            world.spawn(work)
        for participant in world.participants:
            world.spawn(participant.run())
        if world.size.dances:
            self._dance()
        self._asking.begin()
        self._plan()
        await self._pass(FAULTY_S)
        world.faults.heal()
        self._asking.release()
        rested_s = await self._rest()
        await self._probe()
        await self._rest()  # who had asked for something long ago may have got it only now
        return self._outcome(rested_s)

    def _dance(self) -> None:
        world = self.world
        for group in world.event_groups.values():
            world.spawn(group.run())
            world.spawn(group.look_after())
        world.spawn(world.performers.run())
        world.spawn(world.stagehand.run(world.spawn))
        world.performers.begin(world.size.dances, FAULTY_S * 0.8)

    async def _pass(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.world.stopped.wait()

    def _plan(self) -> None:
        """Plan what happens once a while."""
        world, chance, loop = self.world, self._chance, asyncio.get_running_loop()

        # Who has said something says it no more: of events nothing is lost.
        losing = sorted(topic for topic in world.topology.counts if not topic.endswith(".events"))

        def at(name: str, happen: object) -> None:
            for moment in world.faults.moments(name, FAULTY_S):
                loop.call_later(moment, self._happen, name, happen)

        at("kill", lambda: self._someone().life.kill())  # noqa: PLW0108 - chosen when it happens
        at("stop", lambda: self._someone().stop())
        at("pause", lambda: self._someone().life.pause(loop.time() + chance.choice((0.5, 4.0, 8.0))))
        at("rebalance", world.group.unsettle)
        for group in world.event_groups.values():
            at("rebalance", group.unsettle)
        at("tail_lost", lambda: world.lose_tail(chance.choice(losing)))
        at("database_away", lambda: setattr(world.link, "away_until", loop.time() + chance.uniform(0.1, 6)))
        at("broker_away", lambda: setattr(world.broker, "away_until", loop.time() + chance.uniform(0.1, 6)))
        at("database_clock", lambda: world.jump(chance.randint(-20_000, 20_000)))
        for one in world.participants:
            at("participant_away", lambda one=one: setattr(one, "away_until", loop.time() + chance.uniform(0.5, 8)))

    def _happen(self, name: str, happen: object) -> None:
        assert callable(happen)
        if not self.world.faults.healed:
            self.world.faults.count(name)
            happen()

    def _someone(self) -> Coordinator:
        return self._chance.choice([one for _, one in sorted(self.world.coordinators.items())])

    async def _supervise(self) -> None:
        """Start again what has ended."""
        while True:
            await asyncio.sleep(self._chance.uniform(0.1, 1.5))
            for place, coordinator in sorted(self.world.coordinators.items()):
                if coordinator.life.dead:
                    self.world.boot(place)

    async def _rest(self) -> float:
        """Wait until nothing is left to do; answers how long that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self.world.stopped.is_set() and loop.time() - began < REST_S and not self._rests():
            await self._pass(LOOK_S)
        return loop.time() - began

    async def _probe(self) -> None:
        """See that somebody works on each partition, and that nothing there stands in the way of anything else."""

        def is_read() -> bool:
            return not self._unread()

        self._asking.probe(with_junk=False)
        if not await self._comes(is_read, OWNED_S):
            self.world.fail(Violation(f"I20 each partition has an owner that works: {self._unread()} wait"))
        await self._rest()
        if not self._rests():
            return  # what is wrong is told by what is left
        self._asking.probe(with_junk=True)
        if not await self._comes(is_read, HANDLED_S):
            self.world.fail(Violation(f"I19 what is bad keeps nobody waiting: {self._unread()} wait"))
        if not await self._comes(lambda: not self._in_hand(), IN_HAND_S):
            self.world.fail(Violation(f"I30 nothing is kept that is done: {self._in_hand()} in hand"))

    async def _comes(self, is_so: Callable[[], bool], within_s: float) -> bool:
        """Whether something comes true in time, or the run is over for another reason."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + within_s
        while not is_so() and loop.time() < until_s and not self.world.stopped.is_set():
            await self._pass(PROBE_S)
        return is_so() or self.world.stopped.is_set()

    def _in_hand(self) -> dict[str, int]:
        """What each process still has in hand, although there is nothing left to do."""
        living = [one for one in self.world.coordinators.values() if not one.life.dead]
        return {one.life.name: count for one in living if (count := one.in_hand())}

    def _unread(self) -> list[int]:
        """The partitions of the reply topic of which something is still to be read."""
        replies, shards = self.world.topology.replies, self.world.database.shards
        return [
            part
            for (topic, part), log in self.world.broker.logs.items()
            if topic == replies and (part not in shards or shards[part].next_offset != len(log))
        ]

    def _rests(self) -> bool:
        world, database = self.world, self.world.database
        if database.outbox or any(row.status not in (*TERMINAL, "suspended") for row in database.sagas.values()):
            return False
        if any(status != _ended(database, key) for key, status in world.performers.expected.items()):
            return False
        due = any(letter.next_try_ms is not None for letter in database.letters)
        return not self._unread() and not due and all(participant.is_idle() for participant in world.participants)

    def _outcome(self, rested_s: float) -> Outcome:
        world = self.world
        found = world.broken
        if found is None:
            seen = self._asking.seen | world.stagehand.seen
            sentences = itertools.chain(
                hanging(world.database, world.performers.expected),
                problems(
                    *(world.database, world.broker, Ledgers(world.participants), world.watch, world.by_id),
                    *(self._asking.acknowledged, seen, world.topology.replies),
                ),
            )
            found = next(map(Violation, sentences), None)
        statuses: dict[str, int] = {}
        for row in world.database.sagas.values():
            statuses[str(row.status)] = statuses.get(str(row.status), 0) + 1
        return Outcome(
            *(self._seed, self._digest(), len(world.database.sagas), world.watch.transitions),
            *(dict(sorted(world.faults.counts.items())), dict(sorted(statuses.items())), round(rested_s, 1)),
            None if found is None else f"{type(found).__name__}: {found}",
        )

    def _digest(self) -> str:
        """What the run came to, down to the bytes of every row and record."""
        digest = hashlib.sha256()
        for saga_id, row in self.world.database.sagas.items():
            digest.update(f"{saga_id} {row.version} {row.status} ".encode() + row.state)
        for record in self.world.broker.stored:
            digest.update(f"{record.topic} {record.partition} {record.offset} ".encode() + (record.value or b""))
        return digest.hexdigest()[:16]


def _ended(database: Database, key: str) -> str | None:
    """How a dance stands; None while nothing is known of it."""
    taken = database.keys.get(("Dance", key))
    return None if taken is None else str(database.sagas[taken[0]].status)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No lines of the log, and nothing said of tasks that are thrown away: the run says what it has found."""
    before, hook, collecting = structlog.get_config(), sys.unraisablehook, gc.isenabled()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    sys.unraisablehook = lambda _: None
    gc.disable()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
            gc.collect()
    finally:
        if collecting:
            gc.enable()
        sys.unraisablehook = hook
        structlog.configure(**before)
