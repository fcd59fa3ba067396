"""A choreographed saga in the run: performers react to each other's events, the observer of each coordinator looks on.

    Asked (shop) -> Done (depot) -> Told (shop)
        '---------> Refused (depot)

An event that a performer lost is made up for when an operator has the event before it published again.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Mapping

from coordinator.choreography.choreographies import OBSERVED_PART, Choreographies
from coordinator.choreography.deciding import Recorder
from coordinator.choreography.observer import ChoreographyObserver, EventTopic, warn_of_reset
from coordinator.choreography.replaying import Replays
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.ports import Bus, Chance, Clock
from coordinator.engine.topology import Topology
from coordinator.errors import SagaError
from coordinator.observability.metrics import Metrics
from coordinator.saga.choreography import ChoreographyDefinition, ExpectedEvent
from coordinator.saga.definition import seconds
from coordinator.saga.model import SagaStatus
from coordinator.store.reads import SagaReads
from coordinator.wire.cloudevents import message_headers
from tests.simulation.broker import CLUSTER, Broker, Group, Kept, Unplaced
from tests.simulation.database import Database
from tests.simulation.faults import Faults
from tests.simulation.kafka import SimulatedInbox
from tests.simulation.process import Life
from tests.simulation.store import SimulatedStore

WITHIN = seconds(3)
DANCE = ChoreographyDefinition(
    "Dance",
    version=1,
    correlation="key",
    events=(
        ExpectedEvent("Asked", source="shop", then=("Done", "Refused"), within=WITHIN),
        ExpectedEvent("Done", source="depot", then=("Told",), within=WITHIN),
        ExpectedEvent("Refused", source="depot", ends=SagaStatus.FAILED),
        ExpectedEvent("Told", source="shop", ends=SagaStatus.COMPLETED),
    ),
)
DANCE_ID = 1_000
SOURCES = ("depot", "shop")
POLL_S = 0.3
REPLAY_S = 2.0


def topics(prefix: str, partitions: int) -> dict[str, int]:
    """The topics of events."""
    return {f"{prefix}{source}.events": partitions for source in SOURCES}


class Performers:
    """Those who say what happens; what they have said they say once, unless they lost it."""

    def __init__(self, topology: Topology, broker: Broker, faults: Faults, chance: random.Random) -> None:
        self._topology = topology
        self._broker = broker
        self._faults = faults
        self._chance = chance
        self._said: set[tuple[str, str]] = set()
        self._reached = {
            key: 0 for key in sorted(broker.logs) if key[0].endswith(".events") and key[0] != topology.events
        }
        self.expected: dict[str, str] = {}

    def begin(self, count: int, within_s: float) -> None:
        """Plan so many dances."""
        for number in range(count):
            key = f"d{number}"
            self.expected[key] = "failed" if number % 4 == 0 else "completed"
            asyncio.get_running_loop().call_later(self._chance.uniform(0, within_s), self._say, "Asked", key)

    async def run(self) -> None:
        """React for ever."""
        while True:
            for place, at in self._reached.items():
                log = self._broker.logs[place]
                self._reached[place] = len(log)
                for record in log[at:]:
                    self._react(record)
            await asyncio.sleep(self._chance.uniform(0.01, POLL_S))

    def _react(self, record: Kept) -> None:
        kind = next((value or b"").decode() for name, value in record.headers if name == "ce_type")
        key = json.loads(record.value or b"{}")["key"]
        if kind == "Asked":
            self._say("Refused" if self.expected[key] == "failed" else "Done", key)
        elif kind == "Done":
            self._say("Told", key)

    def _say(self, kind: str, key: str) -> None:
        first = kind == "Asked"
        if (kind, key) in self._said or (not first and self._faults.happens("event_lost")):
            return
        self._said.add((kind, key))
        delay_s = self._chance.uniform(0.001, 0.05)
        if not first and self._faults.happens("event_late"):
            delay_s = self._chance.uniform(1, 6)
        loop = asyncio.get_running_loop()
        loop.call_later(delay_s, self._place, kind, key)
        if self._faults.happens("event_twice"):
            loop.call_later(delay_s + self._chance.uniform(0, 3), self._place, kind, key)

    def _place(self, kind: str, key: str) -> None:
        if self._broker.is_away:
            asyncio.get_running_loop().call_later(0.2, self._place, kind, key)
            return
        source = "depot" if kind in ("Done", "Refused") else "shop"
        topic = self._topology.domain_events(source)
        headers = message_headers(kind, f"{key}:{kind}", source, key, 0)
        partition = int(key[1:]) % self._topology.counts[topic]
        self._broker.store(
            [Unplaced(topic, partition, key.encode(), json.dumps({"key": key}).encode(), tuple(headers))]
        )


class Onlooker:
    """What one coordinator process has of choreographies: its observer, and the verb of the API."""

    def __init__(
        self,
        broker: Broker,
        groups: Mapping[str, Group],
        topology: Topology,
        life: Life,
        store: SimulatedStore,
        reads: SagaReads,
        parts: tuple[Bus, Metrics, Clock, DatabaseClock, Chance],
    ) -> None:
        bus, metrics, clock, now, chance = parts
        choreographies = Choreographies([DANCE])
        choreographies.bind({("Dance", 1): DANCE_ID})
        followed = []
        for source in SOURCES:
            topic = topology.domain_events(source)
            inbox = SimulatedInbox(broker, groups[topic], topic, life, warn_of_reset)
            followed.append(EventTopic(source, topic, topology.counts[topic], inbox))  # type: ignore[arg-type]
        recorder = Recorder(store, choreographies, metrics, clock, now, chance, CLUSTER)
        self.observer = ChoreographyObserver(store, bus, followed, choreographies, recorder, metrics, clock)
        self._replays = Replays(store, reads, choreographies, clock)

    async def replay(self, saga_id: str, version: int, reason: str) -> None:
        """Have the last good event of a saga published again, if that is possible."""
        try:
            await self._replays.replay(saga_id, version, "ann", reason)
        except SagaError:
            return


class Stagehand:
    """Whoever looks after dances that hang, for as long as the run lasts."""

    def __init__(
        self, database: Database, chance: random.Random, somebody: Callable[[], tuple[Onlooker, Life] | None]
    ) -> None:
        self._database = database
        self._chance = chance
        self._somebody = somebody
        self.seen: dict[str, int] = {}

    async def run(self, spawn: Callable[..., object]) -> None:
        """Replay what is suspended, now and then, for ever."""
        while True:
            await asyncio.sleep(self._chance.uniform(0.5, REPLAY_S))
            for row in list(self._database.sagas.values()):
                if row.part != OBSERVED_PART or row.status != "suspended":
                    continue
                found = self._somebody()
                if found is not None:
                    reason = f"replay {self._chance.randrange(10**12)}"
                    self.seen[reason] = row.version
                    spawn(found[0].replay(row.id, row.version, reason), found[1])


def hanging(database: Database, expected: Mapping[str, str]) -> Iterator[str]:
    """Sentences about dances that did not come to what was danced."""
    for key, status in expected.items():
        taken = database.keys.get(("Dance", key))
        if taken is None:
            yield f"I1 what happened is on record: the dance {key} is not"
        elif database.sagas[taken[0]].status != status:
            yield f"I4 every dance ends as it was danced: {taken[0]} is {database.sagas[taken[0]].status}, not {status}"
