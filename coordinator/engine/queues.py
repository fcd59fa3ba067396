"""The queues of sagas that flow control holds, as they are in Postgres: who comes, who is next, who has gone.

A held saga costs one statement when it comes to its queue and one when it leaves, however long it waits, and no memory:
it is read again when it is next. Everything here may be lost or happen twice. A saga that was held and did not reach
its queue wakes at once and is held again; one that left its step behind and not the queue is found there and goes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from coordinator.engine.cache import ActiveSaga, SagaCache, from_row
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.flow import Flow
from coordinator.engine.ports import Chance, Clock, Store
from coordinator.engine.registry import Registry
from coordinator.engine.slots import held_steps, running_deadline_ms
from coordinator.store.postgres import Hold

COUNT_S = 30.0  # a look at the whole of each queue; in between we know who came and went
LEFT_OVER_MAX = 500  # rows of sagas that are held no longer, looked through at a time
LOOK_MS = 600_000  # a held saga is looked at about this often, whatever else happens or was lost


class Queues:
    """Moves sagas into queues and out of them; only the batch worker calls this."""

    def __init__(
        self,
        store: Store,
        flow: Flow,
        cache: SagaCache,
        registry: Registry,
        clock: Clock,
        now: DatabaseClock,
        chance: Chance,
        partitions: int,
    ) -> None:
        self._store = store
        self._flow = flow
        self._cache = cache
        self._registry = registry
        self._clock = clock
        self._now = now
        self._chance = chance
        self._partitions = partitions
        self._next_count = 0.0
        self._left_over: set[str] = set()

    async def follow(self, parts: Collection[int]) -> None:
        """Know the queues of the partitions that are ours: counted when these change, and now and then."""
        inherited = self._flow.parts != frozenset(parts)
        if not inherited and self._clock.monotonic() < self._next_count:
            return
        held = await self._store.count_held(list(parts))
        self._next_count = self._clock.monotonic() + COUNT_S
        self._flow.own(parts, self._partitions)
        self._flow.counted(held, self._now.now_ms(), inherited=inherited)
        await self._look_at_doubtful()

    async def hold(self, actives: Sequence[ActiveSaga]) -> None:
        """Let sagas queue that have held steps, and forget them: they leave memory."""
        holds = [hold for active in actives if is_held(active) for hold in self._holds(active)]
        if not holds:
            return
        self._flow.queue(await self._store.hold(holds))
        for active in actives:
            self._cache.evict(active.id)

    async def heads(self, participant: str, parts: Collection[int], room: int) -> list[str]:
        """The sagas that are next; more than there is room for where the last ones were only left over."""
        limit = LEFT_OVER_MAX if participant in self._left_over else room
        return await self._store.held(participant, list(parts), limit)

    async def leave(
        self, participant: str, saga_ids: Sequence[str], epochs: Mapping[int, int], *, left_over: bool
    ) -> None:
        """Let sagas leave a queue whose partitions are in these epochs; `left_over` says that none of them was held."""
        if left_over:
            self._left_over.add(participant)
        else:
            self._left_over.discard(participant)
        if saga_ids:
            # A release that nobody hears of may come late: it must not take out who has come to the queue since.
            gone = await self._store.release(participant, saga_ids, self._now.now_ms(), epochs)
            self._flow.unqueue(participant, gone)

    def _holds(self, active: ActiveSaga) -> list[Hold]:
        saga = active.saga
        deadline_ms = running_deadline_ms(saga)
        look_ms = self._now.now_ms() + int(LOOK_MS * (0.5 + self._chance.roll()))
        wake_ms = look_ms if deadline_ms is None else min(look_ms, deadline_ms)
        held = held_steps(saga.status, saga.steps)
        names = {active.definition.steps[position].participant for position in held}
        return [Hold(saga.id, saga.version, name, wake_ms, deadline_ms) for name in sorted(names)]

    async def _look_at_doubtful(self) -> None:
        doubtful = self._flow.doubtful(self._now.now_ms())
        if not doubtful:
            return
        found = {row.id: from_row(row, self._registry) for row in await self._store.load(doubtful)}
        for saga_id in doubtful:
            active = found.get(saga_id)
            if active is None or active.part not in self._flow.parts:
                self._flow.forget(saga_id)
            else:
                self._flow.look(active)


def is_held(active: ActiveSaga, participant: str | None = None) -> bool:
    """Whether a saga has a step that is held back, by a participant or by any."""
    held = held_steps(active.saga.status, active.saga.steps)
    steps = active.definition.steps
    return bool(held) if participant is None else any(steps[position].participant == participant for position in held)
