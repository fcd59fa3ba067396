"""The store of one process: its two sessions to the database, and what can go wrong on the way there and back.

As with the real one, a call that raises Unavailable may have happened, and a statement that a process has sent is
executed although the process dies meanwhile.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from coordinator.errors import Unavailable
from coordinator.store.batch import Batch, Token
from coordinator.store.postgres import Claim, Committed, Contended, Hold, SagaRow, Shard, TakenKey, UnsentMessage
from coordinator.store.reads import SagaSummary
from tests.simulation.database import Database
from tests.simulation.faults import Faults
from tests.simulation.process import Life

T = TypeVar("T")

TIMEOUT_S = 15.0  # of a statement, as store.database has it


class Link:
    """The way to the database that all processes share: how long it takes, and until when nobody gets through."""

    def __init__(self, database: Database, faults: Faults, chance: random.Random) -> None:
        self.database = database
        self.faults = faults
        self.chance = chance
        self.away_until = 0.0

    def delay_s(self) -> float:
        """How long one way takes."""
        if self.faults.happens("database_slow"):
            return self.chance.uniform(0.05, 1.5)
        return self.chance.uniform(0.0005, 0.006)


class SimulatedStore:
    """`engine.ports.Store` for one process."""

    def __init__(self, link: Link, life: Life) -> None:
        self._link = link
        self._database = link.database
        self._life = life
        self._hot = asyncio.Lock()
        self._side = asyncio.Lock()

    async def commit(self, batch: Batch) -> Committed:
        faults = self._link.faults
        batch.arguments()  # it sorts, and must not raise
        async with self._hot:
            if faults.happens("contended"):
                await self._way()
                raise Contended("a lock was not to be had in time")
            at_ms = await self._ask(lambda: self._database.commit(batch), "commit")
            return Committed(at_ms, self._database.now_ms())

    async def load(self, saga_ids: Sequence[str]) -> list[SagaRow]:
        return await self.query(lambda: self._database.load(saga_ids))

    async def taken_keys(self, keys: Sequence[tuple[str, str]]) -> list[TakenKey]:
        return await self.query(lambda: self._database.taken_keys(keys))

    async def due(self, parts: Sequence[int], before_ms: int, limit: int) -> list[str]:
        return await self.query(lambda: self._database.due(parts, before_ms, limit))

    async def push_wake(self, seen: Mapping[str, int]) -> list[str]:
        return await self.query(lambda: self._database.push_wake(seen))

    async def hold(self, holds: Sequence[Hold]) -> list[str]:
        return await self.query(lambda: self._database.hold(holds))

    async def held(self, participant: str, parts: Sequence[int], limit: int) -> list[str]:
        return await self.query(lambda: self._database.held_of(participant, parts, limit))

    async def release(
        self, participant: str, saga_ids: Sequence[str], before_ms: int, epochs: Mapping[int, int]
    ) -> int:
        return await self.query(lambda: self._database.release(participant, saga_ids, before_ms, epochs))

    async def count_held(self, parts: Sequence[int]) -> dict[str, int]:
        return await self.query(lambda: self._database.count_held(parts))

    async def queues(self, participants: Sequence[str]) -> set[str]:
        return await self.query(lambda: self._database.queues(participants))

    async def unsent_sagas(self, saga_ids: Sequence[str]) -> set[str]:
        return await self.query(lambda: self._database.unsent_sagas(saga_ids))

    async def unsent(self, parts: Sequence[int], older_than_ms: int, after: Token, limit: int) -> list[UnsentMessage]:
        return await self.query(lambda: self._database.unsent(parts, older_than_ms, after, limit))

    async def acknowledge(self, tokens: Sequence[Token]) -> None:
        if tokens:
            await self.query(lambda: self._database.acknowledge(tokens))

    async def claim(self, first_offsets: dict[int, int], owner: str, cluster_id: str) -> list[Claim]:
        return await self.query(lambda: self._database.claim(first_offsets, owner, cluster_id))

    async def shards(self, parts: Sequence[int]) -> list[Shard]:
        return await self.query(lambda: self._database.read_shards(parts))

    async def rewind(self, rewinds: Sequence[tuple[int, int, int]]) -> dict[int, int]:
        return await self.query(lambda: self._database.rewind(rewinds))

    async def logged(self, sagas: Sequence[tuple[str, int]]) -> list[tuple[str, int, bytes]]:
        return await self.query(lambda: self._database.logged(sagas))

    async def now_ms(self) -> int:
        return await self.query(self._database.now_ms)

    async def fetch(self, name: str, *arguments: Any) -> list[Any]:
        return await self.query(lambda: self._database.fetch(name, arguments))

    async def query(self, action: Callable[[], T]) -> T:
        async with self._side:
            return await self._ask(action, "query")

    async def _ask(self, action: Callable[[], T], kind: str) -> T:
        """Send a statement and wait for its answer; `kind` says which faults it may meet."""
        faults, loop = self._link.faults, asyncio.get_running_loop()
        await self._life.cross()
        if faults.happens("kill_at_await"):
            self._life.kill()  # the statement is on its way all the same
        if loop.time() < self._link.away_until:
            await self._life.hear(_later(loop, min(5.0, self._link.away_until - loop.time())))
            raise Unavailable("Postgres does not answer")
        is_lost, is_unheard = faults.happens(f"{kind}_lost"), faults.happens(f"{kind}_unheard")
        is_late = faults.happens(f"{kind}_late")
        answer: asyncio.Future[T] = loop.create_future()

        def arrive() -> None:
            if is_lost or loop.time() < self._link.away_until:
                _fail(answer, Unavailable("Postgres does not answer: the session is gone"))
                return
            try:
                result = action()
            except Exception as error:  # noqa: BLE001 - the statement was refused
                _fail(answer, error)
                return
            if is_unheard:
                _fail(answer, Unavailable("Postgres does not answer: the session is gone"))
            else:
                loop.call_later(self._link.delay_s(), _give, answer, result)

        if is_late:
            loop.call_later(self._link.chance.uniform(0.2, 5.0), arrive)
            loop.call_later(self._link.delay_s(), _fail, answer, Unavailable("Postgres does not answer in time"))
        else:
            loop.call_later(self._link.delay_s(), arrive)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._life.hear(answer)
        except TimeoutError:
            raise Unavailable("Postgres does not answer in time") from None

    async def _way(self) -> None:
        await self._life.hear(_later(asyncio.get_running_loop(), self._link.delay_s()))


class SimulatedReads:
    """What the API's verbs read of sagas, through the same link."""

    def __init__(self, store: SimulatedStore, database: Database, names: Mapping[int, str]) -> None:
        self._store = store
        self._database = database
        self._names = names

    async def summaries(self, saga_ids: Sequence[str]) -> dict[str, SagaSummary]:
        rows = await self._store.query(lambda: self._database.load(saga_ids))
        return {
            row.id: SagaSummary(
                *(row.id, self._names[row.definition_id], 1, row.business_key, row.status, row.version, "", "", None)
            )
            for row in rows
        }

    async def was_done(self, action: str, saga_id: str, version: int, actor: str, reason: str) -> bool:
        wanted = (actor, action, saga_id, reason, version)
        return await self._store.query(lambda: any(act[:5] == wanted for act in self._database.audit))


def _later(loop: asyncio.AbstractEventLoop, seconds: float) -> asyncio.Future[None]:
    future: asyncio.Future[None] = loop.create_future()
    loop.call_later(seconds, _give, future, None)
    return future


def _give(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever asked may be dead: then nobody fetches it
