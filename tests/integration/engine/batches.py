"""Records that come in bulk, or in batches that nobody can read: floods, codecs, damage on the broker's disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiokafka import AIOKafkaProducer

from deploy.local.kafka_jvm import JvmBroker
from deploy.local.stack import LocalStack
from tests.integration.engine.bench import Bench, Target, reply
from tests.integration.kafka.helpers import ATTRIBUTES_AT, CHECKSUM_AT, with_checksum

CODECS = ("gzip", "snappy", "lz4", "zstd")
FLOOD = 100_000
BATCH_BYTES = 500_000


def log_folder(stack: LocalStack) -> Path | None:
    """Where the partitions of a Kafka lie that these tests have started; None where they have not."""
    folder = stack.run.path / "data" / "kafka" / "logs"
    return folder if stack.kafka.kind == JvmBroker.kind and folder.is_dir() else None


def break_checksum(batch: bytearray) -> None:
    """Damage a batch on its way."""
    batch[CHECKSUM_AT] ^= 0xFF


def use_unknown_codec(batch: bytearray) -> None:
    """Claim a codec that nobody has."""
    batch[ATTRIBUTES_AT + 1] |= 0x07
    batch[:] = with_checksum(batch)


async def flood(bench: Bench, target: Target) -> tuple[int, int]:
    """Send the flood; answers its first and last offset."""
    producer = AIOKafkaProducer(bootstrap_servers=bench.world.stack.kafka.bootstrap_servers, max_batch_size=BATCH_BYTES)
    await producer.start()
    bad = reply(target, b"{")
    sent, left = [], FLOOD
    while left:
        batch = producer.create_batch()
        while left and batch.append(key=bad.key, value=bad.value, timestamp=None, headers=bad.headers) is not None:
            left -= 1
        sent.append(await producer.send_batch(batch, bench.topic, partition=target.part))
    offsets = [metadata.offset for metadata in await asyncio.gather(*sent)]
    await producer.stop()
    return min(offsets), min(offsets) + FLOOD - 1
