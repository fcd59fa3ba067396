"""The command topic as a stream of polls, with offsets committed only for what is done.

aiokafka's ways, and the answer to each: a cancelled getmany disables its liveness check for good (it is not cancelled
while anything depends on it); commit without arguments commits what was not done (offsets are explicit) and may loop
for ever (it is bounded); an error of one partition throws away records of others (their positions are set back); a dead
background task is silent (`is_broken` asks).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord

from participants.kit.clients import stop_client
from participants.kit.settings import Settings

log = structlog.get_logger()

POLL_MS: Final = 200
COMMIT_SECONDS: Final = 5.0
Records = dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]


class Consumer:
    """One member of the participant's consumer group."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        on_assigned: Callable[[], Awaitable[None]],
        on_revoked: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._group = f"{settings.topic_prefix}{name}"
        self._topic = f"{settings.topic_prefix}{name}.commands"
        self._listener = _Listener(self, on_assigned, on_revoked)
        self._positions: dict[TopicPartition, int] = {}
        self._committing = asyncio.Lock()
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self, stop: asyncio.Event) -> None:
        """Join the group; wait for Kafka and for the topic, and say so, while they are not there."""
        while not stop.is_set():
            consumer = self._build()
            try:
                await consumer.start()
                if self._topic in await consumer.topics():
                    consumer.subscribe([self._topic], listener=self._listener)
                    self._consumer = consumer
                    return
                log.warning("waiting_for_topic", topic=self._topic)
            except (KafkaError, OSError) as error:
                log.warning("waiting_for_kafka", error=str(error) or type(error).__name__)
            await stop_client(consumer)
            await asyncio.sleep(0.3)

    async def poll(self) -> Records:
        """Give the next records, at most a batch of them, or nothing after a fifth of a second."""
        consumer = self._alive()
        try:
            records: Records = await consumer.getmany(
                timeout_ms=POLL_MS, max_records=self._settings.participant.batch_max
            )
        except KafkaError as error:
            log.warning("poll_failed", error=repr(error))
            await self._set_back(consumer)
            await asyncio.sleep(0.2)
            return {}
        for partition, batch in records.items():
            self._positions[partition] = batch[-1].offset + 1
        return records

    async def commit(self, offsets: dict[TopicPartition, int]) -> bool:
        """Commit the offsets of partitions that are still ours; False, and a log line, when Kafka did not take them."""
        consumer = self._consumer
        if consumer is None:
            return False
        async with self._committing:
            ours = {tp: offset for tp, offset in offsets.items() if tp in consumer.assignment()}
            try:
                if ours:
                    await asyncio.wait_for(consumer.commit(ours), COMMIT_SECONDS)
            except (KafkaError, IllegalStateError, TimeoutError) as error:
                log.warning("offsets_not_committed", error=repr(error))
                return False
            return True

    def is_broken(self) -> bool:
        """Whether a background task of the client has died, which it tells nobody."""
        consumer = self._consumer
        if consumer is None:
            return False
        fetching = getattr(getattr(consumer, "_fetcher", None), "_fetch_task", None)
        coordinating = getattr(getattr(consumer, "_coordinator", None), "_coordination_task", None)
        return any(task is not None and task.done() for task in (fetching, coordinating))

    async def stop(self) -> None:
        """Leave the group, at most three seconds later."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await stop_client(consumer)
        self._positions.clear()

    def forget_positions(self) -> None:
        """Forget where we were: another member may have gone on from there."""
        self._positions.clear()

    def _alive(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise RuntimeError("the consumer was not started")
        return self._consumer

    async def _set_back(self, consumer: AIOKafkaConsumer) -> None:
        """Read again what a failed poll may have taken and thrown away."""
        for partition in consumer.assignment():
            try:
                if partition in self._positions:
                    consumer.seek(partition, self._positions[partition])
                else:
                    await asyncio.wait_for(consumer.seek_to_committed(partition), COMMIT_SECONDS)
            except (KafkaError, IllegalStateError, TimeoutError) as error:
                log.warning("position_not_set_back", partition=partition.partition, error=repr(error))

    def _build(self) -> AIOKafkaConsumer:
        kafka = self._settings.kafka
        return AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap_servers,
            group_id=self._group,
            client_id=self._group,
            group_instance_id=self._settings.participant.instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=kafka.fetch_max_wait_ms,
            session_timeout_ms=kafka.session_timeout_ms,
            heartbeat_interval_ms=min(1_000, kafka.session_timeout_ms // 3),
            rebalance_timeout_ms=60_000,
            max_poll_interval_ms=86_400_000,
            request_timeout_ms=10_000,
            metadata_max_age_ms=30_000,
        )


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(
        self,
        consumer: Consumer,
        on_assigned: Callable[[], Awaitable[None]],
        on_revoked: Callable[[], Awaitable[None]],
    ) -> None:
        self._consumer = consumer
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if revoked:
            await self._on_revoked()
        self._consumer.forget_positions()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        log.info("partitions_assigned", partitions=sorted(tp.partition for tp in assigned))
        await self._on_assigned()
