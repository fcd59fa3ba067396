"""The inside of an observer as tests hold it: a real Postgres, and Kafka's side scripted."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from coordinator.choreography.choreographies import Choreographies
from coordinator.choreography.deciding import Recorder
from coordinator.choreography.reading import Arrival, EventArrival, read
from coordinator.choreography.timers import ObservedTimers, Offsets
from coordinator.engine.clock import DatabaseClock
from coordinator.errors import Unavailable
from coordinator.kafka.batches import Published
from coordinator.kafka.records import Outgoing
from coordinator.observability.metrics import Metrics
from coordinator.parts import SystemChance, SystemClock
from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.definition import seconds
from coordinator.store.batch import Batch
from coordinator.store.postgres import Committed, PostgresStore, SagaRow
from coordinator.store.replicas import Replicas
from coordinator.wire.cloudevents import message_headers
from sagas.order_choreography import order_choreography

GOOD = ("OrderCreated", "InventoryReserved", "PaymentProcessed", "ShipmentCreated", "OrderFulfilled")
HASTY = ChoreographyDefinition(
    "Hasty",
    1,
    tuple(event if event.ends else replace(event, within=seconds(0.001)) for event in order_choreography.events),
)
CHOREOGRAPHIES = Choreographies((order_choreography, HASTY))
_numbers = itertools.count(1)


class Record(msgspec.Struct):
    """A Kafka record."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int = 0


class ScriptedBus:
    """Kafka for what is published; `away` makes every publication fail, `refuses` says why none will ever work."""

    def __init__(self) -> None:
        self.away = False
        self.refuses: str | None = None
        self.sent: list[Outgoing] = []

    @property
    def healthy(self) -> bool:
        return not self.away

    async def publish(self, messages: Sequence[Outgoing]) -> Published:
        tokens = [message.token for message in messages]
        if self.away:
            return Published([], tokens, [], "no broker")
        if self.refuses is not None:
            return Published([], [], [(token, self.refuses) for token in tokens], None)
        self.sent += messages
        return Published(tokens, [], [], None)

    async def rebuild(self) -> None: ...


class DeafStore(PostgresStore):
    """A store whose next commit happens without its answer being heard: at once, or only when a saga is read again."""

    deaf = False
    late = False
    _delayed: Batch | None = None

    async def load(self, saga_ids: Sequence[str]) -> list[SagaRow]:
        if self._delayed is not None:
            delayed, self._delayed = self._delayed, None
            await super().commit(delayed)
        return await super().load(saga_ids)

    async def commit(self, batch: Batch) -> Committed:
        if self.late:
            self.late, self._delayed = False, batch
            raise Unavailable("the connection went away")
        committed = await super().commit(batch)
        if self.deaf:
            self.deaf = False
            raise Unavailable("the connection went away")
        return committed


class Watch:
    """An observer's inside, with the topics' ends and the group's offsets as a test says them."""

    def __init__(self, store: DeafStore, choreographies: Choreographies = CHOREOGRAPHIES) -> None:
        self.store = store
        self.bus = ScriptedBus()
        self.choreographies = choreographies
        self.ends: Offsets = {}
        self.read: Offsets = {}
        self.metrics = Metrics()
        now = DatabaseClock(SystemClock())
        self.recorder = Recorder(
            *(store, choreographies, self.metrics, SystemClock(), now, SystemChance(), "cluster"), log_transitions=True
        )
        self.timers = ObservedTimers(store, self.bus, choreographies, self.recorder, self._ends, self._read)

    async def know_the_time(self) -> None:
        """Read the database's clock."""
        self.recorder.now.observe(await self.store.now_ms())

    async def take_in(self, *arrivals: Arrival) -> None:
        """Take in arrivals."""
        await self.recorder.take_in(arrivals, "topic")

    async def fire(self) -> int:
        """Let one pass of the timers happen, at the database's present time."""
        await self.know_the_time()
        return await self.timers.fire()

    def verdicts(self, verdict: str) -> float | None:
        """How many records got a verdict."""
        return self.metrics.registry.get_sample_value("saga_records_total", {"verdict": verdict})

    async def _ends(self) -> Offsets:
        return self.ends

    async def _read(self) -> Offsets:
        return self.read


async def registered_ids(store: PostgresStore) -> dict[tuple[str, int], int]:
    """Make the choreographies known to the database; answers their ids."""
    return (await Replicas(store, "test").register(CHOREOGRAPHIES.contents)).ids


def event(type_: str, key: str, definition: ChoreographyDefinition = order_choreography) -> EventArrival:
    """Read an event of an order as the observer of one choreography does."""
    source = definition.by_type[type_].source
    value = msgspec.json.encode({"order_id": key, "said": type_})
    headers = message_headers(type_, f"{key}:{type_}", source, key, 0)
    record = Record(f"{source}.events", 0, next(_numbers), key.encode(), value, headers)
    arrivals, _ = read([(0, [record])], source, record.topic, CHOREOGRAPHIES)
    [found] = [each for each in arrivals if isinstance(each, EventArrival) and each.definition is definition]
    return found


def new_key() -> str:
    """Name a new order."""
    return f"order-{secrets.token_hex(6)}"


async def saga(plain: Any, key: str) -> Any:
    """Look at the row of an order's saga."""
    return await plain.fetchrow("SELECT * FROM saga WHERE business_key = $1", key)


async def log_of(plain: Any, key: str) -> list[tuple[int, str]]:
    """Look at the versions and events of an order's log."""
    rows = await plain.fetch(
        "SELECT l.version, l.step_name FROM saga_log AS l JOIN saga AS s ON s.id = l.saga_id"
        " WHERE s.business_key = $1 ORDER BY l.version",
        key,
    )
    return [tuple(row) for row in rows]
