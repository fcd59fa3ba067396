"""The topics of commands and of others' events as a stream of polls, with offsets committed only for what is done.

aiokafka's ways, and the answer to each: a cancelled getmany disables its liveness check for good (it is not cancelled
while anything depends on it); commit without arguments commits what was not done (offsets are explicit) and may loop
for ever (it is bounded); an error of one partition throws away records of others, and comes back for ever when a record
cannot be read (all partitions are read on by hand); a log that the broker cannot read is silent, and so is a dead
background task (`look_around` and `is_broken` ask).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from participants.kit.clients import client_options, stop_client
from participants.kit.inbox import DeadLetter
from participants.kit.salvage import Item, Stretch, read_by_hand
from participants.kit.settings import Settings

log = structlog.get_logger()

POLL_MS: Final = 200
COMMIT_SECONDS: Final = 5.0
# aiokafka passes on whatever a decoder or a connection raises.
REFUSALS: Final = (KafkaError, IllegalStateError, TimeoutError, OSError)


@dataclass(slots=True)
class Polled:
    """Records and dead letters in order within their partitions, and the offsets to commit when they are done."""

    items: list[Item] = field(default_factory=list)
    offsets: dict[TopicPartition, int] = field(default_factory=dict)


class Consumer:
    """One member of the participant's consumer group."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        on_assigned: Callable[[], Awaitable[None]],
        on_revoked: Callable[[], Awaitable[None]],
        event_topics: Sequence[str] = (),
    ) -> None:
        self._settings = settings.participant
        self._group = f"{settings.topic_prefix}{name}"
        self._options = client_options(settings.kafka, self._group)
        self._topic = f"{settings.topic_prefix}{name}.commands"
        self._own_events = f"{settings.topic_prefix}{name}.events"
        self._event_topics = event_topics
        self._subscribed = [self._topic]
        self._listener = _Listener(self, on_assigned, on_revoked)
        self._positions: dict[TopicPartition, int] = {}
        self._behind: dict[TopicPartition, int] = {}
        self._by_hand = False
        self._assignments = 0
        self._committing = asyncio.Lock()
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self, stop: asyncio.Event) -> None:
        """Join the group; wait for Kafka and for the topic, and say so, while they are not there."""
        while not stop.is_set():
            consumer = self._build()
            try:
                await consumer.start()
                known = await consumer.topics()
                if self._topic in known:
                    self._subscribe(consumer, known)
                    self._consumer = consumer
                    return
                log.warning("waiting_for_topic", topic=self._topic)
            except (KafkaError, OSError) as error:
                log.warning("waiting_for_kafka", error=str(error) or type(error).__name__)
            await stop_client(consumer)
            await asyncio.sleep(0.3)

    async def poll(self) -> Polled:
        """Give the next records, at most a batch of them, or nothing after a fifth of a second."""
        consumer = self._alive()
        if not self._by_hand:
            try:
                records = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._settings.batch_max)
            except Exception as error:  # noqa: BLE001 (a record that cannot be decoded raises anything, for ever)
                log.warning("poll_failed", error=repr(error))
                self._by_hand = True
            else:
                offsets = {tp: batch[-1].offset + 1 for tp, batch in records.items()}
                self._positions.update(offsets)
                return Polled([record for batch in records.values() for record in batch], offsets)
        polled = await self._poll_by_hand(consumer)
        if not polled.items:
            await asyncio.sleep(POLL_MS / 1000)
        return polled

    async def look_around(self) -> None:
        """Have a partition read by hand that has more to read and has not moved since the last look."""
        consumer = self._consumer
        if consumer is None:
            return
        try:
            if len(self._subscribed) < 1 + len(self._event_topics):
                self._subscribe(consumer, await asyncio.wait_for(consumer.topics(), COMMIT_SECONDS))
            ends = await asyncio.wait_for(consumer.end_offsets(consumer.assignment()), COMMIT_SECONDS)
        except REFUSALS as error:
            log.warning("ends_not_known", error=repr(error))
            return
        behind = {tp: self._positions.get(tp, -1) for tp, end in ends.items() if self._positions.get(tp, -1) < end}
        if any(self._behind.get(tp) == position for tp, position in behind.items()):
            self._by_hand = True
        self._behind = behind

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
        self.forget_positions()

    def forget_positions(self) -> None:
        """Forget where we were: another member may have gone on from there."""
        self._assignments += 1
        self._positions.clear()
        self._behind.clear()
        self._by_hand = False

    def _subscribe(self, consumer: AIOKafkaConsumer, known: set[str]) -> None:
        """Read the commands, and others' events where there are such topics: not every installation has them."""
        events = [topic for topic in self._event_topics if topic in known] if self._own_events in known else []
        topics = [self._topic, *events]
        if topics != self._subscribed or consumer is not self._consumer:
            consumer.subscribe(topics, listener=self._listener)
            self._subscribed = topics

    def _alive(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise RuntimeError("the consumer was not started")
        return self._consumer

    async def _poll_by_hand(self, consumer: AIOKafkaConsumer) -> Polled:
        """Read all partitions on from where they were: a failed poll may have thrown away records of any of them.

        Goes on at the next poll until all of them were read, and nothing unreadable is left in the way.
        """
        now = self._assignments
        partitions = list(consumer.assignment())
        answers = await asyncio.gather(*(self._read_on(consumer, tp) for tp in partitions), return_exceptions=True)
        polled = Polled()
        if now != self._assignments:
            return polled  # other members may have them by now
        self._by_hand = False
        for tp, answer in zip(partitions, answers, strict=True):
            if isinstance(answer, BaseException):
                log.warning("partition_not_read", partition=tp.partition, error=repr(answer))
                self._by_hand = True
                continue
            try:
                consumer.seek(tp, answer.next_offset)
            except IllegalStateError:
                continue  # it is not ours any more
            self._positions[tp] = answer.next_offset
            if answer.items:
                polled.items += answer.items
                polled.offsets[tp] = answer.next_offset
            self._by_hand |= any(isinstance(item, DeadLetter) for item in answer.items)
        return polled

    async def _read_on(self, consumer: AIOKafkaConsumer, tp: TopicPartition) -> Stretch:
        async with asyncio.timeout(COMMIT_SECONDS):
            position = self._positions.get(tp)
            if position is None:
                position = await consumer.committed(tp)
            if position is None:
                position = (await consumer.beginning_offsets([tp]))[tp]
            return await read_by_hand(consumer, tp, position, self._settings.batch_max)

    def _build(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._options,
            group_id=self._group,
            group_instance_id=self._settings.instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=self._settings.fetch_max_wait_ms,
            session_timeout_ms=self._settings.session_timeout_ms,
            heartbeat_interval_ms=min(1_000, self._settings.session_timeout_ms // 3),
            rebalance_timeout_ms=60_000,
            max_poll_interval_ms=86_400_000,
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
        topics = sorted({tp.topic for tp in assigned})
        log.info("partitions_assigned", partitions=sorted(tp.partition for tp in assigned), topics=topics)
        await self._on_assigned()
