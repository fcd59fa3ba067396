"""Drives sagas through a coordinator and times them: by start requests over Kafka, or through POST /v1/sagas."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Iterator
from typing import Self

import asyncpg
import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from benchmarks.http_client import HttpClient
from benchmarks.servers import Bench, Site
from coordinator.kafka import inside
from coordinator.wire.cloudevents import message_headers
from coordinator.wire.messages import StartRequested
from coordinator.wire.strict_json import encode

DEFINITION = "OrderFulfillment"
TRIPS = "TravelBooking"
STARTS_PER_BATCH = 25
BATCH_BYTES = 256 * 1024
POLL_S = 0.025
STALL_S = 60.0
WINDOW = 4_000  # sagas in flight
TRANSITIONS_COMPLETED = 5  # the start and four replies: as many records, versions and log entries
TRANSITIONS_TRAVELLED = 6  # the start of three bookings, three replies, payment and itinerary
TRANSITIONS_FAILED = 8  # the start, three successes, one failure and three acknowledged compensations

# Every record with a verdict moves this sum in the statement that wrote its effects: a fresh, cheap and true progress.
APPLIED = "SELECT coalesce(sum(applied), 0)::bigint FROM shard"
VERSIONS = "SELECT coalesce(sum(version), 0)::bigint FROM saga"

_runs = itertools.count(1)


class Sagas(msgspec.Struct, frozen=True):
    """Which sagas a run starts: how many, under which business keys, and how many transitions each will make."""

    count: int
    prefix: str
    transitions: int
    status: str
    definition: str = DEFINITION

    @classmethod
    def completing(cls, count: int) -> Sagas:
        """Sagas of which every step succeeds."""
        return cls(count, _new_prefix("order"), TRANSITIONS_COMPLETED, "completed")

    @classmethod
    def failing(cls, count: int) -> Sagas:
        """Sagas of which step 4 fails, so that three steps are undone."""
        return cls(count, _new_prefix("fail"), TRANSITIONS_FAILED, "failed")

    @classmethod
    def travelling(cls, count: int) -> Sagas:
        """Trips that everybody takes: a group of three, a condition that says no, the pivot, the itinerary."""
        return cls(count, _new_prefix("trip"), TRANSITIONS_TRAVELLED, "completed", TRIPS)

    def inputs(self) -> Iterator[tuple[str, dict[str, object]]]:
        """Their business keys and inputs, in the order of the keys."""
        make = trip if self.definition == TRIPS else order
        keys = (f"{self.prefix}{number:09d}" for number in range(self.count))
        return ((key, make(key)) for key in keys)


def order(order_id: str) -> dict[str, object]:
    """An order of about 270 bytes that the sample participants can fulfil."""
    return {
        "order_id": order_id,
        "customer_id": "customer-42",
        "email": "somebody@example.org",
        "items": [{"sku": "sku-book", "quantity": 1}],
        "amount_cents": 12_999,
        "currency": "EUR",
        "card": {"token": "tok_visa"},
        "address": {"country": "DE", "city": "Berlin", "street": "Linienstrasse 7"},
    }


def trip(booking_id: str) -> dict[str, object]:
    """A trip of about 400 bytes."""
    return {
        "booking_id": booking_id,
        "traveller": "Some Body",
        "traveller_email": "somebody@example.org",
        "stay": {"hotel": "hotel-central", "room": "double", "check_in": "2031-05-02", "nights": 3},
        "passage": {"flight": "SG100", "seats": 2},
        "drive": {"station": "lisbon-airport", "car_class": "compact", "pick_up": "2031-05-02", "days": 4},
        "currency": "EUR",
        "card": {"token": "tok_visa"},
    }


def _new_prefix(word: str) -> str:
    # Ordered by time, as business keys usually are, and never the same twice.
    return f"{word}-{int(time.time()):010d}-{next(_runs):04d}-"


class _Batch(msgspec.Struct):
    builder: BatchBuilder
    partition: TopicPartition
    count: int


class Driver:
    """Publishes start requests, built before the clock runs, and keeps about `window` sagas in flight."""

    def __init__(
        self, bench: Bench, site: Site, *, window: int, progress: str = APPLIED, poll_s: float = POLL_S
    ) -> None:
        self._bench = bench
        self._site = site
        self._window = window
        self._progress = progress
        self._poll_s = poll_s
        self._batches: deque[_Batch] = deque()

    async def __aenter__(self) -> Self:
        """Connect."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bench.stack.kafka.bootstrap_servers, acks="all", max_batch_size=BATCH_BYTES
        )
        await self._producer.start()
        await self._producer.partitions_for(self._site.replies)
        self._connection = await self._bench.connect(self._site)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._producer.stop()
        await self._connection.close()

    @property
    def connection(self) -> asyncpg.Connection[asyncpg.Record]:
        """A connection to the site's database for whoever measures."""
        return self._connection

    def prepare(self, sagas: Sagas) -> None:
        """Build the start requests of a run, spread over the partitions."""
        now_ms = int(time.time() * 1000)
        inputs = sagas.inputs()
        for number in itertools.count():
            chosen = list(itertools.islice(inputs, STARTS_PER_BATCH))
            if not chosen:
                break
            builder = BatchBuilder(BATCH_BYTES, 0)
            for key, one in chosen:
                value = encode(StartRequested(definition=sagas.definition, input=one))
                headers = message_headers(StartRequested.ce_type, key, "bench", None, now_ms)
                assert builder.append(timestamp=now_ms, key=key.encode(), value=value, headers=headers)
            builder.close()
            partition = TopicPartition(self._site.replies, number % self._site.partitions)
            self._batches.append(_Batch(builder, partition, len(chosen)))

    async def run(self, sagas: Sagas) -> float:
        """Send what was prepared and wait for the last transition; answers the seconds that it took."""
        return await self._send(sagas.count, sagas.transitions)

    async def start(self, sagas: Sagas) -> None:
        """Send what was prepared and wait until every saga has started, with no participant to answer."""
        await self._send(sagas.count, 1)

    async def finish(self, sagas: Sagas) -> None:
        """Wait for the rest of what `start` began."""
        await self._send(0, 0, remaining=sagas.count * (sagas.transitions - 1))

    async def _send(self, count: int, transitions: int, remaining: int | None = None) -> float:
        began = moved_at = time.perf_counter()
        missing = count * transitions if remaining is None else remaining
        before = seen = await self._applied()
        sent = 0
        futures: deque[asyncio.Future[object]] = deque()
        while seen - before < missing:
            outstanding = sent * transitions - (seen - before)
            # A saga in flight has half of its transitions before it, on average.
            while self._batches and outstanding < self._window * (transitions + 1) / 2:
                batch = self._batches.popleft()
                futures.append(inside.enqueue(self._producer, batch.builder, batch.partition))
                sent += batch.count
                outstanding += batch.count * transitions
            await asyncio.sleep(self._poll_s)
            while futures and futures[0].done():
                futures.popleft().result()
            latest, seen = seen, await self._applied()
            if seen != latest:
                moved_at = time.perf_counter()
            elif time.perf_counter() - moved_at > STALL_S:
                raise RuntimeError(f"nothing moves: {seen - before} of {missing} transitions, {sent} sagas sent")
            self._bench.check_alive()
        return moved_at - began

    async def _applied(self) -> int:
        return int(await self._connection.fetchval(self._progress))


