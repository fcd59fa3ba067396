"""Records that nobody can read are named and stepped over; everything around them is delivered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from coordinator.kafka import Publisher, Skipped
from deploy.local.broker import Broker
from tests.integration.kafka.helpers import (
    ATTRIBUTES_AT,
    CHECKSUM_AT,
    Join,
    collect,
    damage,
    eventually,
    gaps,
    has,
    new_topic,
    outgoing,
    produce_bytes,
    publish,
    records,
    values,
    with_checksum,
)


@pytest.fixture
def kafka(own_kafka: Broker) -> Broker:
    """Give a broker whose log may be damaged."""
    return own_kafka


def break_checksum(batch: bytearray) -> None:
    """Make the checksum wrong."""
    batch[CHECKSUM_AT] ^= 0xFF


def use_unknown_codec(batch: bytearray) -> None:
    """Claim codec number 7, with a right checksum."""
    batch[ATTRIBUTES_AT + 1] |= 0x07
    batch[:] = with_checksum(batch)


def make_length_impossible(batch: bytearray) -> None:
    """Claim that the batch has three bytes."""
    batch[8:12] = (3).to_bytes(4)


async def fill(publisher: Publisher, topic: str, partitions: int) -> None:
    """Write three batches of five records to each partition."""
    for start in range(0, 15 * partitions, 5 * partitions):
        await publish(publisher, outgoing(topic, 5 * partitions, partitions=partitions, start=start))


async def test_a_broken_checksum_costs_one_batch(kafka: Broker, logs: Path, publisher: Publisher, join: Join) -> None:
    """A batch with a wrong checksum becomes one Skipped; records before, behind and in other partitions all come."""
    topic = await new_topic(kafka.bootstrap_servers, 3)
    await fill(publisher, topic, 3)
    damage(logs, topic, 1, 7, break_checksum)
    subscriber = await join(topic)
    polled = await collect(subscriber, has(40))
    assert gaps(polled) == [Skipped(topic, 1, 5, 10, "corrupt", gaps(polled)[0].detail)]
    assert "checksum" in gaps(polled)[0].detail
    for partition in (0, 2):
        assert values(polled, partition) == [b"v%d" % n for n in range(partition, 45, 3)]
    assert [r.offset for r in records(polled) if r.partition == 1] == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert subscriber.counts.skipped == 5
    await publish(publisher, outgoing(topic, 3, partitions=3, start=90))
    assert sorted(values(await collect(subscriber, has(3)))) == [b"v90", b"v91", b"v92"]


async def test_an_unknown_codec_costs_one_batch(kafka: Broker, logs: Path, publisher: Publisher, join: Join) -> None:
    """A batch in a codec that nobody here knows becomes one Skipped that says so."""
    topic = await new_topic(kafka.bootstrap_servers)
    await fill(publisher, topic, 1)
    damage(logs, topic, 0, 0, use_unknown_codec)
    polled = await collect(await join(topic), has(10))
    (gap,) = gaps(polled)
    assert (gap.first_offset, gap.next_offset, gap.reason) == (0, 5, "codec")
    assert polled[0] == gap
    assert values(polled) == [b"v%d" % n for n in range(5, 15)]


async def test_many_broken_batches_are_one_gap(kafka: Broker, logs: Path, publisher: Publisher, join: Join) -> None:
    """A run of unreadable batches is reported as one range, and does not take a poll each."""
    topic = await new_topic(kafka.bootstrap_servers)
    for n in range(60):
        await publish(publisher, outgoing(topic, 1, start=n))
    for n in range(5, 55):
        damage(logs, topic, 0, n, break_checksum)
    subscriber = await join(topic)
    polled = await collect(subscriber, has(10))
    assert [(gap.first_offset, gap.next_offset) for gap in gaps(polled)] == [(5, 55)]
    assert [record.offset for record in records(polled)] == [*range(5), *range(55, 60)]


async def test_a_header_that_is_no_text_costs_nothing(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """A header name that is not UTF-8, which makes aiokafka raise for ever, is read with replacement characters."""
    topic = await new_topic(kafka.bootstrap_servers)
    builder = BatchBuilder(10_000, 0)
    for n in range(3):
        builder.append(timestamp=1_700_000_000_000 + n, key=b"k", value=b"v%d" % n, headers=[("name", b"x")])
    batch = bytearray(builder._build())
    batch[batch.index(b"name", batch.index(b"v1"))] = 0xFF
    await produce_bytes(kafka.bootstrap_servers, topic, 0, with_checksum(batch))
    await publish(publisher, outgoing(topic, 1, start=3))
    polled = await collect(await join(topic), has(4))
    assert values(polled) == [b"v0", b"v1", b"v2", b"v3"]
    assert gaps(polled) == []
    odd = records(polled)[1]
    assert (odd.offset, odd.timestamp, odd.key) == (1, 1_700_000_000_001, b"k")
    assert list(odd.headers) == [("\N{REPLACEMENT CHARACTER}ame", b"x")]


async def test_compressed_and_rolled_back_records(kafka: Broker, logs: Path, publisher: Publisher, join: Join) -> None:
    """Reading by hand understands all codecs, leaves out rolled-back transactions, and passes their markers."""
    topic = await new_topic(kafka.bootstrap_servers)
    await publish(publisher, outgoing(topic, 1))
    expected = []
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        compressed = Publisher(kafka.bootstrap_servers, codec, compression=codec)
        await compressed.start()
        await publish(compressed, outgoing(topic, 50, start=100))
        expected += [b"v%d" % n for n in range(100, 150)]
        await compressed.stop()
    transactional = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=topic)
    await transactional.start()
    for outcome in (transactional.abort_transaction, transactional.commit_transaction):
        await transactional.begin_transaction()
        await transactional.send_and_wait(topic, outcome.__name__.encode(), partition=0)
        await outcome()
    await transactional.stop()
    damage(logs, topic, 0, 0, break_checksum)
    subscriber = await join(topic)
    polled = await collect(subscriber, lambda polled: b"commit_transaction" in values(polled))
    assert values(polled) == [*expected, b"commit_transaction"]
    await subscriber.poll(timeout_ms=300)
    assert await subscriber.end_offsets([0]) == {0: subscriber.position(0)}


async def test_rolled_back_records_are_invisible(kafka: Broker, publisher: Publisher, join: Join) -> None:
    """Records of a rolled-back transaction are not delivered, and the position passes them and the marker."""
    topic = await new_topic(kafka.bootstrap_servers)
    transactional = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=f"x{topic}")
    await transactional.start()
    await transactional.begin_transaction()
    await transactional.send_and_wait(topic, b"never", partition=0)
    await transactional.abort_transaction()
    await transactional.stop()
    subscriber = await join(topic)
    await eventually(lambda: subscriber.ready == {0})
    seen: list[Any] = []
    while subscriber.position(0) != 2:
        seen += await subscriber.poll(timeout_ms=50)
    assert seen == []
    assert await subscriber.end_offsets([0]) == {0: 2}


async def test_a_log_that_the_broker_cannot_read_does_not_stop_the_others(
    kafka: Broker, logs: Path, publisher: Publisher, join: Join
) -> None:
    """Where the broker itself refuses to read on, which aiokafka only logs, watching the positions leads past it."""
    topic = await new_topic(kafka.bootstrap_servers, 2)
    await fill(publisher, topic, 2)
    damage(logs, topic, 0, 7, make_length_impossible)
    subscriber = await join(topic)
    polled = await collect(subscriber, has(20))
    while subscriber.position(0) != 15:
        await subscriber.observe()
        for _ in range(2):
            polled += await subscriber.poll(timeout_ms=50)
    assert values(polled, 0) == [b"v%d" % n for n in range(0, 10, 2)]
    assert values(polled, 1) == [b"v%d" % n for n in range(1, 30, 2)]
    assert [(gap.first_offset, gap.next_offset) for gap in gaps(polled)] == [(5, 10), (10, 15)]
