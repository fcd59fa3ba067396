"""What some tests need of the servers that there are; without it a test is skipped, by name and with why."""

from __future__ import annotations

import pytest

from deploy.local.stack import LocalStack


def need_real_kafka(stack: LocalStack, why: str = "groups of several members") -> None:
    """Skip a test for which the in-memory broker is not enough."""
    if not stack.kafka.durable:
        pytest.skip(f"needs real Kafka ({why}), this is {stack.kafka.description}")
