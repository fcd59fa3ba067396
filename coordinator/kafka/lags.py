"""How far consumer groups are behind on topics: what is written there less what they have committed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from coordinator.errors import Unavailable
from coordinator.kafka.connection import Security, client_options

_CLIENT_ID = "saga-lags"
_CLOSE_S = 2.0


class Lag(msgspec.Struct, frozen=True):
    """How many records a group has not committed yet; None, with the reason, where that cannot be told."""

    records: int | None
    unknown: str | None = None


async def lags(
    bootstrap_servers: str,
    groups: Mapping[str, str],
    counts: Mapping[str, int],
    *,
    security: Security | None = None,
    timeout_s: float = 3.0,
) -> dict[str, Lag]:
    """The lag of each topic's group; `counts` are the topics' partitions. Raises Unavailable."""
    options = client_options(bootstrap_servers, _CLIENT_ID, security)
    consumer = AIOKafkaConsumer(**options, enable_auto_commit=False)
    admin = AIOKafkaAdminClient(**options)
    places = [TopicPartition(topic, part) for topic in groups for part in range(counts[topic])]
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(consumer.start(), admin.start())
            ends = await consumer.end_offsets(places)
            found = await asyncio.gather(
                *(_lag(admin, topic, group, ends) for topic, group in groups.items()), return_exceptions=True
            )
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka does not say how far groups are: {error or 'timeout'}") from error
    finally:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.gather(consumer.stop(), admin.close())
    return {topic: _told(one, groups[topic]) for topic, one in zip(groups, found, strict=True)}


async def _lag(admin: AIOKafkaAdminClient, topic: str, group: str, ends: Mapping[TopicPartition, int]) -> Lag:
    committed = await admin.list_consumer_group_offsets(group)
    offsets = {place: told.offset for place, told in committed.items() if place.topic == topic and told.offset >= 0}
    if not offsets:
        return Lag(None, f"the consumer group {group} has committed nothing on {topic}")
    # A partition without an offset was never read: all that is in it is still to be done.
    return Lag(sum(max(0, end - offsets.get(place, 0)) for place, end in ends.items() if place.topic == topic))


def _told(found: Lag | BaseException, group: str) -> Lag:
    if isinstance(found, Lag):
        return found
    if not isinstance(found, KafkaError | OSError):
        raise found
    return Lag(None, f"Kafka does not say how far the consumer group {group} is: {type(found).__name__}")
