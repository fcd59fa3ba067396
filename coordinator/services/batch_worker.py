"""Does batch operations, some sagas at a time and at each one's rate, in whichever process has the lease.

    claim -> (keep the lease -> the next sagas -> act -> write down what came of them -> rest)* -> end

A process that dies leaves the lease to run out, and another goes on behind what was written down. Whether an operation
is still wanted is asked with every lease: pause and cancel are seen before the next sagas are.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import structlog

from coordinator.engine.ports import Clock
from coordinator.errors import Unavailable
from coordinator.services.batch_acts import BatchActs
from coordinator.store.batches import FIRST_ID, BatchRecord, BatchStore

log = structlog.get_logger()

LOOK_S: Final = 0.5  # for new operations
AT_ONCE: Final = 4  # operations of one process
SAGAS_MAX: Final = 100  # in one statement
PER_SECOND: Final = 4  # statements of one operation
AGAIN_S: Final = 1.0
RESTS: Final = 2  # times as long as it worked, at least: where Postgres or this process is slow, others go first


class BatchWorker:
    """Does batch operations; `owner` names this process in the leases."""

    def __init__(self, batches: BatchStore, acts: BatchActs, clock: Clock, owner: str) -> None:
        self._batches = batches
        self._acts = acts
        self._clock = clock
        self._owner = owner
        self._stop = asyncio.Event()
        self._doing: dict[str, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, and leave what is not done to others; nothing that goes wrong here ends the process."""
        self._stop = stop
        while not stop.is_set():
            await self._look()
            await self._rest(LOOK_S)
        await asyncio.gather(*self._doing.values())
        with contextlib.suppress(Unavailable):
            await self._batches.leave(self._owner)

    async def _look(self) -> None:
        self._doing = {identity: task for identity, task in self._doing.items() if not task.done()}
        free = AT_ONCE - len(self._doing)
        if not free:
            return
        try:
            claimed = await self._batches.claim(self._owner, free)
            if claimed:
                await self._acts.know_the_time()
            for batch in claimed:
                if batch.id not in self._doing:
                    log.info("batch_operation_begun", batch_operation=batch.id, verb=batch.verb, sagas=batch.total)
                    self._doing[batch.id] = asyncio.create_task(self._do(batch))
        except Unavailable as error:
            log.info("batch_operations_not_read", reason=str(error))
        except Exception:
            log.exception("batch_operations_not_read", alert=True)

    async def _do(self, batch: BatchRecord) -> None:
        """Do an operation until it is done, unwanted or another's."""
        try:
            await self._go_through(batch)
        except Exception:  # the lease runs out, and whoever has it next tries again
            log.exception("batch_operation_failed", batch_operation=batch.id, alert=True)

    async def _go_through(self, batch: BatchRecord) -> None:
        after, due = FIRST_ID, self._clock.monotonic()
        size = max(1, min(SAGAS_MAX, batch.rate // PER_SECOND))
        while not self._stop.is_set():
            began = self._clock.monotonic()
            try:
                if not await self._batches.keep(batch.id, self._owner):
                    return
                items = await self._batches.next_items(batch.id, after, size)
                if not items:
                    if await self._batches.end(batch.id):
                        log.info("batch_operation_done", batch_operation=batch.id, verb=batch.verb)
                        return
                    after = FIRST_ID  # some that were passed have no outcome
                    await self._rest(AGAIN_S)
                    continue
                await self._batches.record(batch.id, await self._acts.act(batch, items))
            except Unavailable as error:
                log.info("batch_operation_waits", batch_operation=batch.id, reason=str(error))
                await self._rest(AGAIN_S)
                continue
            after = items[-1].saga_id
            now = self._clock.monotonic()
            due = max(due, now - AGAIN_S) + len(items) / batch.rate
            await self._rest(max(due - now, RESTS * (now - began)))

    async def _rest(self, seconds: float) -> None:
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
