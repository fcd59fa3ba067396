"""What the tests of bad records do again and again: send, wait until it is consumed, and see what it changed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.e2e.definitions import PATIENT
from tests.e2e.orders import STEPS, order
from tests.e2e.world import PARTITIONS, Coordinator, World, event_headers

VERDICTS = ("applied", "duplicate", "stale", "foreign", "quarantined")
RESULTS: dict[str, dict[str, Any]] = {
    "reserve_inventory": {"reservation_id": "r-1"},
    "process_payment": {"payment_id": "p-1", "amount_cents": 4_200},
    "create_shipment": {"shipment_id": "s-1"},
    "send_confirmation": {"notice_id": "n-1"},
}
POOL = 60  # sagas that are started together
PATIENCE_S = 90.0  # with a machine that is busy; nothing is promised about how long these things take
Headers = list[tuple[str, bytes]]


@dataclass
class Target:
    """A saga that waits for a reply: what a participant would know of it."""

    saga_id: str
    part: int

    def said(self, position: int = 0, word: str = "action", **changes: Any) -> dict[str, Any]:
        """Make what every reply to a command of the step at `position` says."""
        step = STEPS[position].name
        identity = f"{self.saga_id}:1:{step}:{word}"
        return {"saga_id": self.saga_id, "step_name": step, "command_id": identity, "attempt": 1, **changes}

    def completed(self, position: int = 0, **changes: Any) -> dict[str, Any]:
        """Make the value of a SagaStepCompleted."""
        return self.said(position, **{"result": RESULTS[STEPS[position].name], **changes})

    def failed(self, position: int = 0, *, retryable: bool = False, **changes: Any) -> dict[str, Any]:
        """Make the value of a SagaStepFailed."""
        error = {"code": "refused", "message": "it cannot be", "retryable": retryable}
        return self.said(position, **{"error": error, **changes})


@dataclass
class Raw:
    """A record, whatever is in it."""

    value: bytes | None
    headers: Headers
    key: bytes | None = None
    timestamp_ms: int | None = None


@dataclass
class Moment:
    """How everything stands that a record may change."""

    saga: str
    log: int
    verdicts: dict[str, int]
    letters: dict[str, float] = field(default_factory=dict)


def reply(target: Target, value: Any, ce_type: str = "SagaStepCompleted", position: int = 0, **headers: str) -> Raw:
    """Make a reply; bytes go as they are, anything else as JSON."""
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    given = {"ce_subject": target.saga_id, **headers}
    source = given.pop("ce_source", STEPS[position].participant)
    return Raw(raw, event_headers(ce_type, source, **given), target.saga_id.encode())


def without(raw: Raw, name: str) -> Raw:
    """Leave a header out."""
    return Raw(raw.value, [pair for pair in raw.headers if pair[0] != name], raw.key)


class Bench:
    """An engine, and both ends of its topics."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.topic = f"{world.prefix}replies"
        self.engine: Coordinator
        self._pool: list[list[Target]] = [[] for _ in range(PARTITIONS)]

    async def open(self, role: str = "engine", **settings: str) -> None:
        """Start the engine, alone or with more; let its topic take records of any size and time."""
        await self.allow_any_record(self.topic)
        self.engine = await self.world.launched("engine", role, **settings)

    async def allow_any_record(self, topic: str) -> None:
        """Let a topic take records of any size and time."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.world.stack.kafka.bootstrap_servers)
        await admin.start()
        configs = {"max.message.bytes": "8388608", "message.timestamp.after.max.ms": str(2**62)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])
        await admin.close()

    async def targets(self, count: int = 1) -> list[Target]:
        """Take sagas of one partition that wait for their first reply."""
        part = max(range(PARTITIONS), key=lambda part: len(self._pool[part]))
        if len(self._pool[part]) < count:
            await self._fill()
        return [self._pool[part].pop() for _ in range(count)]

    async def target_of(self, part: int) -> Target:
        """Take a saga of one partition that waits for its first reply."""
        while not self._pool[part]:
            await self._fill()
        return self._pool[part].pop()

    async def _fill(self) -> None:
        orders = [order() for _ in range(POOL)]
        await self.world.request_starts(orders, PATIENT)
        keys = [made["order_id"] for made in orders]
        begun = "SELECT count(*) = $1 FROM saga WHERE business_key = ANY($2)"
        await self.world.until(begun, POOL, keys, within_s=PATIENCE_S)
        for row in await self.world.rows("SELECT id::text, part FROM saga WHERE business_key = ANY($1)", keys):
            self._pool[row["part"]].append(Target(row["id"], row["part"]))

    async def send(self, part: int, *raws: Raw, topic: str | None = None) -> list[int]:
        """Send records to a partition, of the reply topic or another one; answers their offsets."""
        producer = await self.world.producer()
        sent = [
            await producer.send(
                topic or self.topic,
                raw.value,
                key=raw.key,
                headers=raw.headers,
                partition=part,
                timestamp_ms=raw.timestamp_ms,
            )
            for raw in raws
        ]
        return [metadata.offset for metadata in await asyncio.gather(*sent)]

    async def deliver(self, part: int, *raws: Raw, within_s: float = PATIENCE_S) -> list[int]:
        """Send records and wait until the engine has consumed them; answers their offsets."""
        offsets = await self.send(part, *raws)
        await self.consumed(part, offsets[-1], within_s)
        return offsets

    async def consumed(self, part: int, offset: int, within_s: float = PATIENCE_S) -> None:
        """Wait until the engine is past an offset."""
        query = "SELECT next_offset > $2 FROM shard WHERE part = $1"
        await self.world.until(query, part, offset, within_s=within_s)

    async def moment(self, target: Target) -> Moment:
        """Look at a saga, the verdicts and the counters."""
        names = ", ".join(f'sum("{name}")::int AS "{name}"' for name in VERDICTS)
        # wake_at is lazy: it may be pushed to the deadline at any time, whatever record comes.
        [sums] = await self.world.rows(f"SELECT {names} FROM shard")  # noqa: S608
        [row] = await self.world.rows(
            "SELECT md5((to_jsonb(s) - 'wake_at')::text) AS saga,"
            " (SELECT count(*) FROM saga_log WHERE saga_id = s.id) AS log FROM saga AS s WHERE s.id = $1::uuid",
            target.saga_id,
        )
        text = await self.engine.metrics()
        sample = r"^(saga_(?:dead_letters|(?:odd_)?records)_total\{.*\}) ([0-9.e+]+)$"
        samples = re.findall(sample, text, re.MULTILINE)
        return Moment(
            row["saga"],
            row["log"],
            {name: sums[name] for name in VERDICTS},
            {name: float(value) for name, value in samples},
        )

    async def letters(self, part: int, first: int, last: int) -> list[asyncpg.Record]:
        """Read the dead letters of some offsets."""
        query = (
            "SELECT * FROM dead_letter WHERE kind = 'record' AND topic = $1 AND partition = $2"
            " AND first_offset BETWEEN $3 AND $4 ORDER BY first_offset"
        )
        return await self.world.rows(query, self.topic, part, first, last)

    async def advance(self, target: Target, positions: Sequence[int]) -> None:
        """Answer the actions at some positions as their participants would."""
        raws = [reply(target, target.completed(position), position=position) for position in positions]
        await self.deliver(target.part, *raws)

    def start_request(self, order: Mapping[str, Any], definition: str) -> Raw:
        """Make a request to start a saga."""
        value = json.dumps({"definition": definition, "input": order}).encode()
        return Raw(value, event_headers("SagaStartRequested", "a-shop"))

    def add_invisible(self, part: int, count: int) -> None:
        """Remember offsets of a partition that nobody ever sees."""
        self.world.invisible[part] = self.world.invisible.get(part, 0) + count

    async def status(self, target: Target) -> str:
        """Read a saga's status."""
        return str(await self.world.value("SELECT status FROM saga WHERE id = $1::uuid", target.saga_id))
