"""Publish to Kafka and tell the truth about it: acknowledged, unknown, or never acceptable.

One aiokafka producer is used at a time. A producer that let a batch wait too long, or that answered with an error which
has used up a sequence number, is thrown away with everything in it: its batches count as failed, none is sent later,
and a fresh producer takes its place. So a broker that was down for ten minutes is not flooded with copies afterwards,
and a partition never stays out of sequence.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.structs import TopicPartition

from coordinator.errors import Unavailable
from coordinator.kafka import inside
from coordinator.kafka.batches import TOO_LARGE, Batch, Flight, Published, group, pack
from coordinator.kafka.connection import Security, client_options, require_extensions
from coordinator.kafka.records import Outgoing

_SMALLEST_BATCH_BYTES = 1024
_TOO_LARGE_ERRORS = (MessageSizeTooLargeError, RecordListTooLargeError)
_CODECS = {None: 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


class _NotSentError(Exception):
    """The messages have not left: the text says why."""


class Publisher:
    """Sends hand-built batches with acks=all and idempotence; any number of tasks may publish at once.

    `ack_timeout_s` bounds a publish() call, `max_in_flight_bytes` what Kafka has not acknowledged yet: beyond it
    publish() waits. `compression` is None, "gzip", "snappy", "lz4" or "zstd".
    """

    def __init__(
        self,
        bootstrap_servers: str,
        client_id: str,
        *,
        ack_timeout_s: float = 10.0,
        max_batch_bytes: int = 512 * 1024,
        max_in_flight_bytes: int = 32 * 1024 * 1024,
        compression: str | None = None,
        security: Security | None = None,
    ) -> None:
        self._options = client_options(bootstrap_servers, client_id, security)
        self._ack_timeout_s = ack_timeout_s
        self._max_in_flight_bytes = max_in_flight_bytes
        self._max_batch_bytes = max_batch_bytes
        self._codec = _CODECS[compression]
        self._batch_bytes: dict[str, int] = {}  # topics that were found to take less than max_batch_bytes
        self._producer: AIOKafkaProducer | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._why_down = "the publisher was not started"
        self._stopped = True
        self._turn = asyncio.Lock()  # the order of queueing is the order of the calls
        self._change = asyncio.Event()  # room was made, or a producer came or went
        self._flights: dict[Flight, None] = {}
        self._in_flight_bytes = 0
        self._healthy = False
        self._rebuilds = 0

    @property
    def healthy(self) -> bool:
        """False from the first failure until Kafka has answered again."""
        return self._healthy

    @property
    def in_flight_bytes(self) -> int:
        """Bytes handed to Kafka and not acknowledged yet."""
        return self._in_flight_bytes

    @property
    def rebuilds(self) -> int:
        """How many producers had to be replaced so far."""
        return self._rebuilds

    @property
    def oldest_in_flight_s(self) -> float:
        """Seconds that the oldest unanswered publish() call has been waiting; 0.0 when none is."""
        oldest = next(iter(self._flights), None)
        return 0.0 if oldest is None else asyncio.get_running_loop().time() - oldest.since_s

    async def start(self, timeout_s: float = 30.0) -> None:
        """Connect; raise Unavailable when no broker has answered within `timeout_s`."""
        require_extensions()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        self._stopped = False
        while self._producer is None:
            try:
                self._take_up(await self._connect(max(0.1, deadline_s - loop.time())))
            except Unavailable:
                if loop.time() > deadline_s:
                    self._stopped = True
                    raise
                await asyncio.sleep(0.3)

    async def publish(self, messages: Sequence[Outgoing]) -> Published:
        """Send all messages and wait for Kafka's answers; messages of one partition keep their order.

        Never raises for what Kafka does and returns within `ack_timeout_s`. Two calls keep the order in which they
        were made, per partition, unless the first one reports a failure.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._ack_timeout_s
        result = Published(acknowledged=[], failed=[], refused=[], error=None)
        pending: Sequence[Outgoing] = messages
        while pending:
            flight = Flight(loop)
            try:
                unsent, reason = await self._send(pending, flight, result, deadline_s)
                flight.settle()
                if flight.batches:
                    await asyncio.wait([flight.landed], timeout=max(0.0, deadline_s - loop.time()))
            finally:
                self._flights.pop(flight, None)
            pending, result = self._settle(flight, unsent, reason, result)
        return result

    async def rebuild(self) -> None:
        """Replace the producer; what is in flight becomes failed. Returns when the first attempt was made."""
        if self._producer is not None:
            self._condemn(self._producer, "a rebuild was asked for")
        if self._renewal is not None:
            await asyncio.wait([self._renewal], timeout=self._ack_timeout_s)

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Wait for what is in flight, then close; both within `timeout_s`, also when the broker is down."""
        self._stopped = True
        self._healthy = False
        self._why_down = "the publisher was stopped"
        self._announce()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])
        producer, self._producer = self._producer, None
        if producer is None:
            return
        landing = [flight.landed for flight in self._flights]
        if landing:
            await asyncio.wait(landing, timeout=timeout_s / 2)
        await inside.abandon_producer(producer, "the publisher was stopped", timeout_s / 2)

    async def _send(
        self, messages: Sequence[Outgoing], flight: Flight, result: Published, deadline_s: float
    ) -> tuple[list[Outgoing], str | None]:
        """Queue everything in the caller's turn; return what could not be queued, and why."""
        unsent: list[Outgoing] = []
        reason: str | None = None
        async with self._turn:
            now_ms = time.time_ns() // 1_000_000
            for partition, own in group(messages).items():
                limit = self._batch_bytes.get(partition.topic, self._max_batch_bytes)
                batches, refused = pack(partition, own, limit_bytes=limit, compression=self._codec, now_ms=now_ms)
                result.refused.extend(refused)
                for batch in batches:
                    try:
                        await self._queue(batch, flight, deadline_s)
                    except _NotSentError as error:
                        reason = reason or str(error)
                        unsent.extend(batch.messages)
        return unsent, reason

    async def _queue(self, batch: Batch, flight: Flight, deadline_s: float) -> None:
        producer = self._producer
        if producer is None or self._is_full(batch):
            producer = await self._wait_for_room(batch, deadline_s)
        if not inside.partition_exists(producer, batch.partition):
            await self._look_up(producer, batch.partition)
        try:
            future = inside.enqueue(producer, batch.builder, batch.partition)
        except KafkaError as error:
            self._condemn(producer, repr(error))
            raise _NotSentError(repr(error)) from error
        if flight.queued_s is None:
            flight.queued_s = asyncio.get_running_loop().time()
        flight.batches.append(batch)
        flight.missing += 1
        self._flights[flight] = None
        self._in_flight_bytes += batch.size
        future.add_done_callback(lambda done: self._answer(done, batch, flight, producer))

    def _is_full(self, batch: Batch) -> bool:
        return self._in_flight_bytes > 0 and self._in_flight_bytes + batch.size > self._max_in_flight_bytes

    async def _wait_for_room(self, batch: Batch, deadline_s: float) -> AIOKafkaProducer:
        loop = asyncio.get_running_loop()
        while self._producer is None or self._is_full(batch):
            if self._why_down:
                raise _NotSentError(self._why_down)
            self._change.clear()
            try:
                async with asyncio.timeout_at(deadline_s):
                    await self._change.wait()
            except TimeoutError:
                limit = f"{self._in_flight_bytes} bytes are still unacknowledged"
                raise _NotSentError(limit) from None
            if loop.time() >= deadline_s:
                raise _NotSentError("Kafka was too slow")
        return self._producer

    async def _look_up(self, producer: AIOKafkaProducer, partition: TopicPartition) -> None:
        """Make a topic known to the producer, without ever creating it by asking."""
        name = f"{partition.topic}-{partition.partition}"
        try:
            async with asyncio.timeout(2.0):
                cluster = await producer.client.fetch_all_metadata()
                if partition.partition in (cluster.partitions_for_topic(partition.topic) or ()):
                    producer.client.add_topic(partition.topic)
                    await producer.client.force_metadata_update()
        except (KafkaError, TimeoutError) as error:
            raise _NotSentError(f"{name} could not be looked up: {error!r}") from error
        if not inside.partition_exists(producer, partition):
            raise _NotSentError(f"{name} does not exist")

    def _answer(self, future: asyncio.Future[Any], batch: Batch, flight: Flight, producer: AIOKafkaProducer) -> None:
        self._in_flight_bytes -= batch.size
        batch.error = KafkaError("cancelled") if future.cancelled() else future.exception()
        batch.stored = batch.error is None
        if batch.stored:
            self._healthy = True
        else:
            self._condemn(producer, repr(batch.error))
        flight.settle()
        self._announce()

    def _settle(
        self, flight: Flight, unsent: list[Outgoing], reason: str | None, result: Published
    ) -> tuple[list[Outgoing], Published]:
        """Sort a finished flight into the result; return the messages to send again in smaller batches."""
        again: list[Outgoing] = []
        failed = [message.token for message in unsent]
        for batch in flight.batches:
            if batch.stored:
                result.acknowledged.extend([message.token for message in batch.messages])
            elif isinstance(batch.error, _TOO_LARGE_ERRORS):
                if len(batch.messages) == 1:
                    result.refused.append((batch.messages[0].token, TOO_LARGE))
                else:
                    self._batch_bytes[batch.partition.topic] = max(_SMALLEST_BATCH_BYTES, batch.size // 2)
                    again.extend(batch.messages)
            else:
                reason = reason or self._why_failed(batch)
                failed.extend([message.token for message in batch.messages])
        result.failed.extend(failed)
        if flight.missing and self._producer is not None and self._is_late(flight):
            self._condemn(self._producer, f"no acknowledgement within {self._ack_timeout_s} s")
        error = result.error or reason
        return again, Published(result.acknowledged, result.failed, result.refused, error)

    def _is_late(self, flight: Flight) -> bool:
        """Tell whether Kafka had a fair share of the time; the call may have spent it waiting for room."""
        now_s = asyncio.get_running_loop().time()
        return flight.queued_s is not None and now_s - flight.queued_s >= self._ack_timeout_s / 2

    def _why_failed(self, batch: Batch) -> str:
        if batch.error is None:
            return f"Kafka did not acknowledge within {self._ack_timeout_s} s"
        return f"Kafka answered {batch.error!r}"

    def _condemn(self, producer: AIOKafkaProducer, reason: str) -> None:
        if producer is not self._producer or self._stopped:
            return
        self._producer = None
        self._healthy = False
        self._why_down = ""  # callers wait for the first attempt to replace it
        self._renewal = asyncio.get_running_loop().create_task(self._renew(producer, reason))
        self._announce()

    async def _renew(self, old: AIOKafkaProducer, reason: str) -> None:
        """Give the old producer a moment for what it has in flight, then replace it, however long that takes."""
        landing = [flight.landed for flight in self._flights if not flight.landed.done()]
        if landing:
            await asyncio.wait(landing, timeout=min(0.5, self._ack_timeout_s / 4))
        await inside.abandon_producer(old, reason, 1.0)
        pause_s = 0.1
        while True:
            try:
                fresh = await self._connect(self._ack_timeout_s)
            except Unavailable as error:
                self._why_down = str(error)
                self._announce()
                await asyncio.sleep(pause_s)
                pause_s = min(2.0, pause_s * 2)
                continue
            self._rebuilds += 1
            self._take_up(fresh)
            return

    def _take_up(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._why_down = ""
        self._healthy = True
        self._announce()

    async def _connect(self, timeout_s: float) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._options,
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            max_batch_size=self._max_batch_bytes,
        )
        try:
            async with asyncio.timeout(timeout_s):
                await producer.start()
        except (KafkaError, TimeoutError, OSError) as error:
            await inside.abandon_producer(producer, "not connected", 1.0)
            raise Unavailable(f"Kafka at {self._options['bootstrap_servers']} does not answer: {error!r}") from error
        except BaseException:
            with contextlib.suppress(Exception):
                await inside.abandon_producer(producer, "not connected", 1.0)
            raise
        return producer

    def _announce(self) -> None:
        self._change.set()
