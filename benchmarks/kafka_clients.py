"""What one message costs our Kafka clients: CPU microseconds, in batches as the engine sends and reads them.

    python -m benchmarks.kafka_clients [--servers HOST:PORT] [--messages 80000]

Without --servers it starts a local Kafka. The broker's own CPU is not counted, only this process's.
"""

from __future__ import annotations

import argparse
import time
import uuid

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from coordinator.kafka import Outgoing, Publisher, Skipped, Subscriber, TopicSpec, ensure_topics
from deploy.local.kafka import start_kafka
from deploy.local.places import RunDirectory
from deploy.local.processes import Processes

PARTITIONS = 32
CALL = 800
VALUE_BYTES = 350
HEADERS = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"0d3f6b1e-7c54-4d0c-9a39-1d6a3f6f2b11:0:reserve_items:action#1"),
    ("ce_type", b"ReserveItems"),
    ("ce_source", b"saga-coordinator"),
    ("ce_subject", b"0d3f6b1e-7c54-4d0c-9a39-1d6a3f6f2b11"),
    ("ce_time", b"2026-01-01T00:00:00.000Z"),
    ("content-type", b"application/json"),
    ("reply-topic", b"saga.replies"),
    ("reply-partition", b"7"),
]


class Owner:
    """A listener with nothing to claim."""

    async def on_assigned(self, partitions: set[int]) -> None:
        """Take the partitions as they are."""

    async def on_revoked(self, partitions: set[int]) -> None:
        """Let them go."""


async def measure_bare_publishing(servers: str, topic: str, messages: int) -> None:
    """Do the same with aiokafka alone, defended against nothing: the floor."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True, max_batch_size=512 * 1024)
    await producer.start()
    key, value = b"0d3f6b1e-7c54-4d0c-9a39-1d6a3f6f2b11", b"v" * VALUE_BYTES
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for _ in range(messages // CALL):
        futures = []
        for partition in range(PARTITIONS):
            batch = producer.create_batch()
            for _ in range(CALL // PARTITIONS):
                batch.append(timestamp=None, key=key, value=value, headers=HEADERS)
            batch.close()
            futures.append(await producer.send_batch(batch, topic, partition=partition))
        for future in futures:
            await future
    report("bare publish", messages // CALL * CALL, time.process_time() - cpu_s, time.perf_counter() - wall_s)
    await producer.stop()


async def measure_bare_reading(servers: str, topic: str, messages: int) -> None:
    """Do the same with aiokafka alone, without a group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", fetch_max_wait_ms=100)
    await consumer.start()
    consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
    seen = 0
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    while seen < messages:
        fetched = await consumer.getmany(timeout_ms=200, max_records=1000)
        seen += sum(len(records) for records in fetched.values())
    report("bare getmany", seen, time.process_time() - cpu_s, time.perf_counter() - wall_s)
    await consumer.stop()


async def measure_publishing(servers: str, topic: str, messages: int) -> None:
    """Publish in calls of CALL messages over all partitions; print CPU and wall time per message."""
    publisher = Publisher(servers, "bench")
    await publisher.start()
    key, value = b"0d3f6b1e-7c54-4d0c-9a39-1d6a3f6f2b11", b"v" * VALUE_BYTES
    call = [Outgoing(topic, n % PARTITIONS, key, value, HEADERS, n) for n in range(CALL)]
    await publisher.publish(call)
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for _ in range(messages // CALL):
        published = await publisher.publish(call)
        if len(published.acknowledged) != CALL:
            raise RuntimeError(f"not everything was acknowledged: {published.error}")
    report("publish", messages // CALL * CALL, time.process_time() - cpu_s, time.perf_counter() - wall_s)
    await publisher.stop()


async def measure_reading(servers: str, topic: str, messages: int) -> None:
    """Read the topic from the start; print CPU and wall time per message."""
    subscriber = Subscriber(servers, topic, f"bench-{uuid.uuid4().hex}", "bench")
    await subscriber.start(Owner())
    while not subscriber.ready:
        await subscriber.poll(timeout_ms=10)
    seen = 0
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    while seen < messages:
        for item in await subscriber.poll():
            if not isinstance(item, Skipped):
                seen += len(item[1])
    report("poll", seen, time.process_time() - cpu_s, time.perf_counter() - wall_s)
    await subscriber.stop()


def report(what: str, messages: int, cpu_s: float, wall_s: float) -> None:
    """Print one line."""
    print(
        f"{what:12} {messages} messages, {len(HEADERS)} headers, {VALUE_BYTES} B:"
        f" {cpu_s / messages * 1e6:5.2f} us CPU, {wall_s / messages * 1e6:5.2f} us wall per message"
    )


async def run(servers: str, messages: int) -> None:
    """Measure both ways on a new topic."""
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    await ensure_topics(servers, [TopicSpec(topic, PARTITIONS)])
    for _ in range(2):  # the broker's JVM is slow at first
        await measure_bare_publishing(servers, topic, messages)
        await measure_publishing(servers, topic, messages)
    for _ in range(2):
        await measure_bare_reading(servers, topic, messages)
        await measure_reading(servers, topic, messages)


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers")
    parser.add_argument("--messages", type=int, default=80_000)
    arguments = parser.parse_args()
    if arguments.servers:
        uvloop.run(run(arguments.servers, arguments.messages))
        return
    home = RunDirectory()
    with Processes(home) as processes:
        broker = start_kafka(home, processes, forced=None, say=print)
        uvloop.run(run(broker.bootstrap_servers, arguments.messages))
        broker.close()
    home.close()


if __name__ == "__main__":
    main()
