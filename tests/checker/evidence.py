"""What is left after a run: the rows of all tables and the records of all topics, read from outside.

Nothing here, nor in `checks`, uses a line of the coordinator or of the participants: SQL is written anew, records are
read with a plain consumer, and JSON with the standard library.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

READ_S = 300.0


@dataclass(frozen=True)
class PlannedStep:
    """One step as the test knows it, without asking the coordinator.

    A step that nobody is asked for has no participant and no action, one that cannot be undone no compensation. Steps
    of one `group` are issued together.
    """

    name: str
    participant: str
    action: str
    compensation: str
    group: str | None = None


@dataclass(frozen=True)
class Plan:
    """The steps of the sagas of a run, in order, by definition or the same for all; and how the topics are named."""

    prefix: str
    steps: tuple[PlannedStep, ...]
    definitions: Mapping[str, tuple[PlannedStep, ...]] = field(default_factory=dict)

    @property
    def participants(self) -> list[str]:
        """The participants, each once."""
        planned = [self.steps, *self.definitions.values()]
        return sorted({step.participant for steps in planned for step in steps if step.participant})

    def steps_of(self, saga: SagaRow) -> tuple[PlannedStep, ...]:
        """The steps of a saga."""
        return self.definitions.get(saga.definition, self.steps)


@dataclass(frozen=True)
class Expected:
    """What a test knows and a checker cannot: which sagas must be there, and records that nobody ever sees.

    `invisible` counts, per partition of the reply topic, offsets that hold no visible record (markers of
    transactions, records rolled back). `secrets` are texts that no log may have.
    """

    saga_ids: frozenset[str] = frozenset()
    invisible: dict[int, int] = field(default_factory=dict)
    events: bool = True
    secrets: tuple[str, ...] = ()


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
    definition: str = ""


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
    state: str = "redriven"


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
class CommandRecord:
    """One command on Kafka; `content` is a digest of what all attempts share, `whole` one of the value."""

    identity: str
    topic: str
    partition: int
    offset: int
    key: str
    saga_id: str
    saga_type: str
    step_name: str
    command_id: str
    attempt: int
    direction: str
    content: str
    whole: str


@dataclass
class Act:
    """Something that the audit says was done to a saga."""

    saga_id: str
    action: str
    version: int


@dataclass
class Hold:
    """Money that was taken off an account for a transfer; `ending` is how it left the hold, null while it is there."""

    saga_id: str
    amount: int
    ending: str | None


@dataclass
class Entry:
    """What the ledger has written down for a transfer, or taken back; `sum` is that of its two sides."""

    saga_id: str
    amount: int
    reverses: bool
    sum: int


@dataclass
class Evidence:
    """Everything that the checks look at.

    `published` counts the ce_id of command records, `transitions` the (saga id, version) of lifecycle events.
    `end_offsets` are those of the reply topic, `in_doubt` what the participants' own outboxes still hold. `tallies` are
    the coordinator's own counts of sagas by definition and status, `told` the texts that processes have logged.
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
    commands: list[CommandRecord] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    tallies: Counter[tuple[str, str]] = field(default_factory=Counter)
    holds: list[Hold] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)


Check = Callable[[Evidence, Plan, Expected], Iterable[str]]


async def gather(url: str, bootstrap_servers: str, plan: Plan, logs: Sequence[Path] = ()) -> Evidence:
    """Read the database at `url`, the topics of `plan`, and what processes have written to `logs`."""
    found = Evidence(told={log.name: log.read_text(errors="replace") for log in logs})
    connection = await asyncpg.connect(url)
    try:
        await _read_coordinator(connection, found)
        await _read_money(connection, found)
        for participant in plan.participants:
            await _read_participant(connection, participant, found)
    finally:
        await connection.close()
    await _read_topics(bootstrap_servers, plan, found)
    return found


async def _read_coordinator(connection: asyncpg.Connection[asyncpg.Record], found: Evidence) -> None:
    query = (
        "SELECT s.*, s.id::text AS name, d.name AS definition FROM saga AS s"
        " JOIN saga_definition AS d ON d.id = s.definition_id"
    )
    for row in await connection.fetch(query):
        steps = json.loads(bytes(row["state"]))["steps"]
        found.sagas[row["name"]] = SagaRow(
            row["name"],
            row["part"],
            row["status"],
            row["version"],
            row["wake_at"] is not None,
            row["business_key"],
            steps,
            row["definition"],
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
                row["state"],
            )
        )
    incidents: defaultdict[str, list[str]] = defaultdict(list)
    for row in await connection.fetch("SELECT saga_id, reason FROM incident WHERE resolved_at IS NULL"):
        incidents[str(row["saga_id"])].append(row["reason"])
    found.open_incidents = dict(incidents)
    acts = "SELECT saga_id::text, action, version_after FROM audit_log WHERE outcome = 'done' AND saga_id IS NOT NULL"
    found.acts = [Act(*row) for row in await connection.fetch(acts)]
    tallies = "SELECT d.name, status, sum(sagas)::bigint FROM saga_tally JOIN saga_definition d ON d.id = definition_id"
    for name, status, count in await connection.fetch(f"{tallies} GROUP BY 1, 2"):
        found.tallies[name, status] = count


async def _read_money(connection: asyncpg.Connection[asyncpg.Record], found: Evidence) -> None:
    if await connection.fetchval("SELECT to_regclass('accounts.holds') IS NOT NULL"):
        rows = await connection.fetch("SELECT saga_id, amount_minor, ending FROM accounts.holds")
        found.holds = [Hold(*row) for row in rows]
    if await connection.fetchval("SELECT to_regclass('ledger.postings') IS NOT NULL"):
        rows = await connection.fetch(
            "SELECT e.saga_id, e.amount_minor, e.reverses IS NOT NULL, sum(p.change_minor)::bigint"
            " FROM ledger.entries AS e LEFT JOIN ledger.postings AS p USING (entry_id) GROUP BY e.entry_id"
        )
        found.entries = [Entry(row[0], row[1], row[2], 1 if row[3] is None else row[3]) for row in rows]


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
        async for record in _read_all(consumer, [place for topic in commands for place in places[topic]]):
            headers = {name: value.decode() for name, value in record.headers}
            found.published[headers["ce_id"]] += 1
            found.published_types[headers["ce_id"]] = headers["ce_type"]
            found.commands.append(_command(headers["ce_id"], record))
        async for record in _read_all(consumer, places[events]):
            headers = {name: value.decode() for name, value in record.headers}
            if headers["ce_type"] == "SagaTransitioned":
                saga_id, _, version = headers["ce_id"].rpartition(":")
                found.transitions[saga_id, int(version)] += 1
        async for record in _read_all(consumer, places[letters]):
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


async def _read_all(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> AsyncIterator[Any]:
    consumer.assign(places)
    ends = await consumer.end_offsets(places)
    async with asyncio.timeout(READ_S):
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200, max_records=5000)).values():
                for record in batch:
                    yield record


def _command(identity: str, record: Any) -> CommandRecord:
    value = json.loads(record.value)
    shared = {name: value.get(name) for name in ("payload", "compensates", "original_payload")}
    return CommandRecord(
        identity,
        *(record.topic, record.partition, record.offset, (record.key or b"").decode()),
        *(value["saga_id"], value["saga_type"], value["step_name"], value["command_id"], value["attempt"]),
        value["direction"],
        _digest(json.dumps(shared, sort_keys=True).encode()),
        _digest(record.value),
    )


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=12).hexdigest()
