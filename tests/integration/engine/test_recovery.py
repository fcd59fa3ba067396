"""The recovery worker on a real database, with a bus that does what a test wants: who sends what, and when."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.errors import Unavailable
from coordinator.kafka.batches import Published
from coordinator.kafka.records import Outgoing
from coordinator.observability.metrics import Metrics
from coordinator.saga.definition import Retry, seconds
from coordinator.services.recovery import Recovery
from coordinator.store.batch import Batch, DeadRecord
from coordinator.store.migrations import migrate
from coordinator.store.postgres import PostgresStore
from coordinator.store.replicas import Replicas
from deploy.local.stack import LocalStack
from tests.e2e.definitions import definitions

TOPIC = "saga.replies"
LETTER = f"""
    INSERT INTO dead_letter (kind, reason, detail, cluster_id, topic, partition, first_offset, next_offset, key, value,
                             value_length, headers, saga_id, complete, next_try_at)
    SELECT 'record', $1, 'no', 'here', '{TOPIC}', $2::smallint, $3::bigint, $3::bigint + 1, 'key', '{{}}', 2,
           '[["ce_type", "SagaStepCompleted"], ["saga-redriven", "99;1"]]', $4, true, now() + $5::text::interval
    RETURNING id
"""
SAGA = """
    INSERT INTO saga (id, part, definition_id, created_at, business_key, input, version, updated_at, deadline, wake_at,
                      status, state)
    SELECT $1, 0, $2, now(), 'k', '', 1, now(), now(), now(), 'pending', ''
"""
COMMAND_LETTER = """
    INSERT INTO dead_letter (kind, reason, detail, topic, partition, headers, saga_id, saga_version, command_id)
    VALUES ('compensation', 'r', '', 't', 0, '[]', $1, 1, 'c')
