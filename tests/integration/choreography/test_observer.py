"""Observing against a real Postgres, Kafka's side scripted: races, lost answers, bad values, deadlines, replays."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import msgspec
import pytest

from coordinator.choreography.choreographies import Choreographies
from coordinator.choreography.deciding import Recorder
from coordinator.choreography.reading import Arrival, EventArrival, read
from coordinator.choreography.replaying import Replays
from coordinator.choreography.timers import ObservedTimers, Offsets
from coordinator.engine.clock import DatabaseClock
from coordinator.errors import Unavailable
from coordinator.kafka.batches import Published
from coordinator.kafka.records import Outgoing
from coordinator.observability.metrics import Metrics
from coordinator.parts import SystemChance, SystemClock
from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.definition import seconds
from coordinator.services.verbs import VerbRefused
from coordinator.store.batch import Batch
from coordinator.store.migrations import migrate
from coordinator.store.postgres import Committed, PostgresStore
from coordinator.store.reads import SagaReads
from coordinator.store.replicas import Replicas
from coordinator.wire.cloudevents import message_headers
from deploy.local.stack import LocalStack
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
    """Kafka for what is published; `away` makes every publication fail."""

    def __init__(self) -> None:
        self.away = False
        self.sent: list[Outgoing] = []

    @property
    def healthy(self) -> bool:
        return not self.away

    async def publish(self, messages: Sequence[Outgoing]) -> Published:
        tokens = [message.token for message in messages]
        if self.away:
            return Published([], tokens, [], "no broker")
        self.sent += messages
        return Published(tokens, [], [], None)

    async def rebuild(self) -> None: ...


class DeafStore(PostgresStore):
    """A store whose next commit happens without its answer being heard."""

    deaf = False

    async def commit(self, batch: Batch) -> Committed:
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
        self.recorder = Recorder(store, choreographies, self.metrics, SystemClock(), now, SystemChance(), "cluster")
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


@pytest.fixture(scope="module")
async def database(stack: LocalStack) -> AsyncIterator[str]:
    """Give the URL of a database at the newest migration."""
    name = f"observer_{secrets.token_hex(4)}"
    url = await asyncio.to_thread(stack.create_database, name)
    await migrate(url)
    yield url
    await asyncio.to_thread(stack.postgres.drop_database, name)


@pytest.fixture
async def watch(database: str) -> AsyncIterator[Watch]:
    """Give an observer."""
    watch = Watch(DeafStore(database))
    await watch.store.start()
    CHOREOGRAPHIES.bind(await registered_ids(watch.store))
    await watch.know_the_time()
    yield watch
    await watch.store.stop()


@pytest.fixture
async def replays(watch: Watch, database: str) -> AsyncIterator[Replays]:
    """Give the verb `replay`."""
    reads = SagaReads(database, pool_max=2)
    yield Replays(watch.store, reads, CHOREOGRAPHIES, SystemClock())
    await reads.stop()


@pytest.fixture
async def plain(database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Give a connection to look at the tables with."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


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


async def test_one_statement_takes_in_a_whole_story(watch: Watch, plain: Any) -> None:
    """Events of one batch fold into one row that no engine will ever load, with an entry for each in the log."""
    key = new_key()
    await watch.take_in(*(event(type_, key) for type_ in GOOD))
    row = await saga(plain, key)
    assert (row["status"], row["version"], row["part"], row["wake_at"]) == ("completed", 5, -1, None)
    assert await log_of(plain, key) == list(enumerate(GOOD, 1))


async def test_an_answer_that_was_lost_changes_nothing(watch: Watch, plain: Any) -> None:
    """A commit whose answer was not heard is tried again, and finds that everything is there."""
    key = new_key()
    watch.store.deaf = True
    await watch.take_in(event("OrderCreated", key), event("InventoryReserved", key))
    watch.store.deaf = True
    await watch.take_in(event("PaymentProcessed", key))
    assert await log_of(plain, key) == list(enumerate(GOOD[:3], 1))


async def test_two_observers_of_the_same_records_agree(watch: Watch, database: str, plain: Any) -> None:
    """Whatever the order in which two processes take in the same records, each is in the log once."""
    other = Watch(DeafStore(database))
    await other.know_the_time()
    keys = [new_key() for _ in range(20)]
    arrivals = [event(type_, key) for key in keys for type_ in GOOD]
    dice = random.Random(5)

    async def observe(observer: Watch) -> None:
        mine = dice.sample(arrivals, len(arrivals))
        for start in range(0, len(mine), 7):
            await observer.take_in(*mine[start : start + 7])

    await asyncio.gather(observe(watch), observe(other))
    await other.store.stop()
    for key in keys:
        assert (await saga(plain, key))["status"] == "completed"
        entries = await log_of(plain, key)
        assert [version for version, _ in entries] == [1, 2, 3, 4, 5]
        assert sorted(name for _, name in entries) == sorted(GOOD)


async def test_what_postgres_refuses_is_set_aside_alone(watch: Watch, plain: Any) -> None:
    """A record that cannot be written becomes a dead letter; those beside it are written."""
    good, bad = [new_key() for _ in range(4)], new_key()
    arrivals = [event("OrderCreated", key) for key in (*good, bad)]
    arrivals[-1] = msgspec.structs.replace(arrivals[-1], traceparent='"')
    await watch.take_in(*arrivals)
    assert [(await saga(plain, key))["status"] for key in good] == ["started"] * 4
    assert await saga(plain, bad) is None
    letter = await plain.fetchrow("SELECT * FROM dead_letter WHERE key = $1", bad.encode())
    assert (letter["reason"], letter["value"]) == ("schema", arrivals[-1].record.value)


async def test_a_saga_of_an_unknown_version_loses_nothing(watch: Watch, plain: Any) -> None:
    """An event for a saga that this process cannot judge is set aside with its bytes."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key))
    stranger = Watch(watch.store, Choreographies((HASTY,)))
    stranger.choreographies.bind(await registered_ids(watch.store))
    late = event("InventoryReserved", key)
    await stranger.take_in(late)
    letter = await plain.fetchrow("SELECT * FROM dead_letter WHERE key = $1", key.encode())
    assert (letter["reason"], letter["value"]) == ("definition_unknown", late.record.value)
    assert (await saga(plain, key))["version"] == 1


