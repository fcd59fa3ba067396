"""A participant's twin that answers whatever comes to its mind, always after the honest one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from tests.e2e.world import PARTITIONS, World, event_headers

LIAR, BETRAYED = "payment", "shipping"
MARK = "lie"  # on each of its records, so that it does not answer itself


class Liar:
    """What it has said so far, by kind of lie."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self._others: list[str] = []

    def lies(self, record: ConsumerRecord) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """Make lies of an honest reply: what kind of lie, the type of message, who claims to send it, and its value."""
        headers = dict(record.headers)
        if MARK in headers or (headers["ce_source"], headers["ce_type"]) != (LIAR.encode(), b"SagaStepCompleted"):
            return
        honest = json.loads(record.value)
        said = {name: honest[name] for name in ("saga_id", "step_name", "command_id", "attempt")}
        failed = {"error": {"code": "a_lie", "message": "it never happened", "retryable": False}}
        done: dict[str, Any] = {"result": {}}
        ahead = said["command_id"].replace(said["step_name"], "create_shipment")
        yield "it was not done after all", "SagaStepFailed", LIAR, said | failed
        yield "it was undone", "SagaCompensationCompleted", LIAR, said | {"effect": "undone"}
        yield "another did not do it", "SagaStepFailed", BETRAYED, said | failed
        yield (
            "another has done what it was not asked for",
            "SagaStepCompleted",
            LIAR,
            said | done | {"step_name": "create_shipment", "command_id": ahead},
        )
        yield "an attempt that never was", "SagaStepFailed", LIAR, said | failed | {"attempt": 7}
        yield "a command that never was", "SagaStepFailed", LIAR, said | failed | {"command_id": "made-up"}
        yield "a saga that never was", "SagaStepCompleted", LIAR, said | done | {"saga_id": str(uuid.uuid4())}
        for other in self._others[-1:]:
            yield "another saga's", "SagaStepFailed", LIAR, said | failed | {"saga_id": other}
        self._others.append(said["saga_id"])

    async def listen(self, world: World, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        """Follow the topic of replies, and add to it."""
        topic = f"{world.prefix}replies"
        while True:
            for records in (await consumer.getmany(timeout_ms=50)).values():
                for record in records:
                    for kind, ce_type, source, value in self.lies(record):
                        await producer.send(
                            topic,
                            json.dumps(value).encode(),
                            key=value["saga_id"].encode(),
                            headers=event_headers(ce_type, source, **{MARK: kind}),
                            partition=record.partition,
                        )
                        self.told[kind] += 1


@contextlib.asynccontextmanager
async def lying(world: World) -> AsyncIterator[Liar]:
    """Have lies told until the end; all of them are on Kafka then."""
    servers = world.stack.kafka.bootstrap_servers
    consumer, producer = AIOKafkaConsumer(bootstrap_servers=servers), AIOKafkaProducer(bootstrap_servers=servers)
    await asyncio.gather(consumer.start(), producer.start())
    places = [TopicPartition(f"{world.prefix}replies", part) for part in range(PARTITIONS)]
    consumer.assign(places)
    await consumer.seek_to_end(*places)
    liar = Liar()
    listening = asyncio.create_task(liar.listen(world, consumer, producer))
    try:
        yield liar
    finally:
        listening.cancel()
        await asyncio.wait([listening])
        await asyncio.gather(consumer.stop(), producer.stop())
    assert listening.cancelled()
