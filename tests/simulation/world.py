"""Everything of one run: the database, the broker, coordinators that come and go, participants, and those who ask.

The parts of a coordinator are production's own: the engine with its worker, relay, sweeper, timers and ownership, the
recovery worker, and the service behind the API.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, cast

import msgspec

from coordinator.engine.engine import Engine, EngineParts
from coordinator.engine.flow import Flow
from coordinator.engine.observer import Observer
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.errors import SagaError, Unavailable
from coordinator.observability.metrics import Metrics
from coordinator.services.recovery import Recovery
from coordinator.services.sagas import SagaService
from coordinator.settings import FlowSettings
from coordinator.store.reads import SagaReads
from tests.simulation import definitions as drawn
from tests.simulation.broker import CLUSTER, Broker, Group, Kept
from tests.simulation.dancing import DANCE, DANCE_ID, Onlooker, Performers, Stagehand, topics
from tests.simulation.database import Database
from tests.simulation.explaining import Explanations
from tests.simulation.faults import Faults
from tests.simulation.kafka import SimulatedBus, SimulatedInbox
from tests.simulation.participants import Participant
from tests.simulation.process import Life
from tests.simulation.store import Link, SimulatedReads, SimulatedStore
from tests.simulation.watching import Watch

EPOCH_MS = 1_700_000_000_000
PREFIX = "t."
REMEMBERED_S = 30.0  # how long a process may go by what the clock has said, stopped meanwhile or cut off


class Size(msgspec.Struct, frozen=True):
    """How large a run is: chosen by its seed, within bounds."""

    coordinators: int
    partitions: int
    command_partitions: int
    sagas: int
    dances: int
    definitions: int
    in_flight_max: int
    breaker_timeouts: int

    @classmethod
    def drawn(cls, chance: random.Random, sagas: int) -> Size:
        """Draw a size; `sagas` is how many there are on average."""
        partitions = chance.choice((1, 2, 3, 4, 8, 12))
        return cls(
            coordinators=chance.choice((1, 2, 2, 3, 5)),
            partitions=partitions,
            command_partitions=chance.choice((1, 2, partitions)),
            sagas=chance.randint(sagas // 2, sagas * 3 // 2),
            dances=chance.choice((0, 0, sagas // 5)),
            definitions=chance.randint(1, 3),
            in_flight_max=chance.choice((0, 0, 0, 5)),
            breaker_timeouts=chance.choice((0, 20, 5)),
        )


class Time:
    """`engine.ports.Clock` of one process."""

    def __init__(self, life: Life, offset_s: float) -> None:
        self._life = life
        self._offset_s = offset_s

    def monotonic(self) -> float:
        """Seconds that only go forward; each process counts from another moment."""
        return asyncio.get_running_loop().time() + self._offset_s

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
        await self._life.cross()


class Dice:
    """`engine.ports.Chance` from a seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def roll(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()

    def bits(self, count: int) -> int:
        """So many bits."""
        return self._random.getrandbits(count)


class World:
    """The shared part of a run, and how to make the rest."""

    def __init__(self, seed: int, sagas: int, without: Collection[str] = ()) -> None:
        self.seed = seed
        self.chance = random.Random(f"{seed}/world")
        self.size = size = Size.drawn(self.chance, sagas)
        self.faults = Faults(random.Random(f"{seed}/faults"), without)
        self.definitions = drawn.draw(self.chance, size.definitions)
        self.versions = (*self.definitions, drawn.second(random.Random(f"{seed}/versions"), self.definitions[0]))
        self.by_id = dict(enumerate(self.versions, 1))
        commands = {f"{PREFIX}{name}.commands": size.command_partitions for name in drawn.PARTICIPANTS}
        counts = {f"{PREFIX}replies": size.partitions, f"{PREFIX}events": 1, f"{PREFIX}dlq": 1, **commands}
        counts |= topics(PREFIX, size.command_partitions) if size.dances else {}
        self.topology = Topology(PREFIX, counts)
        self._skews: list[tuple[float, int]] = [(0.0, 0)]  # by how much the database's clock is off, and since when
        self.replies_lost = False
        self.database = Database(self.now_ms)
        self.link = Link(self.database, self.faults, random.Random(f"{seed}/link"))
        self.broker = Broker(counts, self.faults, random.Random(f"{seed}/broker"))
        self.group = Group(self.broker, size.partitions)
        self.event_groups = {
            topic: Group(self.broker, count) for topic, count in topics(PREFIX, size.command_partitions).items()
        }
        self.performers = Performers(self.topology, self.broker, self.faults, random.Random(f"{seed}/performers"))
        self.stagehand = Stagehand(self.database, random.Random(f"{seed}/stagehand"), self._onlooker)
        self.watch = Watch(self.by_id)
        self.explanations = Explanations(self.by_id, self.topology.replies, self.latest_ms, self._unread)
        self.participants = [
            Participant(
                *(name, self.topology.commands(name), self.broker, self.faults),
                random.Random(f"{seed}/{name}"),
                self.now_ms,
            )
            for name in drawn.PARTICIPANTS
        ]
        self.coordinators: dict[int, Coordinator] = {}
        self.incarnations = 0
        self.broken: BaseException | None = None
        self.stopped = asyncio.Event()
        self.on_boot: Callable[[str], None] = lambda name: None
        self.database.watch = self._guard(self.watch.committed_batch, self.explanations.committed_batch)
        self.broker.watch = self._guard(self.watch.stored, self.explanations.stored)

    def now_ms(self) -> int:
        """The database's clock."""
        return self._steady_ms() + self._skews[-1][1]

    def latest_ms(self) -> int:
        """The latest that the database's clock can have said to anybody who still goes by it."""
        now_s, skews = asyncio.get_running_loop().time(), self._skews
        until = [since_s for since_s, _ in skews[1:]] + [now_s]
        return self._steady_ms() + max(
            skew for end_s, (_, skew) in zip(until, skews, strict=True) if now_s - end_s < REMEMBERED_S
        )

    def jump(self, skew_ms: int) -> None:
        """Let the database's clock be off by so much from now on."""
        self._skews.append((asyncio.get_running_loop().time(), skew_ms))

    def lose_tail(self, topic: str) -> None:
        """Let the broker forget the newest records of a partition."""
        self.replies_lost |= topic == self.topology.replies
        self.broker.lose_tail(topic)

    def _steady_ms(self) -> int:
        return EPOCH_MS + int(asyncio.get_running_loop().time() * 1000)

    def _unread(self, part: int) -> Sequence[tuple[int, Kept]]:
        """What a partition has still to read, with when it was stored; nothing where offsets or clocks went back."""
        if self.replies_lost or len(self._skews) > 1:
            return ()
        unread = self.broker.logs[self.topology.replies, part][self.database.shards[part].next_offset :]
        return [(EPOCH_MS + record.timestamp, record) for record in unread]

    def boot(self, place: int) -> Coordinator:
        """Start a coordinator in a place that has none."""
        self.incarnations += 1
        coordinator = self.coordinators[place] = Coordinator(self, f"c{place}.{self.incarnations}")
        self.on_boot(coordinator.life.name)
        self.spawn(coordinator.run(), coordinator.life)
        return coordinator

    def spawn(self, work: Coroutine[Any, Any, Any], life: Life | None = None) -> asyncio.Task[Any]:
        """Run something; what goes wrong in it that must not ends the run."""
        task = asyncio.get_running_loop().create_task(work)
        if life is not None:
            life.tasks.append(task)
        task.add_done_callback(self._look_at)
        return task

    def _onlooker(self) -> tuple[Onlooker, Life] | None:
        living = [one for _, one in sorted(self.coordinators.items()) if not one.life.dead and one.onlooker is not None]
        chosen = self.chance.choice(living) if living else None
        return None if chosen is None or chosen.onlooker is None else (chosen.onlooker, chosen.life)

    def fail(self, error: BaseException) -> None:
        """End the run because of an error; the first one counts."""
        self.broken = self.broken or error
        self.stopped.set()

    def _look_at(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def _guard(self, *checks: Callable[[Any], None]) -> Callable[[Any], None]:
        """Let a broken invariant end the run, and not be taken for a fault by whoever runs into it."""

        def checked(value: Any) -> None:
            try:
                for check in checks:
                    check(value)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what the run has found
                self.fail(error)

        return checked


class Coordinator:
    """One incarnation of a coordinator process."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        size, seed = world.size, f"{world.seed}/{name}"
        self.life = Life(name)
        self.store = SimulatedStore(world.link, self.life)
        bus = SimulatedBus(world.broker, self.life)
        clock, chance = Time(self.life, random.Random(seed).uniform(0, 1e6)), Dice(seed)
        registry = Registry(world.versions, drawn.RECOVERY)
        registry.bind({(one.name, one.version): number for number, one in world.by_id.items()})
        self._flow = flow = Flow(
            FlowSettings(
                in_flight_max=size.in_flight_max, breaker_timeouts=size.breaker_timeouts, breaker_pause_seconds=2
            ),
            registry.participants,
        )
        self.metrics = metrics = Metrics()
        topic = world.topology.replies
        inbox = SimulatedInbox(
            world.broker,
            world.group,
            topic,
            self.life,
            lambda reset: self.engine.ownership.on_reset(reset),  # noqa: PLW0108 - there is none yet
        )
        parts = EngineParts(
            owner=name,
            cluster_id=CLUSTER,
            registry=registry,
            topology=world.topology,
            metrics=metrics,
            lifecycle=None,
            flow=flow,
            log_transitions=False,
            recovery=drawn.RECOVERY,
        )
        self.engine = Engine(self.store, bus, inbox, clock, chance, parts)
        self._recovery = Recovery(
            *(self.store, bus, world.topology, registry, metrics),  # type: ignore[arg-type]  # it fetches by name
            lambda: self.engine.ownership.owned,
            drawn.RECOVERY,
        )
        names = {DANCE_ID: DANCE.name, **{number: one.name for number, one in world.by_id.items()}}
        reads = SimulatedReads(self.store, world.database, names)
        self.service = SagaService(
            *(self.store, reads, self.engine.relay, registry, world.topology),  # type: ignore[arg-type]
            *(clock, self.engine.now, chance),
            Observer(metrics, clock, None, log_transitions=False),
            flow,
        )
        self.onlooker: Onlooker | None = None
        if size.dances:
            self.onlooker = Onlooker(
                *(world.broker, world.event_groups, world.topology, self.life, self.store),
                cast("SagaReads", reads),
                (bus, metrics, clock, self.engine.now, chance),
            )
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until it is killed, or gives up."""
        beside = [
            self._world.spawn(self._recovery.run(self._stopping), self.life),
            self._world.spawn(self.service.run(self._stopping), self.life),
        ]
        if self.onlooker is not None:
            beside.append(self._world.spawn(self.onlooker.observer.run(self._stopping), self.life))
        try:
            while True:
                try:
                    await self.engine.start()
                    break
                except Unavailable:
                    await asyncio.sleep(0.3)
                    await self.life.cross()
            await self.engine.run()
        except SagaError:
            self.life.kill()  # it ends with an exit code, and is started again
        self._stopping.set()
        await asyncio.wait(beside)
        self.life.kill()

    def in_hand(self) -> int:
        """How much it has on its way, or thinks it has: messages, and actions of participants that are limited."""
        states = self._flow.states() if self._flow.counts_slots else []
        return len(self.engine.relay.known()) + self.engine.relay.in_flight + sum(state.in_flight for state in states)

    def stop(self) -> None:
        """Ask it to end in order."""
        self.engine.stop()