async def test_an_archived_saga_is_not_begun_again(watch: Watch, plain: Any) -> None:
    """A key that outlived its saga says that the event comes too late."""
    key = new_key()
    await watch.take_in(event("OrderFailed", key))
    await plain.execute("DELETE FROM saga WHERE business_key = $1", key)
    await watch.take_in(event("OrderCreated", key))
    assert await saga(plain, key) is None
    assert watch.verdicts("stale") == 1


async def test_a_deadline_does_not_pass_while_we_are_behind(watch: Watch, plain: Any) -> None:
    """It passes when everything that was on the topics after it has been taken in, by whomever, and then at once."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key, HASTY))
    watch.ends, watch.read = {("a", 0): 10, ("b", 0): 0}, {("a", 0): 9}
    assert await watch.fire() == 0
    watch.ends = {("a", 0): 99, ("b", 0): 99}  # the ends of that moment count, not those of now
    assert await watch.fire() == 0
    assert (await saga(plain, key))["status"] == "started"
    watch.read = {("a", 0): 10}
    assert await watch.fire() == 1
    row = await saga(plain, key)
    assert (row["status"], row["wake_at"]) == ("suspended", None)
    incident = await plain.fetchrow("SELECT * FROM incident WHERE saga_id = $1", row["id"])
    assert (incident["reason"], incident["step_name"], incident["resolved_at"]) == (
        *("next_event_overdue", "OrderCreated"),
        None,
    )


async def test_a_deadline_that_moved_on_does_not_pass(watch: Watch, plain: Any) -> None:
    """A saga that wakes for a deadline of before is put to sleep until the present one."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key))
    await plain.execute("UPDATE saga SET wake_at = now() - interval '1 minute' WHERE business_key = $1", key)
    assert await watch.fire() == 0
    row = await saga(plain, key)
    assert (row["status"], row["wake_at"]) == ("started", row["deadline"])


async def test_a_saga_that_nobody_observes_is_stuck(watch: Watch, plain: Any) -> None:
    """Where no observer runs, an overdue saga is counted, as one is that an engine has left alone."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key))
    id_ = (await saga(plain, key))["definition_id"]
    before = {row["definition_id"]: row["sagas"] for row in await watch.store.fetch("count_stuck", 60)}
    await plain.execute(
        "UPDATE saga SET wake_at = now() - interval '2 minutes', deadline = now() - interval '2 minutes'"
        " WHERE business_key = $1",
        key,
    )
    after = {row["definition_id"]: row["sagas"] for row in await watch.store.fetch("count_stuck", 60)}
    assert after[id_] == before.get(id_, 0) + 1


async def test_a_replay_is_owed_until_kafka_has_it(watch: Watch, replays: Replays, plain: Any) -> None:
    """The last good event goes to its topic and partition byte for byte, and only then is it said to be there."""
    key = new_key()
    created, reserved = event("OrderCreated", key, HASTY), event("InventoryReserved", key, HASTY)
    await watch.take_in(created, reserved)
    assert await watch.fire() == 1
    row = await saga(plain, key)
    await replays.replay(str(row["id"]), row["version"], "ann", "try again")
    watch.bus.away = True
    assert await watch.fire() == 0
    assert (await saga(plain, key))["status"] == "pending"
    watch.bus.away = False
    assert await watch.fire() == 1
    [sent] = watch.bus.sent
    assert (sent.topic, sent.partition) == ("inventory.events", 0)
    assert (sent.key, sent.value, sent.headers) == (key.encode(), reserved.record.value, reserved.record.headers)
    assert await _events(plain, key) == [
        *("EventObserved", "EventObserved", "DeadlinePassed", "ReplayRequested", "EventReplayed")
    ]
    assert await watch.fire() == 1  # nothing follows: the saga is suspended again
    assert (await saga(plain, key))["status"] == "suspended"
    assert len(watch.bus.sent) == 1


async def test_a_replay_is_asked_for_once(watch: Watch, replays: Replays, plain: Any) -> None:
    """A lost answer is looked up, ten hands at once do one act, and each of the others hears how the saga stands."""
    key = new_key()
    await watch.take_in(event("OrderCreated", key, HASTY))
    assert await watch.fire() == 1
    row = await saga(plain, key)
    watch.store.deaf = True
    summary = await replays.replay(str(row["id"]), row["version"], "ann", "try again")
    assert (summary.status, summary.version) == ("pending", row["version"] + 1)
    hands = [replays.replay(str(row["id"]), row["version"], "ann", f"hand {number}") for number in range(10)]
    refused = await asyncio.gather(*hands, return_exceptions=True)
    assert all(isinstance(each, VerbRefused) and each.members["saga_status"] == "pending" for each in refused)
    audits = await plain.fetch("SELECT action, reason FROM audit_log WHERE saga_id = $1", row["id"])
    assert [tuple(audit) for audit in audits] == [("replay", "try again")]


async def _events(plain: Any, key: str) -> list[str]:
    rows = await plain.fetch(
        "SELECT l.event FROM saga_log AS l JOIN saga AS s ON s.id = l.saga_id"
        " WHERE s.business_key = $1 ORDER BY l.version",
        key,
    )
    return [row["event"] for row in rows]
