"""What is left after a run: the rows of all tables and the records of all topics, read from outside.

Nothing here, nor in `checks`, uses a line of the coordinator or of the participants: SQL is written anew, records are
read with a plain consumer, and JSON with the standard library.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient


@dataclass(frozen=True)
class PlannedStep:
    """One step as the test knows it, without asking the coordinator."""

    name: str
    participant: str
    action: str
    compensation: str


@dataclass(frozen=True)
class Plan:
    """The steps of every saga of a run, in order; and how the topics are named."""

    prefix: str
    steps: tuple[PlannedStep, ...]

    @property
    def participants(self) -> list[str]:
        """The participants, each once."""
        return sorted({step.participant for step in self.steps})


@dataclass
class SagaRow:
    """A row of `saga`; `steps` are the dictionaries of its state."""

    id: str
    part: int
    status: str
    version: int
    wakes: bool
    business_key: str
    steps: list[dict[str, Any]]


@dataclass
class LogEntry:
    """A row of `saga_log`; `released` says that a step's first attempt had been held back."""

    saga_id: str
    version: int
    event: str
    step_name: str | None
    status: str
    at: datetime
    released: bool = False


@dataclass
class ShardRow:
    """A row of `shard`."""

    part: int
    first_offset: int
    next_offset: int
    verdicts: int


@dataclass
class DeadLetterRow:
    """A row of `dead_letter`."""

    kind: str
    reason: str
    topic: str
    partition: int
    first_offset: int | None
    next_offset: int | None
    saga_id: str | None
    command_id: str | None
    on_topic: bool


@dataclass
class Effect:
    """Something that a participant's own tables say it did, or undid."""

    participant: str
    saga_id: str
    kind: str
    command: str
    subject: str
    at: datetime


@dataclass
class Evidence:
    """Everything that the checks look at.

    `published` counts the ce_id of command records, `transitions` the (saga id, version) of lifecycle events.
    `end_offsets` are those of the reply topic, `in_doubt` what the participants' own outboxes still hold.
    """

    sagas: dict[str, SagaRow] = field(default_factory=dict)
    log: dict[str, list[LogEntry]] = field(default_factory=dict)
    keys: Counter[str] = field(default_factory=Counter)
    outbox: list[str] = field(default_factory=list)
    shards: dict[int, ShardRow] = field(default_factory=dict)
    dead_letters: list[DeadLetterRow] = field(default_factory=list)
    open_incidents: dict[str, list[str]] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    in_doubt: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    published: Counter[str] = field(default_factory=Counter)
    published_types: dict[str, str] = field(default_factory=dict)
    transitions: Counter[tuple[str, int]] = field(default_factory=Counter)
    letters: list[dict[str, str]] = field(default_factory=list)
    end_offsets: dict[int, int] = field(default_factory=dict)


async def gather(url: str, bootstrap_servers: str, plan: Plan) -> Evidence:
    """Read the database at `url` and the topics of `plan`."""
    found = Evidence()
    connection = await asyncpg.connect(url)
    try:
        await _read_coordinator(connection, found)
        for participant in plan.participants:
            await _read_participant(connection, participant, found)
    finally:
        await connection.close()
    await _read_topics(bootstrap_servers, plan, found)
    return found


