"""The engine's port to Postgres: a handful of calls, each one statement, each with a deadline.

Two long-lived sessions: one for the hot path and one for everything that must not wait behind it. A call that
loses its connection raises Unavailable and leaves the outcome open: the statement may have been committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg
import msgspec
import structlog

from coordinator.errors import Unavailable
from coordinator.observability.acts import say_act
from coordinator.store.batch import Batch, Token, rows_of
from coordinator.store.database import GONE, check_durability, connect, statement

T = TypeVar("T")
log = structlog.get_logger()


class Committed(msgspec.Struct, frozen=True):
    """The answer of a committed batch: when its statement began, and the database's clock at its end (ms)."""

    at_ms: int
    now_ms: int


class RowMoved(Exception):
    """A saga row of the batch has moved on, or its command is still unsent; nothing was written."""


class FenceLost(Exception):
    """A partition of the batch has another owner or another offset; nothing was written."""


class KeyTaken(Exception):
    """A business key of the batch was taken meanwhile; nothing was written."""


class Contended(Unavailable):
    """A lock was not to be had in time, or the statement was a deadlock's victim; nothing was written."""


class Unacceptable(Exception):
    """Postgres refuses a value of the batch; nothing was written."""


class SagaRow(msgspec.Struct, frozen=True):
    """A saga as its row holds it."""

    id: str
    part: int
    definition_id: int
    business_key: str
    traceparent: str | None
    input: bytes
    version: int
    status: str
    state: bytes
    created_ms: int


class TakenKey(msgspec.Struct, frozen=True):
    """A business key that is in use."""

    definition: str
    business_key: str
    saga_id: str
    input_hash: bytes


class UnsentMessage(msgspec.Struct, frozen=True):
    """An outbox row."""

    token: Token
    part: int
    destination: str
    partition: int
    type: str
    traceparent: str | None
    payload: bytes
    created_ms: int


class Claim(msgspec.Struct, frozen=True):
    """A partition that became ours: its epoch, and the first offset that was not consumed yet."""

    part: int
    epoch: int
    next_offset: int
    events_through_ms: int


class Shard(msgspec.Struct, frozen=True):
    """A partition's row as it stands."""

    part: int
    epoch: int
    owner: str | None
    cluster_id: str
    next_offset: int


class Hold(msgspec.Struct, frozen=True):
    """A saga at a version that queues for a participant, when to look at it again, and its deadline if it has one."""

    saga_id: str
    version: int
    participant: str
    wake_ms: int
    deadline_ms: int | None


BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_REFUSALS: dict[str, type[Exception]] = {"SG409": RowMoved, "SG410": FenceLost}
_ONE_SAGA_PER_KEY = "a_business_key_starts_one_saga_per_definition"


