"""A stand-in for the coordinator's end of the wire: real commands out, real replies in."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from coordinator.wire.cloudevents import command_headers, header
from coordinator.wire.inbound import decode_inbound
from coordinator.wire.messages import Reply
from coordinator.wire.outbound import encode_command, encode_compensation

REPLY_PARTITIONS = 3
MINUTE_MS = 60_000
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Heard(msgspec.Struct, frozen=True):
    """One reply as it lay in the topic."""

    message: Reply
    ce_id: str
    source: str
    traceparent: str | None
    partition: int
    key: bytes
    at: float


class Step(msgspec.Struct, eq=False, kw_only=True):
    """One step of one saga: enough to build its action and its compensation, which is empty where there is none."""

    participant: str
    action: str
    compensation: str = ""
    payload: dict[str, Any]
    name: str = "step"
    saga_id: str = msgspec.field(default_factory=lambda: str(uuid4()))

    @property
    def action_id(self) -> str:
        """The action's command id."""
        return f"{self.saga_id}:1:{self.name}:action"

    @property
    def undo_id(self) -> str:
        """The compensation's command id."""
        return f"{self.saga_id}:1:{self.name}:compensation"

    def act(self, attempt: int = 1, *, not_after_ms: int | None = None) -> bytes:
        """Encode the action."""
        moment = not_after_ms if not_after_ms is not None else now_ms() + MINUTE_MS
        payload = msgspec.json.encode(self.payload)
        return encode_command(self.saga_id, "Test", self.name, self.action_id, attempt, payload, moment)

    def undo(self, attempt: int = 1, *, result: Mapping[str, Any] | None = None) -> bytes:
        """Encode the compensation; without a result the outcome is unknown."""
        original = msgspec.json.encode(self.payload)
        known = msgspec.json.encode(result) if result is not None else None
        moment = now_ms() + MINUTE_MS
        outcome: Literal["completed", "unknown"] = "unknown" if known is None else "completed"
        who = (self.saga_id, "Test", self.name, self.undo_id, attempt)
        return encode_compensation(*who, moment, self.action_id, original, outcome, known)


class Exchange:
    """Sends commands to participants and listens on the reply topic."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.prefix = prefix
        self.replies_topic = f"{prefix}replies"
        self.heard: defaultdict[str, list[Heard]] = defaultdict(list)
        self._news = asyncio.Condition()
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest", fetch_max_wait_ms=20
        )
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen to the reply topic."""
        await self._producer.start()
        await self._consumer.start()
        self._consumer.assign([TopicPartition(self.replies_topic, n) for n in range(REPLY_PARTITIONS)])
        self._listening = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Disconnect."""
        if self._listening is not None:
            self._listening.cancel()
        await self._producer.stop()
        await self._consumer.stop()

    async def act(
        self,
        step: Step,
        attempt: int = 1,
        *,
        partition: int | None = None,
        reply_partition: int = 0,
        not_after_ms: int | None = None,
    ) -> None:
        """Send one attempt of a step's action; `partition` is the command topic's."""
        value = step.act(attempt, not_after_ms=not_after_ms)
        headers = self._headers(step, step.action, step.action_id, attempt, reply_partition)
        await self._send(step, value, headers, partition)

    async def undo(
        self,
        step: Step,
        attempt: int = 1,
        *,
        partition: int | None = None,
        reply_partition: int = 0,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """Send one attempt of a step's compensation; without a result the outcome is unknown."""
        value = step.undo(attempt, result=result)
        headers = self._headers(step, step.compensation, step.undo_id, attempt, reply_partition)
        await self._send(step, value, headers, partition)

    async def raw(
        self, participant: str, value: bytes | None, headers: list[tuple[str, bytes]], partition: int | None = None
    ) -> int:
        """Send any bytes to a participant's command topic; returns the offset."""
        topic = f"{self.prefix}{participant}.commands"
        metadata = await self._producer.send_and_wait(topic, value, key=b"raw", headers=headers, partition=partition)
        return int(metadata.offset)

    async def replies(self, command_id: str, count: int = 1, *, within_s: float = 20.0) -> list[Heard]:
        """Wait until a command was answered `count` times."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: len(self.heard[command_id]) >= count), within_s)
        return self.heard[command_id]

    async def reply(self, command_id: str, nth: int = 1, *, within_s: float = 20.0) -> Heard:
        """Wait for the nth reply to a command."""
        return (await self.replies(command_id, nth, within_s=within_s))[nth - 1]

    def _headers(
        self, step: Step, name: str, command_id: str, attempt: int, reply_partition: int
    ) -> list[tuple[str, bytes]]:
        return command_headers(
            name, command_id, attempt, step.saga_id, now_ms(), self.replies_topic, reply_partition, TRACE
        )

    async def _send(self, step: Step, value: bytes, headers: list[tuple[str, bytes]], partition: int | None) -> None:
        topic = f"{self.prefix}{step.participant}.commands"
        key = step.saga_id.encode()
        await self._producer.send_and_wait(topic, value, key=key, headers=headers, partition=partition)

    async def _listen(self) -> None:
        while True:
            batches = await self._consumer.getmany(timeout_ms=200)
            for records in batches.values():
                for record in records:
                    inbound = decode_inbound(record.headers, record.key, record.value)
                    message: Any = inbound.message
                    heard = Heard(
                        message,
                        (header(record.headers, "ce_id") or b"").decode(),
                        inbound.source,
                        inbound.traceparent,
                        record.partition,
                        record.key,
                        time.monotonic(),
                    )
                    async with self._news:
                        self.heard[message.command_id].append(heard)
                        self._news.notify_all()


def now_ms() -> int:
    """Read the clock of the machine, which tests and database share."""
    return time.time_ns() // 1_000_000
