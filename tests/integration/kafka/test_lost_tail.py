"""A broker that comes back without the end of its log: what is written in its place is read, however much it is."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from coordinator.kafka import OffsetReset, Publisher
from deploy.local.broker import Broker
from tests.faults.tails import cut_tail
from tests.integration.kafka.helpers import Join, collect, has, new_topic, outgoing, publish, values

BATCH = 5
BATCHES = 4


@pytest.fixture
def kafka(own_kafka: Broker) -> Broker:
    """Give a broker that may be killed, and whose log may be cut."""
    return own_kafka


@pytest.mark.parametrize("share", [0.5, 0.0])
async def test_what_took_the_place_of_a_lost_tail_is_read(
    kafka: Broker, logs: Path, publisher: Publisher, join: Join, *, share: float
) -> None:
    """More was written than was lost before the reader came back: it reads again; else it reads on."""
    topic = await new_topic(kafka.bootstrap_servers)
    resets: list[OffsetReset] = []
    for start in range(0, BATCHES * BATCH, BATCH):
        await publish(publisher, outgoing(topic, BATCH, start=start))
    subscriber = await join(topic, on_reset=resets.append)
    read = values(await collect(subscriber, has(BATCHES * BATCH)))
    kafka.kill()
    if share:
        assert cut_tail(logs, topic, share)
    added = write_again(logs, topic, 6)
    kafka.start()
    expected = [*read[: BATCHES * BATCH // 2], *added] if share else added
    assert values(await collect(subscriber, has(len(expected)))) == expected
    assert [(one.asked, one.earliest) for one in resets] == ([(BATCHES * BATCH, 0)] if share else [])


def write_again(logs: Path, topic: str, batches: int) -> list[bytes]:
    """Let a dead broker's log go on with copies of its first two batches in turn; answers what is in them."""
    (segment,) = (logs / f"{topic}-0").glob("*.log")
    log = segment.read_bytes()
    places, at = list[int](), 0
    while at + 12 <= len(log) and (length := struct.unpack_from(">i", log, at + 8)[0]) > 0:
        places.append(at)
        at += 12 + length
    log = log[:at]
    for number in range(batches):
        start, end = places[number % 2], places[number % 2 + 1] if len(places) > number % 2 + 1 else at
        log += struct.pack(">q", (len(places) + number) * BATCH) + log[start + 8 : end]
    segment.write_bytes(log)
    return [b"v%d" % (number % (2 * BATCH)) for number in range(batches * BATCH)]