async def verify(connection: asyncpg.Connection[asyncpg.Record], sagas: Sagas) -> None:
    """Ask Postgres whether every saga of a run is there once, ended as it should, with its whole log; raises if not."""
    rows = await connection.fetch(
        """
        WITH run AS (
            SELECT s.id, s.status, s.version, (SELECT count(*) FROM saga_log AS l WHERE l.saga_id = s.id) AS logged
            FROM saga_key AS k JOIN saga AS s ON s.id = k.saga_id
            WHERE k.definition = $1 AND k.business_key >= $2 AND k.business_key < $2 || 'x'
        )
        SELECT status, version, logged, count(*) AS count FROM run GROUP BY 1, 2, 3
        """,
        sagas.definition,
        sagas.prefix,
    )
    found = {(row["status"], row["version"], row["logged"]): row["count"] for row in rows}
    wanted = {(sagas.status, sagas.transitions, sagas.transitions): sagas.count}
    if found != wanted:
        raise RuntimeError(f"sagas by (status, version, log entries) are {found} instead of {wanted}")
    letters = await connection.fetch(
        "SELECT reason, max(detail) AS detail, count(*) AS count FROM dead_letter GROUP BY 1"
    )
    if letters:
        raise RuntimeError(f"dead letters: {[tuple(letter.values()) for letter in letters]}")


class Latencies(msgspec.Struct):
    """Seconds per saga: until the API has answered, and until the saga was seen completed."""

    answers: list[float]
    wholes: list[float]


async def time_whole_sagas(bench: Bench, site: Site, count: int, per_second: float) -> Latencies:
    """Start sagas through the API at a steady rate and time each from before its request until it is seen completed.

    Completion is what a reader of the database sees, asked every two milliseconds; so the time is a little too long.
    """
    watcher = await _Watcher.open(bench, site)
    sagas = Sagas.completing(count)
    result = Latencies([], [])
    client = HttpClient(bench.port)
    started = asyncio.get_running_loop().time()
    tasks = []
    for number, (_, one) in enumerate(sagas.inputs()):
        await asyncio.sleep(max(0.0, started + number / per_second - asyncio.get_running_loop().time()))
        tasks.append(asyncio.create_task(_time_one(client, watcher, one, result)))
    await asyncio.gather(*tasks)
    client.close()
    await watcher.close()
    return result


async def _time_one(client: HttpClient, watcher: _Watcher, one: dict[str, object], result: Latencies) -> None:
    began = time.perf_counter()
    answer = await client.post("/v1/sagas", {"definition": DEFINITION, "input": one})
    saga_id = str(answer["id"])
    result.answers.append(time.perf_counter() - began)
    ended = await watcher.completed(saga_id)
    result.wholes.append(ended - began)


class _Watcher:
    """Looks for the ends of sagas in the database."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self._task = asyncio.create_task(self._watch())

    @classmethod
    async def open(cls, bench: Bench, site: Site) -> _Watcher:
        return cls(await bench.connect(site))

    async def completed(self, saga_id: str) -> float:
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[saga_id] = future
        async with asyncio.timeout(STALL_S):
            return await future

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._connection.close()

    async def _watch(self) -> None:
        query = await self._connection.prepare(
            "SELECT id::text AS id FROM saga WHERE id = ANY($1::uuid[]) AND status = 'completed'"
        )
        while True:
            if self._waiting:
                for row in await query.fetch(list(self._waiting)):
                    self._waiting.pop(row["id"]).set_result(time.perf_counter())
            await asyncio.sleep(0.002)
