"""The coordinator as one would write it first, to compare with: `python -m benchmarks.naive`.

One task with a database connection and a consumer of its own for each partition of the reply topic. Each record is one
transaction: SELECT ... FOR UPDATE of the saga, the machine's decision, UPDATE, one log row, one outbox row, COMMIT.
After the commit the command is published and its acknowledgement awaited; then comes the next record. Machine, codecs,
headers, tables and rows are those of the coordinator; there is no fence and no memory. In its favour, acknowledged
outbox rows are deleted together, and Kafka's offset is committed, only once a second. It knows no undo and no timers.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from typing import Any

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from coordinator.engine.clock import new_saga_id
from coordinator.engine.journal import BEGAN, began, entry
from coordinator.engine.reading import ReplyArrival, StartArrival, event_of, read
from coordinator.engine.registry import Registry
from coordinator.saga import machine
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import IssueCommand, Moved
from coordinator.saga.model import Direction, Saga, SagaStatus, command_id, dump_state, load_state
from coordinator.wire.cloudevents import command_headers
from coordinator.wire.outbound import encode_command
from sagas import definitions

READY = "the naive coordinator reads"
TIDY_S = 1.0

TAKE_KEY = """
INSERT INTO saga_key (definition, business_key, saga_id, input_hash) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING 1
"""
START = """
INSERT INTO saga (id, part, definition_id, created_at, business_key, input, version, updated_at, deadline, wake_at,
    status, state)
VALUES ($1, $2, $3, now(), $4, $5, $6, now(), to_timestamp($7::bigint / 1000.0), to_timestamp($7::bigint / 1000.0),
    $8, $9)
"""
LOCK = "SELECT definition_id, input, version, status, state FROM saga WHERE id = $1 FOR UPDATE"
MOVE = """
UPDATE saga SET version = $2, updated_at = now(), status = $4, state = $5, deadline = to_timestamp($3::bigint / 1000.0),
    wake_at = CASE WHEN $3::bigint IS NOT NULL THEN least(wake_at, to_timestamp($3::bigint / 1000.0)) END
