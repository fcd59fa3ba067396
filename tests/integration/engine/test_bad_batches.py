"""Records that come in bulk or cannot be read at all: codecs, damage, floods, transactions (K15, K16, K43, K44)."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.stack import LocalStack
from tests.checker.checks import Expected, every_record_has_one_verdict
from tests.checker.evidence import gather
from tests.e2e.definitions import hasty
from tests.e2e.orders import order
from tests.integration.engine.batches import (
    BATCH_BYTES,
    CODECS,
    FLOOD,
    break_checksum,
    flood,
    log_folder,
    use_unknown_codec,
)
from tests.integration.engine.bench import Bench, reply
from tests.integration.kafka.helpers import damage

FLOOD_S = 60.0
KEPT_MAX = FLOOD * 0.15


@pytest.fixture(scope="module", autouse=True)
async def counted(bench: Bench) -> AsyncIterator[None]:
    """In the end every offset of every partition has its verdict."""
    yield
    world = bench.world
    await asyncio.gather(*(bench.consumed(part, end - 1) for part, end in (await world.end_offsets()).items() if end))
    found = await gather(world.url, world.stack.kafka.bootstrap_servers, world.plan)
    assert list(every_record_has_one_verdict(found, world.plan, Expected(invisible=world.invisible))) == []


@pytest.fixture
def logs(stack: LocalStack) -> Path:
    """Give the folder of the broker's partitions."""
    folder = log_folder(stack)
    if folder is None:
        pytest.skip(f"needs the files of a Kafka that these tests have started, this is {stack.kafka.description}")
    return folder


@pytest.mark.parametrize("codec", CODECS)
async def test_k15_every_codec_is_read(bench: Bench, codec: str) -> None:
    """A participant may compress its replies as it likes."""
    [target] = await bench.targets()
    producer = AIOKafkaProducer(
        bootstrap_servers=bench.world.stack.kafka.bootstrap_servers, compression_type=codec, max_batch_size=BATCH_BYTES
    )
    await producer.start()
    good = reply(target, target.completed())
    sent = await producer.send_and_wait(
        bench.topic, good.value, key=good.key, headers=good.headers, partition=target.part
    )
    await producer.stop()
    await bench.consumed(target.part, sent.offset)
    assert await bench.status(target) == "pending"


@pytest.mark.parametrize(
    ("reason", "spoil"), [("codec", use_unknown_codec), ("corrupt", break_checksum)], ids=["K15", "K16"]
)
async def test_an_unreadable_batch_is_one_row(
    bench: Bench, logs: Path, reason: str, spoil: Callable[[bytearray], None]
) -> None:
    """A batch that nobody can read becomes one dead letter for its range of offsets; what is behind it is served."""
    lost, good = await bench.targets(2)
    part = lost.part
    # Frozen, so that the batch is damaged before the engine has fetched it.
    await asyncio.to_thread(bench.engine.child.pause)
    [first] = await bench.send(part, reply(lost, lost.completed()))
    damage(logs, bench.topic, part, first, spoil)
    await asyncio.to_thread(bench.engine.child.resume)
    await bench.deliver(part, reply(good, good.completed()))
    [letter] = await bench.letters(part, first, first)
    assert (letter["reason"], letter["first_offset"], letter["next_offset"]) == (reason, first, first + 1)
    assert letter["value"] is None
    assert (await bench.status(lost), await bench.status(good)) == ("started", "pending")
    await bench.deliver(part, reply(lost, lost.completed()))
    assert await bench.status(lost) == "pending"


async def test_k43_a_flood_of_bad_records_passes(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """100,000 bad records in a row: rows are bounded, no offset is unaccounted for, a good record behind is served."""
    [target] = await bench.targets()
    first, last = await flood(bench, target)
    began = time.monotonic()
    await bench.deliver(target.part, reply(target, target.completed()), within_s=FLOOD_S)
    took = time.monotonic() - began
    assert await bench.status(target) == "pending"
    letters = await bench.letters(target.part, first, last)
    with capsys.disabled():
        print(f"\n{FLOOD} bad records in {took:.1f} s, {len(letters)} rows")  # noqa: T201
    assert len(letters) < KEPT_MAX
    assert sum(letter["next_offset"] - letter["first_offset"] for letter in letters) == FLOOD
    assert {letter["reason"] for letter in letters} == {"not_json", "crowd"}


@pytest.fixture
async def transactional(bench: Bench) -> AsyncIterator[AIOKafkaProducer]:
    """Give a producer that writes in transactions."""
    servers = bench.world.stack.kafka.bootstrap_servers
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=f"{bench.topic}-{secrets.token_hex(3)}")
    await producer.start()
    yield producer
    await producer.stop()


async def test_k44_what_was_rolled_back_is_invisible(bench: Bench, transactional: AIOKafkaProducer) -> None:
    """Records of a rolled-back transaction are never seen, those of a committed one are; markers count as nothing."""
    target, other, last = await bench.targets(3)
    for end, who in ((transactional.abort_transaction, target), (transactional.commit_transaction, other)):
        await transactional.begin_transaction()
        good = reply(who, who.completed())
        await transactional.send_and_wait(
            bench.topic, good.value, key=good.key, headers=good.headers, partition=who.part
        )
        await end()
    bench.add_invisible(target.part, 3)  # the record that was rolled back, and two markers
    await bench.deliver(last.part, reply(last, last.completed()))
    assert [await bench.status(who) for who in (target, other, last)] == ["started", "pending", "pending"]


async def test_k44_a_marker_at_the_end_holds_no_timer_back(bench: Bench, transactional: AIOKafkaProducer) -> None:
    """Timers fire in a partition that ends with a transaction's marker, which nobody ever consumes."""
    hurried, part = order(), 0
    request = bench.start_request(hurried, hasty("reserve_inventory"))
    await transactional.begin_transaction()
    await transactional.send_and_wait(bench.topic, request.value, headers=request.headers, partition=part)
    await transactional.commit_transaction()
    bench.add_invisible(part, 1)
    saga_id = await bench.world.saga_of(hurried)
    await bench.world.until("SELECT status = 'compensating' FROM saga WHERE id = $1::uuid", saga_id, within_s=15)
    [last] = await bench.targets()
    await bench.deliver(part, reply(last, last.completed()))
