"""Replies on their way to Kafka: hand-built batches, one per reply partition.

A reply stays in the outbox until Kafka has acknowledged it, so whatever happens here, the worst is a duplicate.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from participants.kit.clients import client_options, stop_client
from participants.kit.replies import Outgoing
from participants.kit.settings import KafkaSettings

log = structlog.get_logger()

BATCH_BYTES_MAX: Final = 512 * 1024  # under the broker's default limit of 1 MB
# Longer than any healthy acknowledgement; after it the outcome is unknown, and the outbox row says so by being there.
ACKNOWLEDGE_SECONDS: Final = 10.0


class Publisher:
    """Publishes replies to the topic and partition that their commands named."""

    def __init__(self, kafka: KafkaSettings, client_id: str) -> None:
        self._options = client_options(kafka, client_id)
        self._producer: AIOKafkaProducer | None = None
        self._rebuilding = asyncio.Lock()

    async def start(self) -> None:
        """Connect; wait for Kafka, and say so, while it is not there."""
        while self._producer is None:
            producer = AIOKafkaProducer(**self._options, enable_idempotence=True, max_batch_size=BATCH_BYTES_MAX)
            try:
                await producer.start()
            except (KafkaError, OSError) as error:
                await stop_client(producer)
                log.warning("waiting_for_kafka", error=str(error) or type(error).__name__)
                await asyncio.sleep(0.5)
            else:
                self._producer = producer

    async def stop(self) -> None:
        """Disconnect, at most three seconds later."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_client(producer)

    async def partitions(self, topic: str) -> int:
        """Ask how many partitions a topic has; wait for Kafka, and say so, while it does not answer."""
        while True:
            try:
                if self._producer is not None:
                    return len(await self._producer.partitions_for(topic))
            except (KafkaError, OSError) as error:
                log.warning("waiting_for_topic", topic=topic, error=str(error) or type(error).__name__)
            await asyncio.sleep(0.5)

    async def publish(self, replies: Sequence[Outgoing]) -> list[int]:
        """Send the replies and return the outbox ids that Kafka acknowledged."""
        groups: defaultdict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        for reply in replies:
            groups[reply.topic, reply.partition].append(reply)
        producer = self._producer
        if producer is None:
            return []
        results = await asyncio.gather(
            *(self._publish_to(producer, topic, partition, group) for (topic, partition), group in groups.items()),
            return_exceptions=True,
        )
        acknowledged: list[int] = []
        broken = False
        for (topic, partition), result in zip(groups, results, strict=True):
            if isinstance(result, BaseException):
                log.error("replies_not_published", topic=topic, partition=partition, error=repr(result))
                broken = broken or _breaks_the_producer(result)
            else:
                acknowledged += result
        if broken:
            await self._rebuild(producer)
        return acknowledged

    async def _publish_to(
        self, producer: AIOKafkaProducer, topic: str, partition: int, replies: Iterable[Outgoing]
    ) -> list[int]:
        sent: list[asyncio.Future[object]] = []
        ids: list[int] = []
        batch = producer.create_batch()
        for reply in replies:
            ids.append(reply.id)
            for _ in range(reply.copies):
                # append answers None, and drops the record, when the batch is full.
                if batch.append(key=reply.key, value=reply.value, timestamp=None, headers=reply.headers) is None:
                    batch.close()
                    sent.append(await producer.send_batch(batch, topic, partition=partition))
                    batch = producer.create_batch()
                    if batch.append(key=reply.key, value=reply.value, timestamp=None, headers=reply.headers) is None:
                        raise ValueError(f"reply {reply.id} does not fit into an empty batch")
        batch.close()
        sent.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.wait_for(asyncio.gather(*sent), ACKNOWLEDGE_SECONDS)
        return ids

    async def _rebuild(self, broken: AIOKafkaProducer) -> None:
        """Replace a producer whose sequence numbers can no longer be trusted."""
        async with self._rebuilding:
            producer = self._producer
            if producer is not None and producer is broken:
                log.warning("producer_rebuilt")
                self._producer = None
                await stop_client(producer)
                await self.start()


def _breaks_the_producer(error: BaseException) -> bool:
    """Say whether the producer may have lost count: an error after a batch took its sequence numbers."""
    return isinstance(error, KafkaError | TimeoutError) and not getattr(error, "retriable", False)
