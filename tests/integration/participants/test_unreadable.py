"""Records that nobody can read cost themselves only: everything around them is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder

from coordinator.wire.cloudevents import command_headers
from coordinator.wire.messages import StepCompleted
from deploy.local.processes import Child
from deploy.local.stack import LocalStack
from tests.integration.kafka.helpers import CHECKSUM_AT, damage, produce_bytes, with_checksum
from tests.integration.participants.exchange import Step, now_ms
from tests.integration.participants.office import COMMAND_PARTITIONS, Office, step

LETTERS = "select part, record_offset, reason, value from payment.kit_dead_letter order by part, record_offset"


@pytest.fixture
async def desk(own_office: Office) -> Office:
    """Give an office whose topics are there, and nobody at work yet."""
    await own_office.open("payment")
    return own_office


@pytest.fixture
def logs(real_kafka: LocalStack) -> Path:
    """Give the folder of the broker's partitions, of which a test damages its own."""
    folders = list((real_kafka.run.path / "data").glob("kafka*/logs")) if hasattr(real_kafka, "run") else []
    if len(folders) != 1:
        pytest.skip("needs a Kafka whose log is a local file")
    return folders[0]


def stored(office: Office, steps: list[Step]) -> bytearray:
    """Build one batch with the action of each step, each with a header "extra" besides."""
    builder = BatchBuilder(1_000_000, 0)
    for one in steps:
        who = (one.action, one.action_id, 1, one.saga_id, now_ms(), office.exchange.replies_topic, 0, None)
        headers = [*command_headers(*who), ("extra", one.saga_id.encode())]
        builder.append(timestamp=now_ms(), key=one.saga_id.encode(), value=one.act(), headers=headers)
    return bytearray(builder._build())


async def send(office: Office, partition: int, *steps: Step, odd: Step | None = None) -> None:
    """Send actions as one batch; the header of `odd` has a name that is not UTF-8."""
    batch = stored(office, list(steps))
    if odd is not None:
        batch[batch.rindex(b"extra", 0, batch.rindex(odd.saga_id.encode()))] = 0xFF
    where = (office.stack.kafka.bootstrap_servers, f"{office.prefix}payment.commands", partition)
    async with asyncio.timeout(20):
        while True:  # a partition that was just created has no leader for a moment, and refuses what is sent
            with suppress(AssertionError):
                return await produce_bytes(*where, with_checksum(batch))
            await asyncio.sleep(0.05)


async def answered(office: Office, *steps: Step) -> None:
    """Wait until all actions are done."""
    for one in steps:
        assert isinstance((await office.exchange.reply(one.action_id)).message, StepCompleted)


def orders(count: int) -> list[Step]:
    """Make payments that a participant can do."""
    return [step("payment") for _ in range(count)]


def break_checksum(batch: bytearray) -> None:
    """Make the checksum wrong."""
    batch[CHECKSUM_AT] ^= 0xFF


def make_length_impossible(batch: bytearray) -> None:
    """Claim that the batch has three bytes."""
    batch[8:12] = (3).to_bytes(4)


async def test_an_odd_header_costs_one_record(desk: Office) -> None:
    """A header name that is not UTF-8 costs its record: a letter is kept, the batch and the partitions go on."""
    steps = [orders(3) for _ in range(COMMAND_PARTITIONS)]
    odd = steps[1][1]
    for partition, some in enumerate(steps):
        await send(desk, partition, *some, odd=odd if odd in some else None)
    child = await desk.launched("payment")
    await answered(desk, *(one for some in steps for one in some if one is not odd))
    ((partition, offset, reason, value),) = await desk.rows(LETTERS)
    assert (partition, offset, reason) == (1, 1, "corrupt")
    assert odd.saga_id.encode() in value
    await _still_at_work(desk, child, "unreadable_records")
    assert len(desk.exchange.heard[odd.action_id]) == 0


async def test_what_is_stepped_over_stays_behind(desk: Office) -> None:
    """A restart goes on behind the unreadable record, which keeps its one letter."""
    before, odd, after = orders(3)
    child = await desk.launched("payment")
    await send(desk, 2, before, odd, odd=odd)
    await answered(desk, before)
    await desk.until("select count(*) = 1 from payment.kit_dead_letter")
    await asyncio.to_thread(child.stop)
    again = await desk.launched("payment", "--instance", "again")
    await send(desk, 2, after)
    await answered(desk, after)
    assert "unreadable_records" not in again.output()
    assert len(await desk.rows(LETTERS)) == 1


@pytest.mark.parametrize("change", [break_checksum, make_length_impossible])
async def test_a_corrupt_batch_costs_itself(desk: Office, logs: Path, change: Callable[[bytearray], None]) -> None:
    """A batch that is damaged on disk costs itself, whoever refuses to read it: the partitions go on behind it."""
    topic = f"{desk.prefix}payment.commands"
    lost, first, behind, others = orders(3), orders(1), orders(2), orders(COMMAND_PARTITIONS)
    for some in (first, lost, behind):
        await send(desk, 1, *some)
    for partition, other in enumerate(others):
        await send(desk, partition, other)
    damage(logs, topic, 1, 2, change)
    child = await desk.launched("payment")
    await answered(desk, *(other for partition, other in enumerate(others) if partition != 1))
    if change is break_checksum:
        await answered(desk, *first, *behind, others[1])
    await desk.until("select count(*) > 0 from payment.kit_dead_letter", within_s=30)
    letters = [tuple(letter)[:3] for letter in await desk.rows(LETTERS)]
    # Without a length to trust, offsets are given up one at a time: by now there may be more letters than the first.
    count = 1 if change is break_checksum else len(letters)
    assert letters == [(1, 1 + number, "corrupt") for number in range(count)]
    await _still_at_work(desk, child, "unreadable_records")


async def _still_at_work(office: Office, child: Child, said: str) -> None:
    """Check that all partitions are served, by a process that has said what happened."""
    fresh = orders(COMMAND_PARTITIONS)
    for partition, one in enumerate(fresh):
        await office.exchange.act(one, partition=partition)
    await answered(office, *fresh)
    assert child.exit_code is None
    assert said in child.output()