WHERE id = $1
"""
LOG = """
INSERT INTO saga_log (saga_id, version, at, part, event, step_name, status, data)
VALUES ($1, $2, now(), $3, $4, $5, $6, $7)
"""
SEND = """
INSERT INTO outbox (saga_id, saga_version, position, part, created_at, destination, partition, type, payload)
VALUES ($1, $2, $3, $4, now(), $5, $6, $7, $8)
"""
DELETE = """
DELETE FROM outbox AS o USING unnest($1::uuid[], $2::integer[], $3::smallint[]) AS a (id, version, position)
WHERE o.saga_id = a.id AND o.saga_version = a.version AND o.position = a.position
"""
REGISTER = "INSERT INTO saga_definition (name, version) VALUES ($1, $2) ON CONFLICT DO NOTHING"


class _Chance:
    bits = staticmethod(secrets.randbits)
    roll = staticmethod(lambda: 0.5)


class NaivePartition:
    """Everything that happens to the sagas of one partition, one record after the other."""

    def __init__(self, part: int, prefix: str, counts: dict[str, int], registry: Registry) -> None:
        self._part = part
        self._replies = f"{prefix}replies"
        self._prefix = prefix
        self._counts = counts
        self._registry = registry
        self._acknowledged: list[tuple[str, int, int]] = []
        self._tidied_at = time.monotonic()
        self._connection: asyncpg.Connection[asyncpg.Record]
        self._producer: AIOKafkaProducer
        self._consumer: AIOKafkaConsumer

    async def open(self, database_url: str, bootstrap_servers: str, producer: AIOKafkaProducer) -> None:
        """Connect."""
        self._connection = await asyncpg.connect(database_url)
        self._producer = producer
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            group_id=f"{self._prefix}naive",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=5,
        )
        self._consumer.assign([TopicPartition(self._replies, self._part)])
        await self._consumer.start()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            record = await self._consumer.getone()
            messages = await self._commit(record)
            for token, message in messages:
                await self._producer.send_and_wait(**message)
                self._acknowledged.append(token)
            if time.monotonic() - self._tidied_at > TIDY_S:
                await self._tidy()

    async def _commit(self, record: ConsumerRecord) -> list[tuple[tuple[str, int, int], dict[str, Any]]]:
        (arrival,) = read([(self._part, [record])], self._registry, {})
        async with self._connection.transaction():
            if isinstance(arrival, StartArrival):
                return await self._start(arrival)
            if isinstance(arrival, ReplyArrival):
                return await self._reply(arrival)
        raise RuntimeError(f"the naive coordinator knows no {arrival}")

    async def _start(self, arrival: StartArrival) -> list[tuple[tuple[str, int, int], dict[str, Any]]]:
        now_ms = int(time.time() * 1000)
        definition = arrival.definition
        saga_id = new_saga_id(now_ms, _Chance)
        key = (definition.name, arrival.business_key, saga_id, arrival.input_hash)
        if not await self._connection.fetchval(TAKE_KEY, *key):
            return []
        moved = machine.begin(definition, saga_id, now_ms=now_ms)
        saga = moved.saga
        await self._connection.execute(
            START,
            saga_id,
            self._part,
            self._registry.id_of(definition),
            arrival.business_key,
            arrival.input,
            saga.version,
            saga.waking_ms,
            saga.status,
            dump_state(saga),
        )
        await self._log(saga, BEGAN, None, began(now_ms, None))
        return await self._send(definition, moved, arrival.input, now_ms)

    async def _reply(self, arrival: ReplyArrival) -> list[tuple[tuple[str, int, int], dict[str, Any]]]:
        now_ms = int(time.time() * 1000)
        row = await self._connection.fetchrow(LOCK, arrival.saga_id)
        if row is None:
            return []
        definition = self._registry.of_id(row["definition_id"])
        assert definition is not None
        state = load_state(row["state"])
        saga = Saga(
            arrival.saga_id,
            definition.name,
            definition.version,
            SagaStatus(row["status"]),
            row["version"],
            state.steps,
            state.facing,
        )
        event = event_of(arrival, definition)
        decision = machine.decide(definition, saga, event, now_ms=now_ms, roll=_Chance.roll())
        if not isinstance(decision, Moved):
            return []
        after = decision.saga
        await self._connection.execute(MOVE, saga.id, after.version, after.waking_ms, after.status, dump_state(after))
        name, step_name, data = entry(event, now_ms, _Chance.roll())
        await self._log(after, name, step_name, data)
        return await self._send(definition, decision, row["input"], now_ms)

    async def _log(self, saga: Saga, event: str, step_name: str | None, data: bytes) -> None:
        await self._connection.execute(LOG, saga.id, saga.version, self._part, event, step_name, saga.status, data)

    async def _send(
        self, definition: SagaDefinition, moved: Moved, input_: bytes, now_ms: int
    ) -> list[tuple[tuple[str, int, int], dict[str, Any]]]:
        saga = moved.saga
        messages = []
        for position, effect in enumerate(moved.effects):
            if not isinstance(effect, IssueCommand) or effect.direction is not Direction.ACTION:
                raise TypeError(f"the naive coordinator cannot undo: {effect}")
            step = definition.steps[effect.step]
            identity = command_id(saga.id, saga.steps[effect.step].generation, step.name, Direction.ACTION)
            not_after_ms = now_ms + step.expiry_ms
            value = encode_command(saga.id, definition.name, step.name, identity, effect.attempt, input_, not_after_ms)
            topic = f"{self._prefix}{step.participant}.commands"
            message = {
                "topic": topic,
                "partition": self._part % self._counts[topic],
                "key": saga.id.encode(),
                "value": value,
                "headers": command_headers(
                    step.action, identity, effect.attempt, saga.id, now_ms, self._replies, self._part
                ),
            }
            token = (saga.id, saga.version, position)
            await self._connection.execute(SEND, *token, self._part, topic, message["partition"], step.action, value)
            messages.append((token, message))
        return messages

    async def _tidy(self) -> None:
        if self._acknowledged:
            await self._connection.execute(DELETE, *zip(*self._acknowledged, strict=True))
            self._acknowledged.clear()
        await self._consumer.commit()
        self._tidied_at = time.monotonic()


async def _main() -> None:
    database_url, bootstrap = os.environ["SAGA_DATABASE__URL"], os.environ["SAGA_KAFKA__BOOTSTRAP_SERVERS"]
    prefix = os.environ["SAGA_TOPIC_PREFIX"]
    registry = Registry(definitions)
    connection = await asyncpg.connect(database_url)
    await connection.executemany(REGISTER, registry.keys)
    rows = await connection.fetch("SELECT id, name, version FROM saga_definition")
    registry.bind({(row["name"], row["version"]): row["id"] for row in rows})
    await connection.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, acks="all", linger_ms=0)
    await producer.start()
    topics = [f"{prefix}replies", *(f"{prefix}{name}.commands" for name in registry.participants)]
    counts = {topic: len(await producer.partitions_for(topic)) for topic in topics}
    partitions = [NaivePartition(part, prefix, counts, registry) for part in range(counts[topics[0]])]
    await asyncio.gather(*(partition.open(database_url, bootstrap, producer) for partition in partitions))
    print(READY, flush=True)
    await asyncio.gather(*(partition.run() for partition in partitions))


if __name__ == "__main__":
    uvloop.run(_main())
