"""Kafka is killed, frozen, slow, or forgets: nobody is blamed for it, and nothing is lost, doubled or left behind."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.kafka_jvm import JvmBroker
from deploy.local.places import PROJECT
from deploy.local.processes import free_port
from deploy.local.stack import LocalStack
from tests.e2e.orders import order
from tests.e2e.world import PARTITIONS, Coordinator, World
from tests.faults.definitions import BRIEF, BRIEF_S
from tests.faults.listeners import listen_beside
from tests.faults.load import Say, under_load
from tests.faults.tails import cut_tail
from tests.faults.wires import SlowWire

pytestmark = pytest.mark.timeout(300)

BOUND_S = 10.0
DOWN_S = 10.0
FROZEN_S = 20.0
SLOW_S = 15.0
LATENCY_S = 0.5
CUT = 0.3  # of the newest segment's batches
SEMANTICS = PROJECT / "docs" / "semantics.md"
ENDED = "SELECT count(*) = $1 FROM saga WHERE status = 'completed'"


@pytest.fixture(scope="module")
def wire(stack: LocalStack) -> Iterator[SlowWire]:
    """Give a wire to the broker, which tells those who come over it to come over it again."""
    kafka = stack.kafka
    assert isinstance(kafka, JvmBroker)
    port = free_port()
    with SlowWire(port) as wire:
        listen_beside(kafka, "127.0.0.1", port=port, advertised=wire.port)
        yield wire


async def test_a_killed_broker(world: World, kafka: JvmBroker, coordinator: Coordinator, say: Say) -> None:
    """The broker is killed and started again after 10 s: no deadline passes, and sagas move within 10 s."""
    async with under_load(world, coordinator, say=say, definition=BRIEF) as load:
        await asyncio.to_thread(kafka.kill)
        await asyncio.sleep(DOWN_S)
        await asyncio.to_thread(kafka.start)
        await load.measure("broker killed and restarted", BOUND_S)
    await load.nobody_was_blamed()
    assert coordinator.child.exit_code is None


async def test_a_frozen_broker(world: World, kafka: JvmBroker, coordinator: Coordinator, say: Say) -> None:
    """The broker keeps its connections and answers nothing for 20 s: no deadline passes, sagas move within 10 s."""
    assert FROZEN_S > 3 * BRIEF_S
    async with under_load(world, coordinator, say=say, definition=BRIEF) as load:
        await asyncio.to_thread(kafka.pause)
        await asyncio.sleep(FROZEN_S)
        await asyncio.to_thread(kafka.resume)
        await load.measure("broker paused 20 s", BOUND_S)
    await load.nobody_was_blamed()
    assert coordinator.child.exit_code is None


async def test_a_slow_broker(wire: SlowWire, world: World, say: Say) -> None:
    """Whatever the coordinator and the broker say takes half a second each way: sagas move all the same."""
    coordinator = await world.launched("coordinator", SAGA_KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{wire.port}")
    async with under_load(world, coordinator, say=say) as load:
        before = await world.value("SELECT count(*) FROM saga WHERE status = 'completed'")
        wire.delay_s = LATENCY_S
        await asyncio.sleep(SLOW_S)
        assert await world.value("SELECT count(*) FROM saga WHERE status = 'completed'") > before
        wire.delay_s = 0.0
        await load.measure("broker slow (0.5 s each way)", BOUND_S)
    assert coordinator.child.exit_code is None


async def test_a_broker_that_forgets_replies(
    world: World, kafka: JvmBroker, coordinator: Coordinator, say: Say
) -> None:
    """The broker comes back without the last replies: their commands are sent again, and every saga ends."""
    async with under_load(world, coordinator, say=say, definition=BRIEF) as load:
        await asyncio.to_thread(kafka.kill)
        assert cut_tail(_logs(kafka), f"{world.prefix}replies", CUT)
        await asyncio.to_thread(kafka.start)
        await load.measure("broker restarted without its last replies", BOUND_S)
    assert coordinator.child.exit_code is None


async def test_a_broker_that_forgets_commands(
    world: World, kafka: JvmBroker, coordinator: Coordinator, say: Say
) -> None:
    """The broker comes back without the last commands to a participant: they are sent again, and every saga ends."""
    async with under_load(world, coordinator, say=say, definition=BRIEF) as load:
        await asyncio.to_thread(kafka.kill)
        load.forgotten = cut_tail(_logs(kafka), f"{world.prefix}payment.commands", CUT)
        assert load.forgotten
        await asyncio.to_thread(kafka.start)
        await load.measure("broker restarted without the last commands to payment", BOUND_S)
    assert coordinator.child.exit_code is None


async def test_a_cut_that_no_coordinator_lived_through(
    world: World, kafka: JvmBroker, coordinator: Coordinator
) -> None:
    """Whoever begins after it passes over what took the place of the lost records; the remedy of rule 16 reads them."""
    first = [order() for _ in range(8 * PARTITIONS)]
    await world.request_starts(first)
    await world.until(ENDED, len(first))
    await world.rest()
    before = await world.end_offsets()
    assert await coordinator.stop() == 0
    await asyncio.to_thread(kafka.kill)
    assert cut_tail(_logs(kafka), f"{world.prefix}replies", CUT)
    await asyncio.to_thread(kafka.start)
    after = await world.end_offsets()
    lost = max(before[part] - after[part] for part in before)
    later = [order() for _ in range((lost + 3) * PARTITIONS)]
    await world.request_starts(later)

    unaware = await world.launched("unaware")
    await world.rest()
    assert len(first) < await world.value("SELECT count(*) FROM saga") < len(first) + len(later)
    assert await unaware.stop() == 0

    (remedy,) = re.findall(r"`(UPDATE shard SET [^`]+)`", SEMANTICS.read_text())
    await world.rows(remedy)
    await world.launched("told")
    await world.until(ENDED, len(first) + len(later))
    await world.check(count=len(first) + len(later))


def _logs(kafka: JvmBroker) -> Path:
    return kafka._properties.parent / "logs"