class PostgresStore:
    """The store of engine and API over two sessions; reconnects by itself on the next call."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._hot = _Session(url, busy=Contended)
        self._side = _Session(url, busy=Unavailable)

    async def start(self) -> None:
        """Connect and check that the server keeps what it acknowledges; raises Unavailable, ConfigurationError."""
        await self._hot.run(check_durability)

    async def stop(self) -> None:
        """Close both sessions."""
        await self._hot.close()
        await self._side.close()

    async def commit(self, batch: Batch) -> Committed:
        """Write a batch, all or nothing.

        Raises RowMoved, FenceLost, KeyTaken, Contended, Unacceptable (nothing was written) or Unavailable (the
        outcome is unknown).
        """
        row = await self._hot.fetchrow("commit_batch", *batch.arguments())
        for act in batch.audits:
            say_act(**act._asdict())
        return Committed(row["at_ms"], row["now_ms"])

    async def load(self, saga_ids: Sequence[str]) -> list[SagaRow]:
        """Read sagas by id; unknown ids are left out."""
        rows = await self._side.fetch("load_sagas", saga_ids)
        return [
            SagaRow(
                row["id"],
                row["part"],
                row["definition_id"],
                row["business_key"],
                row["traceparent"],
                row["input"],
                row["version"],
                row["status"],
                row["state"],
                row["created_ms"],
            )
            for row in rows
        ]

    async def taken_keys(self, keys: Sequence[tuple[str, str]]) -> list[TakenKey]:
        """Which of these (definition, business key) pairs are in use."""
        definitions, business_keys = zip(*keys, strict=True)
        rows = await self._side.fetch("find_keys", definitions, business_keys)
        return [TakenKey(row["definition"], row["business_key"], row["saga_id"], row["input_hash"]) for row in rows]

    async def due(self, parts: Sequence[int], before_ms: int, limit: int) -> list[str]:
        """Ids of sagas of these partitions that wake before a moment, earliest first."""
        return [row["id"] for row in await self._side.fetch("due_sagas", parts, before_ms, limit)]

    async def push_wake(self, seen: Mapping[str, int]) -> list[str]:
        """Let sagas that woke too early wake at their deadlines instead; `seen` says at which versions they were.

        Answers those that are at another version by now: they are left alone.
        """
        ordered = sorted(seen.items())
        rows = await self._side.fetch("push_wake", *zip(*ordered, strict=True))
        return [row["id"] for row in rows]

    async def hold(self, holds: Sequence[Hold]) -> list[str]:
        """Let sagas queue for participants; answers the participant of each that came to a queue."""
        ordered = sorted(holds, key=lambda hold: hold.saga_id)
        columns = zip(*map(msgspec.structs.astuple, ordered), strict=True)
        return [row["participant"] for row in await self._side.fetch("hold_sagas", *columns)]

    async def held(self, participant: str, parts: Sequence[int], limit: int) -> list[str]:
        """Ids of the oldest sagas of these partitions that queue for a participant."""
        return [row["id"] for row in await self._side.fetch("held_sagas", participant, parts, limit)]

    async def release(
        self, participant: str, saga_ids: Sequence[str], before_ms: int, epochs: Mapping[int, int]
    ) -> int:
        """Let sagas that were held before a moment queue for a participant no longer; answers how many did.

        Only those of partitions that are in these epochs: their next owner knows better whom it holds.
        """
        of = (list(epochs), list(epochs.values()))
        row = await self._side.fetchrow("release_sagas", participant, sorted(saga_ids), before_ms, *of)
        return int(row["sagas"])

    async def count_held(self, parts: Sequence[int]) -> dict[str, int]:
        """How many sagas of these partitions queue for each participant."""
        return {row["participant"]: row["sagas"] for row in await self._side.fetch("count_held", parts)}

    async def queues(self, participants: Sequence[str]) -> set[str]:
        """For which of these participants any saga queues, whatever its partition."""
        return {row["name"] for row in await self._side.fetch("queues", participants)}

    async def unsent_sagas(self, saga_ids: Sequence[str]) -> set[str]:
        """Which of these sagas have messages that are not known to be on Kafka."""
        return {row["saga_id"] for row in await self._side.fetch("unsent_sagas", saga_ids)}

    async def unsent(self, parts: Sequence[int], older_than_ms: int, after: Token, limit: int) -> list[UnsentMessage]:
        """One page of the outbox of these partitions, in key order after `after`."""
        rows = await self._side.fetch(
            "unsent_messages", parts, older_than_ms, after.saga_id, after.saga_version, after.position, limit
        )
        return [
            UnsentMessage(
                Token(row["saga_id"], row["saga_version"], row["position"]),
                row["part"],
                row["destination"],
                row["partition"],
                row["type"],
                row["traceparent"],
                row["payload"],
                row["created_ms"],
            )
            for row in rows
        ]

    async def acknowledge(self, tokens: Sequence[Token]) -> None:
        """Delete messages that Kafka has."""
        if tokens:
            await self._side.fetch("acknowledge", *zip(*rows_of(tokens), strict=True))

    async def claim(self, first_offsets: dict[int, int], owner: str, cluster_id: str) -> list[Claim]:
        """Become the owner of partitions {partition: first offset in Kafka}: a new epoch for each."""
        rows = await self._side.fetch(
            "claim_shards", list(first_offsets), list(first_offsets.values()), owner, cluster_id
        )
        return [Claim(row["part"], row["epoch"], row["next_offset"], row["events_through_ms"]) for row in rows]

    async def shards(self, parts: Sequence[int]) -> list[Shard]:
        """Read the rows of partitions."""
        rows = await self._side.fetch("read_shards", parts)
        return [Shard(row["part"], row["epoch"], row["owner"], row["cluster_id"], row["next_offset"]) for row in rows]

    async def rewind(self, rewinds: Sequence[tuple[int, int, int]]) -> dict[int, int]:
        """Begin (partition, epoch, first offset) anew: the recorded offset is not in the log.

        Answers the new epochs, by partition, of those that were in theirs.
        """
        rows = await self._side.fetch("rewind_shards", *zip(*rewinds, strict=True))
        return {row["part"]: row["epoch"] for row in rows}

    async def logged(self, sagas: Sequence[tuple[str, int]]) -> list[tuple[str, int, bytes]]:
        """The log's entries of sagas at versions, of the last minutes: (saga id, version, data)."""
        rows = await self._side.fetch("logged", *zip(*sagas, strict=True))
        return [(row["saga_id"], row["version"], row["data"]) for row in rows]

    async def now_ms(self) -> int:
        """The database's clock."""
        row = await self._side.fetchrow("now")
        return int(row["now_ms"])

    async def drop_log_days(self, older_than_days: int) -> list[str]:
        """Drop the log's days that are older, but none of a saga that has not ended; answers their tables.

        Takes the log's table for a moment: gives up, with Unavailable, when that is not to be had at once.
        """
        return [str(row["day"]) for row in await self._side.fetch("drop_log_days", older_than_days)]

    async def recount(self) -> None:
        """Count all sagas anew, because a process of an older version may have moved some without counting them."""

        async def count(connection: asyncpg.Connection[asyncpg.Record]) -> None:
            async with connection.transaction():
                await connection.execute(statement("lock_tally"))
                await connection.execute(statement("recount_tally"))

        await self._side.run(count)

    async def run(self, action: Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[T]]) -> T:
        """Run an action on the side session's connection; raises Unavailable."""
        return await self._side.run(action)

    async def fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run one of the other statements of queries/ on the side session."""
        return await self._side.fetch(name, *arguments)


class _Session:
    """One connection that is opened anew after it was lost, used by one statement at a time.

    `busy` is what a call raises when a lock was not to be had in time: nothing was written.
    """

    def __init__(self, url: str, *, busy: type[Exception]) -> None:
        self._url = url
        self._busy = busy
        self._lock = asyncio.Lock()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._prepared: dict[str, asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]] = {}

    async def fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self._lock:
            try:
                return await (await self._statement(name)).fetch(*arguments)
            except BUSY as error:
                raise self._busy(f"Postgres is busy: {error}") from error
            except GONE as error:
                if isinstance(error, ValueError):  # a value that the driver cannot encode
                    raise Unacceptable(str(error)) from error
                raise self._lost(error) from error
            except asyncpg.PostgresError as error:
                raise _translated(error) from error

    async def fetchrow(self, name: str, *arguments: Any) -> asyncpg.Record:
        rows = await self.fetch(name, *arguments)
        return rows[0]

    async def run(self, action: Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[T]]) -> T:
        async with self._lock:
            try:
                return await action(await self._connected())
            except BUSY as error:
                raise self._busy(f"Postgres is busy: {error}") from error
            except GONE as error:
                raise self._lost(error) from error

    async def close(self) -> None:
        if self._connection is not None:
            try:
                await self._connection.close(timeout=2)
            except GONE:
                self._connection.terminate()
        self._forget()

    async def _statement(self, name: str) -> asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]:
        connection = await self._connected()
        if name not in self._prepared:
            self._prepared[name] = await connection.prepare(statement(name))
        return self._prepared[name]

    async def _connected(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._connection is None or self._connection.is_closed():
            self._forget()
            self._connection = await connect(self._url)
        return self._connection

    def _lost(self, error: BaseException) -> Unavailable:
        # After a timeout the session may still be busy with the old statement: its answer must not be taken for
        # that of the next one.
        if self._connection is not None:
            self._connection.terminate()
        self._forget()
        return Unavailable(f"Postgres does not answer: {error or type(error).__name__}")

    def _forget(self) -> None:
        self._connection = None
        self._prepared = {}


def _translated(error: asyncpg.PostgresError) -> Exception:
    code = error.sqlstate or ""
    if code in _REFUSALS:
        return _REFUSALS[code](str(error))
    if isinstance(error, asyncpg.UniqueViolationError) and error.constraint_name == _ONE_SAGA_PER_KEY:
        return KeyTaken(str(error))
    if isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name:
        return Unavailable(f"the log has no partition for today: {error}")  # no value is to blame
    if code.startswith(("22", "23", "54")):
        return Unacceptable(f"{code}: {error}")
    log.error("statement_refused", code=code, reason=str(error), alert=True)  # no right to a table, for one
    return Unavailable(f"Postgres refuses the statement: {code} {error}")
