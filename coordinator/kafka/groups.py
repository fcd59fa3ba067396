"""Who else is in a consumer group."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

_UUID_LENGTH = 36


async def is_held_by_another(options: dict[str, Any], group_id: str, instance_id: str, own_member_id: str) -> bool:
    """Tell whether the group knows a member with our static instance id that is not us; False when nobody answers.

    The broker names static members `<instance id>-<uuid>`. It tells a displaced member only "unknown member" (the
    heartbeats of aiokafka carry no instance id), upon which two processes would throw each other out for ever.
    """
    admin = AIOKafkaAdminClient(**options)
    try:
        async with asyncio.timeout(5.0):
            await admin.start()
            answers = await admin.describe_consumer_groups([group_id])
    except (KafkaError, TimeoutError, OSError):
        return False
    finally:
        await admin.close()
    members = [member for answer in answers for group in answer.to_object()["groups"] for member in group["members"]]
    holders = {str(member["member_id"]) for member in members}
    return any(_instance_of(holder) == instance_id and holder != own_member_id for holder in holders)


def _instance_of(member_id: str) -> str:
    return member_id[: -_UUID_LENGTH - 1]
