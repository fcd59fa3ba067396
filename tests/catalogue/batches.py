"""Rows whose records come in batches of their own: compressed, unreadable, or rolled back (K15, K16, K44)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiokafka import AIOKafkaProducer

from tests.catalogue.shots import Shot
from tests.catalogue.stage import Stage
from tests.integration.engine.batches import CODECS, break_checksum, log_folder, use_unknown_codec
from tests.integration.engine.bench import Target, reply
from tests.integration.kafka.helpers import damage

SPOILT = {"K15 codec": ("codec", use_unknown_codec), "K16 checksum": ("corrupt", break_checksum)}


async def send_batches(stage: Stage, target: Target) -> list[tuple[Shot, int]]:
    """Send all of them at one saga; answers those that leave a dead letter, with their offsets."""
    await _roll_back(stage, target)
    compressed = [await _compressed(stage, target, codec) for codec in CODECS]
    folder = log_folder(stage.world.stack)
    spoilt = [] if folder is None else [await _spoilt(stage, target, folder, name) for name in SPOILT]
    return [*compressed, *spoilt]


async def _roll_back(stage: Stage, target: Target) -> None:
    """Take a good reply back before it was committed."""
    servers = stage.world.stack.kafka.bootstrap_servers
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=f"{stage.bench.topic}-rolled-back")
    await producer.start()
    await producer.begin_transaction()
    good = reply(target, target.completed())
    await producer.send_and_wait(
        stage.bench.topic, good.value, key=good.key, headers=good.headers, partition=target.part
    )
    await producer.abort_transaction()
    await producer.stop()
    stage.bench.add_invisible(target.part, 2)  # the record, and the marker behind it


async def _compressed(stage: Stage, target: Target, codec: str) -> tuple[Shot, int]:
    bad = reply(target, b"{")
    servers = stage.world.stack.kafka.bootstrap_servers
    producer = AIOKafkaProducer(bootstrap_servers=servers, compression_type=codec)
    await producer.start()
    sent = await producer.send_and_wait(
        stage.bench.topic, bad.value, key=bad.key, headers=bad.headers, partition=target.part
    )
    await producer.stop()
    return Shot(f"K15 {codec}", target, bad, "not_json", "quarantined", moves=False), sent.offset


async def _spoilt(stage: Stage, target: Target, folder: Path, name: str) -> tuple[Shot, int]:
    """Let a good reply be damaged on the broker's disk before anybody has read it."""
    reason, spoil = SPOILT[name]
    good = reply(target, target.completed())
    child = stage.bench.engine.child
    await asyncio.to_thread(child.pause)
    try:
        [offset] = await stage.bench.send(target.part, good)
        damage(folder, stage.bench.topic, target.part, offset, spoil)
    finally:
        await asyncio.to_thread(child.resume)
    await stage.bench.consumed(target.part, offset)
    return Shot(name, target, good, reason, "quarantined", moves=False), offset
