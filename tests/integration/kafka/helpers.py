"""What these tests do again and again: listen, collect, publish, and damage a log on disk."""

from __future__ import annotations

import asyncio
import struct
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from coordinator.errors import Unavailable
from coordinator.kafka import (
    Outgoing,
    Polled,
    Publisher,
    Record,
    Skipped,
    Subscriber,
    TopicSpec,
    ensure_topics,
)

Join = Callable[..., Awaitable[Subscriber]]

CHECKSUM_AT = 17
ATTRIBUTES_AT = 21


class Recorder:
    """A listener that remembers what it was told; `claim` runs inside on_assigned."""

    def __init__(self, claim: Callable[[set[int]], Awaitable[None]] | None = None) -> None:
        self.events: list[tuple[str, set[int]]] = []
        self._claim = claim

    async def on_assigned(self, partitions: set[int]) -> None:
        """Remember it, and claim."""
        self.events.append(("assigned", partitions))
        if self._claim is not None:
            await self._claim(partitions)
        self.events.append(("claimed", partitions))

    async def on_revoked(self, partitions: set[int]) -> None:
        """Remember it."""
        self.events.append(("revoked", partitions))

    def count(self, event: str) -> int:
        """Count "assigned", "claimed" or "revoked"."""
        return sum(1 for name, _ in self.events if name == event)


async def eventually(condition: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    """Wait until `condition` holds; fail when it does not in time."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - conditions are about other people's code
            await asyncio.sleep(0.01)


async def collect(
    subscriber: Subscriber, is_enough: Callable[[list[Polled]], bool], *, timeout_s: float = 30.0
) -> list[Polled]:
    """Poll until `is_enough` is content with what has come; Unavailable only means: poll again."""
    polled: list[Polled] = []
    async with asyncio.timeout(timeout_s):
        while not is_enough(polled):
            try:
                polled += await subscriber.poll(timeout_ms=50)
            except Unavailable:
                await asyncio.sleep(0.05)
    return polled


def records(polled: list[Polled]) -> list[Record]:
    """Take the records out of what poll() has returned."""
    return [record for item in polled if not isinstance(item, Skipped) for record in item[1]]


def gaps(polled: list[Polled]) -> list[Skipped]:
    """Take the gaps out of what poll() has returned."""
    return [item for item in polled if isinstance(item, Skipped)]


def values(polled: list[Polled], partition: int | None = None) -> list[bytes]:
    """List the values of the records, of one partition or of all."""
    return [r.value or b"" for r in records(polled) if partition is None or r.partition == partition]


def has(count: int) -> Callable[[list[Polled]], bool]:
    """Make a condition for collect(): that many records have come."""
    return lambda polled: len(records(polled)) >= count


async def new_topic(bootstrap_servers: str, partitions: int = 1, **configs: str) -> str:
    """Create a topic that no other test has; configs with underscores for dots."""
    name = f"t{uuid.uuid4().hex[:12]}"
    settings = {key.replace("_", "."): value for key, value in configs.items()}
    await ensure_topics(bootstrap_servers, [TopicSpec(name, partitions, configs=settings)])
    return name


def outgoing(topic: str, count: int, *, partitions: int = 1, start: int = 0) -> list[Outgoing]:
    """Make numbered messages, spread over partitions; the token is the number."""
    return [
        Outgoing(topic, n % partitions, b"k%d" % n, b"v%d" % n, [("ce_id", b"%d" % n)], n)
        for n in range(start, start + count)
    ]


async def publish(publisher: Publisher, messages: list[Outgoing]) -> None:
    """Publish and insist on it."""
    result = await publisher.publish(messages)
    assert result.error is None, result.error
    assert sorted(result.acknowledged, key=repr) == sorted((m.token for m in messages), key=repr)


async def produce_bytes(bootstrap_servers: str, topic: str, partition: int, batch: bytes) -> None:
    """Send a batch exactly as given, as a careless client of another make might."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers)
    await client.bootstrap()
    try:
        await client.add_topic(topic)
        leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        request = ProduceRequest(
            transactional_id=None, required_acks=-1, timeout=5000, topics=[(topic, [(partition, batch)])]
        )
        answer = await client.send(leader, request)
        assert answer.topics[0][1][0][1] == 0, answer
    finally:
        await client.close()


def with_checksum(batch: bytearray) -> bytes:
    """Make the checksum right again after a change."""
    struct.pack_into(">I", batch, CHECKSUM_AT, calc_crc32c(bytes(batch[ATTRIBUTES_AT:])))
    return bytes(batch)


def damage(data: Path, topic: str, partition: int, offset: int, change: Callable[[bytearray], None]) -> None:
    """Change the batch that holds `offset` in the broker's log on disk; readers get it from the same page cache."""
    (segment,) = sorted((data / f"{topic}-{partition}").glob("*.log"))
    log = segment.read_bytes()
    at = 0
    while at < len(log):
        base, length = struct.unpack_from(">qi", log, at)
        delta = struct.unpack_from(">i", log, at + 23)[0]
        if base <= offset <= base + delta:
            batch = bytearray(log[at : at + 12 + length])
            change(batch)
            with segment.open("r+b") as file:
                file.seek(at)
                file.write(batch)
            return
        at += 12 + length
    raise AssertionError(f"offset {offset} is not in {segment}")
