"""Read one record again, from the place where it was read before."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from coordinator.errors import Unavailable
from coordinator.kafka.connection import Security, client_options
from coordinator.kafka.records import Record

_FETCH_BYTES = 1024 * 1024
_CLOSE_S = 2.0


async def read_again(
    bootstrap_servers: str,
    topic: str,
    partition: int,
    offset: int,
    *,
    security: Security | None = None,
    timeout_s: float = 5.0,
) -> Record | None:
    """The record at an offset, or None when it is not in the log any more or cannot be read; raises Unavailable."""
    consumer = AIOKafkaConsumer(
        **client_options(bootstrap_servers, "saga-letters", security),
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    place = TopicPartition(topic, partition)
    try:
        async with asyncio.timeout(timeout_s):
            await consumer.start()
            consumer.assign([place])
            first = (await consumer.beginning_offsets([place]))[place]
            end = (await consumer.end_offsets([place]))[place]
            if not first <= offset < end:
                return None
            consumer.seek(place, offset)
            record = cast("Record", await consumer.getone(place))
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka does not give {topic}-{partition} at {offset}: {error or 'timeout'}") from error
    finally:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await consumer.stop()
    return record if record.offset == offset else None
