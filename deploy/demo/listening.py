"""Whether everybody has heard what was said in a choreography: Kafka knows how far each group of readers has come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from coordinator.kafka.topics import partition_counts
from coordinator.saga.choreography import ChoreographyDefinition
from deploy.demo.starting import Stage

LOOK_S: Final = 0.3
HEARD_S: Final = 10.0

Offsets = Mapping[TopicPartition, int]


def audience(definition: ChoreographyDefinition, prefix: str) -> dict[str, set[str]]:
    """Name the consumer groups, each with the topics that it reads: a participant hears what its own events follow."""
    groups: dict[str, set[str]] = {}
    for event in definition.events:
        topic = f"{prefix}{event.source}.events"
        groups.setdefault(f"{prefix}coordinator.{event.source}.events", set()).add(topic)
        for following in event.then:
            groups.setdefault(f"{prefix}{definition.by_type[following].source}", set()).add(topic)
    return groups


def unheard(committed: Offsets, ends: Offsets) -> int:
    """Count the records that a group has not read on the partitions that it reads; -1 is said where it never was."""
    return sum(ends[place] - max(0, offset) for place, offset in committed.items())


async def wait_until_heard(definition: ChoreographyDefinition, stage: Stage) -> None:
    """Wait until nobody has anything left to hear, at most for a while; what came of it is judged.

    Offsets are committed when the answers are published, so ends that are asked for afterwards have them in.
    """
    groups = audience(definition, stage.topic_prefix)
    admin = AIOKafkaAdminClient(bootstrap_servers=stage.bootstrap_servers)
    consumer = AIOKafkaConsumer(bootstrap_servers=stage.bootstrap_servers, enable_auto_commit=False)
    await admin.start()
    await consumer.start()
    try:
        topics = sorted(set.union(*groups.values()))
        counts = await partition_counts(stage.bootstrap_servers, topics)
        places = [TopicPartition(topic, part) for topic, count in counts.items() for part in range(count)]
        deadline = asyncio.get_running_loop().time() + HEARD_S
        while asyncio.get_running_loop().time() < deadline:
            committed = [
                await _committed(admin, group, [place for place in places if place.topic in heard])
                for group, heard in groups.items()
            ]
            ends = await consumer.end_offsets(places)
            if not any(unheard(each, ends) for each in committed):
                return
            await asyncio.sleep(LOOK_S)
    finally:
        await consumer.stop()
        await admin.close()


async def _committed(admin: AIOKafkaAdminClient, group: str, places: list[TopicPartition]) -> dict[TopicPartition, int]:
    # Named one by one, since not every broker answers for all that there are.
    found = await admin.list_consumer_group_offsets(group, partitions=places)
    return {place: at.offset for place, at in found.items()}