"""


class Bus:
    """Acknowledges, refuses or loses what it is given, and keeps it."""

    healthy = True

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.breaks = False
        self.refuses = False
        self.loses = False

    async def publish(self, messages: Sequence[Outgoing]) -> Published:
        """Take messages, and say what became of them."""
        if self.breaks:
            self.sent += messages
            raise asyncio.CancelledError  # the process dies when Kafka has the messages and nobody has heard of it
        if self.refuses:
            return Published([], [], [(message.token, "too_large") for message in messages], None)
        if self.loses:
            return Published([], [message.token for message in messages], [], "Kafka is away")
        self.sent += messages
        return Published([message.token for message in messages], [], [], None)

    async def rebuild(self) -> None:
        """There is nothing to build anew."""


class Office:
    """Recovery workers over one database."""

    def __init__(self, url: str, application_url: str) -> None:
        self.url = url
        self.application_url = application_url
        self.bus = Bus()
        self.metrics = Metrics()
        self.stores: list[PostgresStore] = []
        self._offset = 0

    async def worker(self, *, owned: Sequence[int] = (0, 1), known: bool = True) -> Recovery:
        """Start a worker; with `known` false it knows no definition."""
        store = PostgresStore(self.application_url)
        self.stores.append(store)
        await store.start()
        registry = Registry(definitions if known else ())
        registry.bind((await Replicas(store, "recovery").register(registry.contents)).ids)
        topology = Topology("saga.", {TOPIC: 2})
        recovery = Retry(attempts=5, base=seconds(10))
        return Recovery(store, self.bus, topology, registry, self.metrics, lambda: owned, recovery)

    async def letter(
        self, reason: str = "internal", part: int = 0, *, saga_id: uuid.UUID | None = None, due_in: str = "-1 second"
    ) -> int:
        """Set a record aside; answers the letter's id."""
        self._offset += 1
        return int((await self.rows(LETTER, reason, part, self._offset, saga_id, due_in))[0]["id"])

    async def rows(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Ask the database."""
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()

    async def state(self, letter_id: int) -> tuple[str, int, str | None]:
        """Say how a letter stands: its state, its tries, and whether something happens to it by itself, and when."""
        [row] = await self.rows(
            "SELECT state, tries, CASE WHEN next_try_at <= now() THEN 'due' WHEN next_try_at > now() THEN 'later' END"
            " AS next FROM dead_letter WHERE id = $1",
            letter_id,
        )
        return row["state"], row["tries"], row["next"]

    async def fails(self, letter_id: int, try_: int, pause_ms: int | None) -> tuple[str, int, str | None]:
        """Let a try of a letter be set aside by an engine; answers how the letter stands then."""
        batch = Batch()
        self._offset += 1
        place = (TOPIC, 0, self._offset, self._offset + 1)
        batch.set_aside_record(
            DeadRecord("internal", "no", "here", *place, b"key", b"{}", 2, b"[]", None, True, pause_ms, letter_id, try_)
        )
        await self.stores[0].commit(batch)
        return await self.state(letter_id)

    async def let_time_pass(self) -> None:
        """Make everything due that waits."""
        await self.rows("UPDATE dead_letter SET next_try_at = now() WHERE next_try_at IS NOT NULL")


@pytest.fixture
async def office(stack: LocalStack, fresh_database: str) -> AsyncIterator[Office]:
    """Give a migrated database."""
    application_url = stack.application_url(fresh_database)
    await migrate(fresh_database, application_url)
    office = Office(fresh_database, application_url)
    yield office
    for store in office.stores:
        await store.stop()


async def test_a_due_letter_is_sent_as_it_came(office: Office) -> None:
    """Key, value, headers and partition are the original's, and one header says which letter and which try it is."""
    letter = await office.letter(part=1)
    worker = await office.worker()
    assert await worker.run_once() == 1
    [sent] = office.bus.sent
    assert (sent.topic, sent.partition, sent.key, sent.value) == (TOPIC, 1, b"key", b"{}")
    assert sent.headers == [("ce_type", b"SagaStepCompleted"), ("saga-redriven", f"{letter};1".encode())]
    assert await office.state(letter) == ("redriven", 1, None)
    assert office.metrics.registry.get_sample_value("saga_dead_letters_redriven_total", {"by": "recovery"}) == 1
    assert await worker.run_once() == 0


async def test_a_pause_outlives_the_worker(office: Office) -> None:
    """A letter's pause is in its row: a worker that starts anew neither shortens it nor forgets the letter."""
    letter = await office.letter(due_in="1 hour")
    for _ in range(2):
        assert await (await office.worker()).run_once() == 0
    assert await office.state(letter) == ("open", 0, "later")
    await office.let_time_pass()
    assert await (await office.worker()).run_once() == 1
    assert await office.state(letter) == ("redriven", 1, None)


async def test_two_workers_send_a_letter_once_per_try(office: Office) -> None:
    """Workers that look at the same moment share the letters; none is sent twice."""
    letters = [await office.letter() for _ in range(30)]
    workers = [await office.worker() for _ in range(2)]
    counts = await asyncio.gather(*(worker.run_once() for worker in workers))
    assert sum(counts) == 30
    assert sorted(message.token for message in office.bus.sent) == [(letter, 1) for letter in letters]  # type: ignore[type-var]


async def test_a_crash_between_publishing_and_marking_repeats_the_try(office: Office) -> None:
    """The same try is published once more when the lease has ended, not before it, and it costs no other try."""
    letter = await office.letter()
    office.bus.breaks = True
    with pytest.raises(asyncio.CancelledError):
        await (await office.worker()).run_once()
    office.bus.breaks = False
    assert await office.state(letter) == ("redriven", 1, "later")
    other = await office.worker()
    assert await other.run_once() == 0
    await office.let_time_pass()
    assert await other.run_once() == 1
    assert [message.token for message in office.bus.sent] == [(letter, 1), (letter, 1)]
    assert await office.state(letter) == ("redriven", 1, None)


async def test_what_kafka_does_not_acknowledge_is_sent_later(office: Office) -> None:
    """While Kafka is away a letter keeps its lease, and its try."""
    letter = await office.letter()
    office.bus.loses = True
    worker = await office.worker()
    assert await worker.run_once() == 1
    assert await office.state(letter) == ("redriven", 1, "later")
    office.bus.loses = False
    await office.let_time_pass()
    assert await worker.run_once() == 1
    assert await office.state(letter) == ("redriven", 1, None)


async def test_what_kafka_never_takes_waits_for_a_person(office: Office) -> None:
    """A letter that is too large for the topic is open again, says why, and is not tried for ever."""
    letter = await office.letter()
    office.bus.refuses = True
    await (await office.worker()).run_once()
    assert await office.state(letter) == ("open", 1, None)
    [row] = await office.rows("SELECT changed_because FROM dead_letter WHERE id = $1", letter)
    assert row["changed_because"] == "Kafka does not take it: too_large"


async def test_only_owners_of_a_partition_send_its_letters(office: Office) -> None:
    """What is sent again comes back to the process that sent it, which can read it."""
    letter = await office.letter(part=1)
    assert await (await office.worker(owned=[0])).run_once() == 0
    assert await (await office.worker(owned=[])).run_once() == 0
    assert await office.state(letter) == ("open", 0, "due")
    assert await (await office.worker(owned=[1])).run_once() == 1


async def test_an_unknown_definition_costs_no_try(office: Office) -> None:
    """A worker that lacks the definition puts the letter off; one that has it sends it, as the first try."""
    knowing = await office.worker()
    [row] = await office.rows("SELECT id FROM saga_definition LIMIT 1")
    saga_id = uuid.uuid4()
    await office.rows("INSERT INTO shard (part, cluster_id) VALUES (0, 'here')")
    await office.rows(SAGA, saga_id, row["id"])
    letter = await office.letter("definition_unknown", saga_id=saga_id)
    assert await (await office.worker(known=False)).run_once() == 0
    assert await office.state(letter) == ("open", 0, "later")
    await office.let_time_pass()
    assert await knowing.run_once() == 1
    assert await office.state(letter) == ("redriven", 1, None)


async def test_the_worker_outlives_what_goes_wrong(office: Office) -> None:
    """A database that is away for a moment ends nothing: what is due is sent when it is back."""
    worker = await office.worker()
    letter = await office.letter()
    store = office.stores[0]
    fetch, calls = store.fetch, 0
    stopping = asyncio.Event()

    async def faulty(name: str, *arguments: Any) -> list[asyncpg.Record]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Unavailable("Postgres does not answer")
        rows = await fetch(name, *arguments)
        if name == "mark_redriven":
            stopping.set()
        return rows

    store.fetch = faulty  # type: ignore[method-assign]
    await asyncio.wait_for(worker.run(stopping), 10)
    assert await office.state(letter) == ("redriven", 1, None)


async def test_a_try_that_fails_waits_for_the_next(office: Office) -> None:
    """The failure of a try opens the letter for its next one after a pause; the last leaves it to a person."""
    letter = await office.letter()
    worker = await office.worker()
    await worker.run_once()
    first = [await office.fails(letter, 1, pause_ms=60_000), await office.fails(letter, 1, pause_ms=0)]
    assert first == [("open", 1, "later")] * 2  # a late copy of the same try shortens no pause
    await office.let_time_pass()
    await worker.run_once()
    assert await office.fails(letter, 1, pause_ms=0) == ("redriven", 2, None)
    assert await office.fails(letter, 2, pause_ms=None) == ("open", 2, None)
    assert await worker.run_once() == 0
    [count] = await office.rows("SELECT count(*) FROM dead_letter")
    assert count["count"] == 1


async def test_a_discarded_letter_is_not_opened_by_a_late_copy(office: Office) -> None:
    """What a person has closed stays closed, whatever still comes of its last try."""
    letter = await office.letter()
    await (await office.worker()).run_once()
    await office.rows("UPDATE dead_letter SET state = 'discarded' WHERE id = $1", letter)
    assert await office.fails(letter, 1, pause_ms=0) == ("discarded", 1, None)


async def test_what_a_person_does_to_a_saga_closes_its_letters(office: Office) -> None:
    """The letter of a command follows its saga: taken up again with it, given up with it; records are left alone."""
    await office.worker()
    [row] = await office.rows("SELECT id FROM saga_definition LIMIT 1")
    await office.rows("INSERT INTO shard (part, cluster_id) VALUES (0, 'here')")
    retried, abandoned = uuid.uuid4(), uuid.uuid4()
    for saga_id in (retried, abandoned):
        await office.rows(SAGA, saga_id, row["id"])
        await office.rows(COMMAND_LETTER, saga_id)
        await office.letter("internal", saga_id=saga_id)
    batch = Batch()
    batch.move(str(abandoned), 1, 2, "abandoned", b"", None, unless_unsent=False)
    for saga_id in (retried, abandoned):
        batch.resolve_incidents(str(saga_id), "ann")
    await office.stores[0].commit(batch)
    letters = await office.rows("SELECT saga_id, kind, state, changed_by FROM dead_letter ORDER BY id")
    assert [tuple(letter) for letter in letters] == [
        (retried, "compensation", "redriven", "ann"),
        (retried, "record", "open", None),
        (abandoned, "compensation", "discarded", "ann"),
        (abandoned, "record", "open", None),
    ]
