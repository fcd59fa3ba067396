"""Whether everybody has heard what was said in a choreography: Kafka knows how far each group of readers has come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from coordinator.saga.choreography import ChoreographyDefinition
from deploy.demo.site import EVENTS_PARTITIONS
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


def heard_finding(committed: Mapping[str, Offsets], ends: Offsets) -> tuple[str, bool]:
    """Say who has not heard everything that was said, by the offsets of each group; -1 is said where there is none."""
    behind = {
        group: sum(ends[place] - max(0, offset) for place, offset in offsets.items())
        for group, offsets in committed.items()
    }
    deaf = [f"{group} has {count} left to read" for group, count in behind.items() if count]
    return f"{sum(ends.values())} events were said: {'; '.join(deaf) or 'everybody has heard them'}", not deaf


async def wait_until_heard(definition: ChoreographyDefinition, stage: Stage) -> tuple[str, bool]:
    """Wait until nobody has anything left to hear, at most for a while; says how it was, and whether all is heard.

    Offsets are committed when the answers are published, so ends that are asked for afterwards have them in.
    """
    groups = audience(definition, stage.topic_prefix)
    admin = AIOKafkaAdminClient(bootstrap_servers=stage.bootstrap_servers)
    consumer = AIOKafkaConsumer(bootstrap_servers=stage.bootstrap_servers, enable_auto_commit=False)
    try:
        await admin.start()
        await consumer.start()
        deadline = asyncio.get_running_loop().time() + HEARD_S
        while True:
            committed = {group: await _committed(admin, group, topics) for group, topics in groups.items()}
            ends = await consumer.end_offsets({place for places in committed.values() for place in places})
            late = asyncio.get_running_loop().time() > deadline
            said, all_heard = heard_finding(committed, ends)
            if all_heard or late:
                return said, all_heard
            await asyncio.sleep(LOOK_S)
    finally:
        await consumer.stop()
        await admin.close()


async def _committed(admin: AIOKafkaAdminClient, group: str, topics: set[str]) -> dict[TopicPartition, int]:
    # Named one by one, since not every broker answers for all that there are.
    places = [TopicPartition(topic, part) for topic in topics for part in range(EVENTS_PARTITIONS)]
    found = await admin.list_consumer_group_offsets(group, partitions=places)
    return {place: at.offset for place, at in found.items()}
