"""How far consumer groups are behind, seen from outside: nothing here joins a group or moves an offset."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.structs import TopicPartition

from coordinator.errors import Unavailable
from coordinator.kafka.connection import Security, client_options
from coordinator.kafka.topics import admin_client

_CLIENT_ID = "saga-progress"
_RETRY_S = 0.3


async def end_offsets(
    bootstrap_servers: str, counts: Mapping[str, int], *, security: Security | None = None
) -> dict[tuple[str, int], int]:
    """The end of every partition of the topics, as {(topic, partition): offset}; raises Unavailable."""
    consumer = AIOKafkaConsumer(**client_options(bootstrap_servers, _CLIENT_ID, security))
    try:
        await consumer.start()
        wanted = [TopicPartition(name, part) for name, count in counts.items() for part in range(count)]
        found = await consumer.end_offsets(wanted)
        return {(place.topic, place.partition): offset for place, offset in found.items()}
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka at {bootstrap_servers} does not answer: {error!r}") from error
    finally:
        await consumer.stop()


async def committed_offsets(
    bootstrap_servers: str, group: str, *, security: Security | None = None, timeout_s: float = 10.0
) -> dict[tuple[str, int], int]:
    """What a group has committed, as {(topic, partition): offset}; raises Unavailable."""
    found = None
    async with admin_client(bootstrap_servers, security, timeout_s) as admin:
        while found is None:
            try:
                found = await admin.list_consumer_group_offsets(group)
            except GroupCoordinatorNotAvailableError:  # the first question about groups makes Kafka prepare for them
                await asyncio.sleep(_RETRY_S)
    return {(place.topic, place.partition): kept.offset for place, kept in found.items()}
