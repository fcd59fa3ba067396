"""One world per module: tests of a module share its processes, each with orders of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deploy.local.stack import LocalStack
from tests.e2e.world import World
from tests.needs import need_real_kafka


@pytest.fixture(scope="module")
async def world(stack: LocalStack) -> AsyncIterator[World]:
    """Give participants and topics without a coordinator: each module starts those that it is about."""
    need_real_kafka(stack, "static members, several of a group")
    world = World(stack)
    try:
        await world.open()
        yield world
    finally:
        await world.close()
