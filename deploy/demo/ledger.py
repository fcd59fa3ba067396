"""The coordinator's own books, read from its tables and from Kafka when everything is over."""

from __future__ import annotations

import contextlib
from typing import Final, Self

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from deploy.demo.judging.coordinator import Ledger, Shard

VERDICTS: Final = ("applied", "duplicate", "stale", "foreign", "quarantined")

COUNTS_SQL: Final = """
select
    (select count(*) from outbox) as outbox,
    (select count(*) from dead_letter where kind <> 'record') as commands_dead,
    (select count(*) from dead_letter where kind = 'record') as records_dead,
    (select count(*) from dead_letter where not on_topic) as dead_unpublished,
    (select count(*) from audit_log where action in ('retry', 'replay')) as verbs_audited
"""


class ReplyTopic:
    """Asks Kafka how far the partitions of the reply topic reach."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int) -> None:
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
        self._partitions = [TopicPartition(topic, part) for part in range(partitions)]

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        with contextlib.suppress(KafkaError):
            await self._consumer.stop()

    async def ends(self) -> dict[int, int]:
        """Return the end offset of each partition."""
        ends = await self._consumer.end_offsets(self._partitions)
        return {partition.partition: offset for partition, offset in ends.items()}


async def read_ledger(connection: asyncpg.Connection[asyncpg.Record], topic: ReplyTopic) -> Ledger:
    """Read the coordinator's books; Kafka is asked first, so that what was read by then can be told."""
    ends = await topic.ends()
    [counts] = await connection.fetch(COUNTS_SQL)
    shards = {
        row["part"]: Shard(row["first_offset"], row["next_offset"], {word: row[word] for word in VERDICTS})
        for row in await connection.fetch("select * from shard")
    }
    return Ledger(shards=shards, ends=ends, **counts)
