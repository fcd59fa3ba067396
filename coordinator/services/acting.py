"""An act on a saga, done once whatever happens: tried again, answered in time, looked up where it was not heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from coordinator.engine.ports import Clock
from coordinator.errors import Conflict, NotFound, SagaError, StaleVersion, Unavailable
from coordinator.services.starting import ANSWER_S
from coordinator.store.postgres import Contended, RowMoved, SagaRow
from coordinator.store.reads import SagaReads, SagaSummary

log = structlog.get_logger()

TRIES_MAX = 5
PAUSE_S = 0.05


class Acting:
    """Does acts; several at a time."""

    def __init__(self, reads: SagaReads, clock: Clock) -> None:
        self._reads = reads
        self._clock = clock
        self._acts: set[asyncio.Task[SagaSummary]] = set()

    async def act(
        self,
        saga_id: str,
        once: Callable[[], Awaitable[None]],
        was_done: Callable[[], Awaitable[bool]],
        *,
        again: bool = False,
    ) -> SagaSummary:
        """Do `once` until it is known to be done; `was_done` is asked when its commit was not heard of.

        It is asked first when the same request came before and nobody knows what became of it (`again`). Answers how
        the saga stands then. Raises NotFound, Unavailable (look again), and what `once` refuses.
        """
        return await self._shielded(self._until_done(saga_id, once, was_done, unknown=again))

    async def _shielded(self, work: Coroutine[Any, Any, SagaSummary]) -> SagaSummary:
        """Wait for a while; neither a client that goes away nor one that waited long enough cuts the statement."""
        act = asyncio.create_task(work)
        self._acts.add(act)
        act.add_done_callback(self._acts.discard)
        done, _ = await asyncio.wait({act}, timeout=ANSWER_S)
        if not done:
            act.add_done_callback(_look_at)
            raise Unavailable("Postgres has not answered in time")
        return act.result()

    async def _until_done(
        self,
        saga_id: str,
        once: Callable[[], Awaitable[None]],
        was_done: Callable[[], Awaitable[bool]],
        *,
        unknown: bool,
    ) -> SagaSummary:
        problem: Exception = Unavailable("the saga is being written all the time")
        for attempt in range(1, TRIES_MAX + 1):
            try:
                if not (unknown and await was_done()):
                    await once()
                return await self._present(saga_id)
            except RowMoved:
                continue  # the next look says how the saga stands now
            except Contended as error:
                problem = error
            except Unavailable as error:
                problem, unknown = error, True
            except (Conflict, StaleVersion):
                # What is refused may be what the try that was not heard of has done meanwhile.
                if not (unknown and await was_done()):
                    raise
                return await self._present(saga_id)
            await self._clock.sleep(PAUSE_S * attempt)
        raise Unavailable(str(problem)) from problem

    async def _present(self, saga_id: str) -> SagaSummary:
        saga = (await self._reads.summaries([saga_id])).get(saga_id)
        if saga is None:
            raise NotFound("there is no saga with this id")
        return saga


def _look_at(act: asyncio.Task[SagaSummary]) -> None:
    """An act has ended of which whoever asked has not heard: what it refuses is nobody's fault."""
    if not act.cancelled() and (error := act.exception()) is not None and not isinstance(error, SagaError):
        log.error("act_failed", exc_info=error)


async def do_once(act: Callable[[], Awaitable[None]], was_done: Callable[[], Awaitable[bool]], *, again: bool) -> None:
    """Do an act whose request may have done it before (`again`): then `was_done` is asked first.

    Raises Unavailable, and what `act` refuses.
    """
    if again and await was_done():
        return
    try:
        await act()
    except (Conflict, StaleVersion):
        # What is refused may be what the try that was not heard of has done meanwhile.
        if not (again and await was_done()):
            raise


def members(row: SagaRow) -> dict[str, Any]:
    """What a refusal says of how a saga stands."""
    return {"saga_id": row.id, "saga_status": row.status, "version": row.version}
