"""All participants of orders and trips in one process, in memory: `python -m benchmarks.lean_participant`.

It answers every command as a participant would, over the same topics and with the same headers, but keeps nothing: no
database, no duplicates, no tombstones. So it costs little, and a measurement shows what the coordinator can do rather
than what its participants can. Orders whose id begins with "fail-" are refused at the last step.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Sequence

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import ConsumerRecord

from coordinator.kafka import inside
from coordinator.wire.cloudevents import REPLY_PARTITION, REPLY_TOPIC, reply_headers
from coordinator.wire.messages import CompensationCompleted, StepCompleted, StepError, StepFailed
from coordinator.wire.strict_json import encode

READY = "the lean participant reads its commands"
RECORDS_MAX = 2_000
BATCH_BYTES = 512 * 1024
FETCH_WAIT_MS = 10
RESULTS: dict[str, dict[str, object]] = {
    "inventory": {"reservation_id": "reservation-0123456789"},
    "payment": {"payment_id": "payment-0123456789", "amount_cents": 12_999},
    "shipping": {"shipment_id": "shipment-0123456789"},
    "notification": {"notice_id": "notice-0123456789"},
    "hotel": {"room_booking_id": "room-0123456789", "price_cents": 36_000},
    "flight": {"ticket_id": "ticket-0123456789", "price_cents": 36_000},
    "car": {"rental_id": "rental-0123456789", "price_cents": 14_000},
}
ITINERARY = {"mail_id": "mail-0123456789"}
LAST_STEP = "send_confirmation"
FAILING = b'"order_id":"fail-'
REFUSAL = StepError("mailbox_unknown", "The mailbox does not exist.", retryable=False)


class Command(msgspec.Struct, gc=False):
    """What a command must tell to be answered; the rest is skipped unread."""

    saga_id: str
    step_name: str
    command_id: str
    attempt: int
    direction: str


_decode = msgspec.json.Decoder(Command).decode


class LeanParticipant:
    """Reads commands of all participants and answers them at once."""

    def __init__(self, bootstrap_servers: str, topic_prefix: str) -> None:
        self._prefix = topic_prefix
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=BATCH_BYTES,
            check_crcs=False,
        )
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers, acks="all", linger_ms=0, max_batch_size=BATCH_BYTES
        )
        self._unacknowledged: list[asyncio.Future[object]] = []

    async def run(self) -> None:
        """Answer until cancelled; raises when Kafka does not take a reply."""
        await asyncio.gather(self._consumer.start(), self._producer.start())
        try:
            await self._assign()
            # What lives by now lives on, and records form no cycles: looking for them costs a tenth of the time.
            gc.collect()
            gc.freeze()
            gc.set_threshold(200_000, 50, 50)
            print(READY, flush=True)
            while True:
                polled = await self._consumer.getmany(timeout_ms=1_000, max_records=RECORDS_MAX)
                # The next round is read while the replies of this one are on their way, and no further ahead.
                for done in self._unacknowledged:
                    await done
                self._unacknowledged = self._answer(polled)
        finally:
            await self._producer.stop()
            await self._consumer.stop()

    async def _assign(self) -> None:
        topics = [f"{self._prefix}{participant}.commands" for participant in RESULTS]
        found = [
            TopicPartition(topic, partition)
            for topic in topics
            for partition in await self._producer.partitions_for(topic)
        ]
        await self._producer.partitions_for(f"{self._prefix}replies")
        self._consumer.assign(found)
        for partition in found:  # nothing that is sent from now on is missed
            await self._consumer.position(partition)

    def _answer(self, polled: dict[TopicPartition, list[ConsumerRecord]]) -> list[asyncio.Future[object]]:
        now_ms = time.time_ns() // 1_000_000
        batches: dict[tuple[bytes, bytes], list[BatchBuilder]] = {}
        for source, records in polled.items():
            participant = source.topic[len(self._prefix) :].partition(".")[0]
            for record in records:
                headers = dict(record.headers)
                address = (headers[REPLY_TOPIC], headers[REPLY_PARTITION])
                builders = batches.get(address)
                if builders is None:
                    builders = batches[address] = [BatchBuilder(BATCH_BYTES, 0)]
                value, answer = _reply(participant, record.value, now_ms)
                if builders[-1].append(timestamp=now_ms, key=record.key, value=value, headers=answer) is None:
                    builders.append(BatchBuilder(BATCH_BYTES, 0))  # full: the record is not in the batch yet
                    builders[-1].append(timestamp=now_ms, key=record.key, value=value, headers=answer)
        return [
            inside.enqueue(self._producer, _closed(builder), TopicPartition(topic.decode(), int(partition)))
            for (topic, partition), builders in batches.items()
            for builder in builders
        ]


def _reply(participant: str, value: bytes, now_ms: int) -> tuple[bytes, Sequence[tuple[str, bytes]]]:
    command = _decode(value)
    echo = (command.saga_id, command.step_name, command.command_id, command.attempt)
    reply: StepCompleted | StepFailed | CompensationCompleted
    if command.direction == "compensation":
        reply = CompensationCompleted(*echo, "undone")
    elif command.step_name == LAST_STEP and FAILING in value:
        reply = StepFailed(*echo, REFUSAL)
    else:
        result = ITINERARY if command.step_name == "send_itinerary" else RESULTS[participant]
        reply = StepCompleted(*echo, result)
    identity = f"{command.command_id}#reply"
    return encode(reply), reply_headers(reply.ce_type, identity, participant, command.saga_id, now_ms)


def _closed(builder: BatchBuilder) -> BatchBuilder:
    builder.close()
    return builder


async def _main() -> None:
    participant = LeanParticipant(
        os.environ["SAGA_KAFKA__BOOTSTRAP_SERVERS"], os.environ.get("SAGA_TOPIC_PREFIX", "saga.")
    )
    work = asyncio.ensure_future(participant.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        sys.exit(0)


if __name__ == "__main__":
    uvloop.run(_main())