async def _read_coordinator(connection: asyncpg.Connection[asyncpg.Record], found: Evidence) -> None:
    for row in await connection.fetch("SELECT *, id::text AS name FROM saga"):
        steps = json.loads(bytes(row["state"]))["steps"]
        found.sagas[row["name"]] = SagaRow(
            row["name"],
            row["part"],
            row["status"],
            row["version"],
            row["wake_at"] is not None,
            row["business_key"],
            steps,
        )
    log: defaultdict[str, list[LogEntry]] = defaultdict(list)
    for row in await connection.fetch("SELECT * FROM saga_log ORDER BY saga_id, version"):
        saga_id = str(row["saga_id"])
        released = row["event"] == "BackoffElapsed" and json.loads(bytes(row["data"]))["attempt"] == 0
        entry = LogEntry(saga_id, row["version"], row["event"], row["step_name"], row["status"], row["at"], released)
        log[saga_id].append(entry)
    found.log = dict(log)
    found.keys.update(str(row["saga_id"]) for row in await connection.fetch("SELECT saga_id FROM saga_key"))
    found.outbox = [row["id"] for row in await connection.fetch("SELECT id FROM outbox_event")]
    for row in await connection.fetch("SELECT * FROM shard"):
        verdicts = sum(row[name] for name in ("applied", "duplicate", "stale", "foreign", "quarantined"))
        found.shards[row["part"]] = ShardRow(row["part"], row["first_offset"], row["next_offset"], verdicts)
    for row in await connection.fetch("SELECT * FROM dead_letter ORDER BY id"):
        found.dead_letters.append(
            DeadLetterRow(
                row["kind"],
                row["reason"],
                row["topic"],
                row["partition"],
                row["first_offset"],
                row["next_offset"],
                None if row["saga_id"] is None else str(row["saga_id"]),
                row["command_id"],
                row["on_topic"],
            )
        )
    incidents: defaultdict[str, list[str]] = defaultdict(list)
    for row in await connection.fetch("SELECT saga_id, reason FROM incident WHERE resolved_at IS NULL"):
        incidents[str(row["saga_id"])].append(row["reason"])
    found.open_incidents = dict(incidents)


async def _read_participant(connection: asyncpg.Connection[asyncpg.Record], participant: str, found: Evidence) -> None:
    known = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f'"{participant}".effects')
    if not known:
        return
    for row in await connection.fetch(f'SELECT * FROM "{participant}".effects ORDER BY at'):  # noqa: S608
        found.effects.append(
            Effect(participant, row["saga_id"], row["kind"], row["command"], row["subject"], row["at"])
        )
    waiting = await connection.fetchval(f'SELECT count(*) FROM "{participant}".kit_outbox')  # noqa: S608
    unread = await connection.fetchval(f'SELECT count(*) FROM "{participant}".kit_dead_letter')  # noqa: S608
    found.in_doubt[participant] = waiting
    found.unreadable[participant] = unread


async def _read_topics(bootstrap_servers: str, plan: Plan, found: Evidence) -> None:
    commands = [f"{plan.prefix}{participant}.commands" for participant in plan.participants]
    replies, events, letters = (f"{plan.prefix}{name}" for name in ("replies", "events", "dlq"))
    places = await _places(bootstrap_servers, [*commands, replies, events, letters])
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        found.end_offsets = {at.partition: end for at, end in (await consumer.end_offsets(places[replies])).items()}
        for record in await _read_all(consumer, [place for topic in commands for place in places[topic]]):
            headers = {name: value.decode() for name, value in record.headers}
            found.published[headers["ce_id"]] += 1
            found.published_types[headers["ce_id"]] = headers["ce_type"]
        for record in await _read_all(consumer, places[events]):
            headers = {name: value.decode() for name, value in record.headers}
            if headers["ce_type"] == "SagaTransitioned":
                saga_id, _, version = headers["ce_id"].rpartition(":")
                found.transitions[saga_id, int(version)] += 1
        for record in await _read_all(consumer, places[letters]):
            found.letters.append({name: value.decode(errors="replace") for name, value in record.headers})
    finally:
        await consumer.stop()


async def _places(bootstrap_servers: str, topics: Sequence[str]) -> dict[str, list[TopicPartition]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        described = await admin.describe_topics(list(topics))
    finally:
        await admin.close()
    return {
        topic["topic"]: [TopicPartition(topic["topic"], partition["partition"]) for partition in topic["partitions"]]
        for topic in described
    }


async def _read_all(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> list[Any]:
    consumer.assign(places)
    ends = await consumer.end_offsets(places)
    records: list[Any] = []
    async with asyncio.timeout(60):
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200, max_records=5000)).values():
                records += batch
    return records
