"""The batch worker: the one loop that moves sagas.

    poll -> read -> decide -> ONE statement -> publish -> (later) commit offsets

While Postgres writes a batch, the next one is decided. Nothing is published before the statement is committed, and no
offset moves but in the statement. A batch whose outcome is unknown is looked up, never assumed: `Ownership.recover`
asks Postgres and reads again from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import NamedTuple

import structlog

from coordinator.engine.cache import ActiveSaga, SagaCache
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.deciding import Decided, Decider, saga_ids
from coordinator.engine.draft import Draft
from coordinator.engine.flow import Flow
from coordinator.engine.observer import Observer
from coordinator.engine.ownership import Marks, Ownership
from coordinator.engine.ports import Chance, Clock, Polled, Store
from coordinator.engine.queues import Queues, is_held
from coordinator.engine.reading import Arrival, BadArrival, read
from coordinator.engine.registry import Registry
from coordinator.engine.relay import Relay
from coordinator.engine.slots import held_steps
from coordinator.engine.timers import FIRE_MAX, Timers
from coordinator.engine.topology import Topology
from coordinator.errors import Unavailable
from coordinator.kafka.records import Skipped
from coordinator.saga import machine
from coordinator.saga.definition import RECOVERY, Retry
from coordinator.saga.effects import Moved
from coordinator.saga.events import BackoffElapsed, DeadlinePassed, Event, PublicationDelayed
from coordinator.saga.model import Direction
from coordinator.store.batch import Token
from coordinator.store.postgres import (
    Committed,
    Contended,
    FenceLost,
    KeyTaken,
    RowMoved,
    Unacceptable,
)

log = structlog.get_logger()

TRIES_MAX = 3  # of a whole batch, before it is cut in halves to find the row that does not fit


# What the timers of a saga add to a draft; answers the participants whose actions came to nothing.
_Decide = Callable[[Draft, ActiveSaga], list[str]]


class BatchWorker:
    """Turns what was polled, and the timers that are due, into committed transitions."""

    def __init__(
        self,
        store: Store,
        ownership: Ownership,
        relay: Relay,
        timers: Timers,
        cache: SagaCache,
        registry: Registry,
        topology: Topology,
        clock: Clock,
        now: DatabaseClock,
        chance: Chance,
        observer: Observer,
        flow: Flow,
        recovery: Retry = RECOVERY,
    ) -> None:
        self._store = store
        self._ownership = ownership
        self._relay = relay
        self._timers = timers
        self._cache = cache
        self._registry = registry
        self._topology = topology
        self._now = now
        self._chance = chance
        self._observer = observer
        self._hand: _Hand | None = None
        self._held: list[ActiveSaga] = []
        ownership.quiesce = self.land
        self._flow = flow
        self._decider = Decider(
            *(store, cache, registry, topology, clock, now, chance, ownership, flow, recovery), observer.tracing
        )
        partitions = topology.counts[topology.replies]
        self._queues = Queues(store, flow, cache, registry, clock, now, chance, partitions)

    async def handle(self, polled: list[Polled]) -> int:
        """Decide about polled records and begin to write; answers how many there were.

        While Postgres writes one batch the next one is decided, provided that they have no saga in common; it is
        written when the first is committed. `land` waits for the last one.
        """
        marks = self._ownership.marks()
        async with self._ownership.turn:
            oddities: dict[str, int] = {}
            arrivals = read(polled, self._registry, oddities)
            self._observer.odd(oddities)
            ids = saga_ids(arrivals)
            if self._hand is not None and not self._hand.saga_ids.isdisjoint(ids):
                await self.land()
            decided = await self._decide_ahead(arrivals) if self._are_ours(polled, marks) else None
            await self.land()
            if decided is not None and not self._are_ours(polled, marks):
                self._flow.give_back(decided.draft.taken)
                decided = None
            task = asyncio.create_task(self._settle(arrivals, marks, decided))
            self._hand = _Hand(task, {*ids, *(decided.draft.saga_ids if decided is not None else ())})
        return len(arrivals)

    @property
    def busy(self) -> bool:
        """Whether a batch is being written."""
        return self._hand is not None and not self._hand.task.done()

    async def land(self) -> None:
        """Wait until the batch in hand is committed, or given back to Kafka."""
        hand = self._hand
        if hand is not None:
            await asyncio.wait([hand.task])
            self._hand = None
            hand.task.result()

    async def fire(self) -> int:
        """Let the timers that are due happen; answers how many did."""
        ownership = self._ownership
        if self._hand is not None and self._hand.task.done():
            await self.land()
        parts = list(ownership.owned)
        await self._queues.follow(parts)
        if not parts:
            self._timers.gate.forget()
            return 0
        await self._timers.gate.ask(parts, soon=self._timers.held > 0)
        soon = await self._timers.refill(parts)
        rooms = self._flow.next_in_line(self._now.now_ms())
        if not (soon or self._timers.pending or rooms or self._held):
            return 0
        async with ownership.turn:
            await self.land()
            if soon:
                loaded, _ = await self._decider.load(soon)
                for active in loaded.values():
                    self._cache.put(active)
                await self._timers.take_up(soon)
            ready = self._timers.due(ownership.owned)
            if ready:
                await self._relay.flush()
                await self._fire(ready)
            await self._hold_back()
            for participant, room in rooms:
                await self._release(participant, room)
        return len(ready)

    # ------------------------------------------------------------ arrivals

    def _still_ours(self, arrivals: Sequence[Arrival], marks: Marks) -> list[Arrival]:
        """Leave out what is not ours any more or comes again, and what the recorded offset says is done already."""
        done = self._ownership.unmoved(marks)
        beyond = 1 << 63
        return [arrival for arrival in arrivals if arrival.offset >= done.get(arrival.part, beyond)]

    def _are_ours(self, polled: list[Polled], marks: Marks) -> bool:
        """Whether all of what was polled is ours and new; each partition's are in order, so its first tells."""
        done = self._ownership.unmoved(marks)
        return all(part in done and offset >= done[part] for part, offset in map(_beginning, polled))

    async def _decide_ahead(self, arrivals: list[Arrival]) -> Decided | None:
        """Decide while the batch before is being written; None when that must wait for it."""
        try:
            return await self._decider.decide(arrivals)
        except Unavailable as error:
            log.info("decided_later", reason=str(error))
            return None

    async def _settle(self, arrivals: list[Arrival], marks: Marks, decided: Decided | None = None) -> None:
        """Commit arrivals: all at once, else in halves, until the one that cannot be written stands alone."""
        for attempt in range(1, TRIES_MAX + 1):
            if decided is None:
                arrivals = self._still_ours(arrivals, marks)
            if not arrivals:
                return
            try:
                if await self._commit(arrivals, decided):
                    return
            except (Contended, RowMoved, KeyTaken) as error:
                log.info("batch_retried", attempt=attempt, records=len(arrivals), reason=str(error))
            except Unacceptable as error:
                if len(arrivals) == 1:
                    arrivals = [_unwritable(arrivals[0], str(error))]
                else:
                    break
            decided = None
        if len(arrivals) == 1:
            log.error("record_not_settled", partition=arrivals[0].part, offset=arrivals[0].offset)
            await self._ownership.recover()
            return
        middle = len(arrivals) // 2
        await self._settle(arrivals[:middle], marks)
        await self._settle(arrivals[middle:], marks)

    async def _commit(self, arrivals: list[Arrival], decided: Decided | None) -> bool:
        """Decide, unless that is done, and write; True when there is nothing left to try with these arrivals."""
        tokens = self._relay.take_acknowledged()
        try:
            if decided is None:
                decided = await self._decider.decide(arrivals)
            decided.draft.batch.fences = [self._ownership.fence(*reach) for reach in decided.reaches]
            committed = await self._write(decided.draft, tokens)
        except (RowMoved, KeyTaken, Contended, Unacceptable):
            self._relay.return_acknowledged(tokens)
            if decided is not None:
                self._flow.give_back(decided.draft.taken)
            for saga_id in saga_ids(arrivals):
                self._cache.evict(saga_id)
            raise
        except (FenceLost, Unavailable) as error:
            self._relay.return_acknowledged(tokens)
            log.warning("batch_outcome_unknown", reason=str(error), records=len(arrivals))
            if decided is not None and isinstance(error, Unavailable):
                self._observer.unheard(decided.draft, self._now.now_ms())
            await self._ownership.recover()
            return True
        self._relay.deleted(tokens)
        self._settled(decided, committed)
        return True

    async def _write(self, draft: Draft, tokens: list[Token]) -> Committed:
        batch = draft.finish()
        batch.tokens = tokens
        batch.events_through_ms = self._observer.events_through_ms
        began = self._observer.statement_begins()
        committed = await self._store.commit(batch)
        self._observer.statement_ended(began)
        self._now.observe(committed.now_ms)
        return committed

    def _settled(self, decided: Decided, committed: Committed) -> None:
        draft = decided.draft
        self._relay.hand_over(draft.records)
        self._ownership.advance(draft.batch.fences)
        for active in decided.loaded:
            self._cache.put(active)
            self._timers.arm(active, active.saga.waking_ms)
        horizon_ms = self._timers.horizon_ms
        owned = self._ownership.owned
        for written in draft.settle():
            if written.active.part not in owned:  # its reply came to the wrong partition; its owner goes on with it
                self._cache.evict(written.active.id)
                continue
            self._cache.put(written.active)
            if decided.held and is_held(written.active):
                self._held.append(written.active)
            elif written.waking_ms is not None and written.waking_ms < horizon_ms:
                self._timers.arm(written.active, written.waking_ms)
        self._observer.committed(draft.transitions, decided.verdicts, committed, draft.spans)

    # ------------------------------------------------------------ timers

    async def _fire(self, ready: list[ActiveSaga]) -> None:
        unsent = await self._store.unsent_sagas([active.id for active in ready])
        await self._fire_group([active for active in ready if active.id not in unsent], self._decide_timers)
        await self._fire_group([active for active in ready if active.id in unsent], self._put_off, sent=False)

    async def _hold_back(self) -> None:
        """Let the sagas that flow control holds queue; those that do not get there wake, and are held again."""
        held, self._held = self._held, []
        for first in range(0, len(held), FIRE_MAX):
            await self._queues.hold(held[first : first + FIRE_MAX])

    async def _release(self, participant: str, room: int) -> None:
        """Issue the steps that have waited longest for a participant."""
        owned = self._ownership.owned
        epochs = {part: one.epoch for part, one in owned.items()}
        heads = await self._queues.heads(participant, epochs, room)
        loaded, _ = await self._decider.load(heads)
        known = {saga_id: loaded.get(saga_id) or self._cache.get(saga_id) for saga_id in heads}
        waiting = [active for active in known.values() if active is not None and is_held(active, participant)]
        for active in waiting:
            self._cache.put(active)
        await self._fire_group(waiting, partial(self._decide_release, participant), sent=False)
        still = {active.id for active in waiting if is_held(active, participant)}
        for saga_id in still:
            self._cache.evict(saga_id)
        gone = [saga_id for saga_id in heads if saga_id not in still]
        await self._queues.leave(participant, gone, epochs, left_over=bool(heads) and not waiting)

    async def _fire_group(self, group: list[ActiveSaga], decide: _Decide, *, sent: bool = True) -> None:
        """Let the timers of sagas happen, all at once, else in halves, until what does not fit stands alone.

        With `sent` nothing of a saga may be in the outbox.
        """
        owned = self._ownership.owned
        draft = Draft(self._decider.commands, unless_unsent=sent)
        refusals = self._flow.refusals
        overdue = [name for active in group if active.part in owned for name in decide(draft, active)]
        if not draft.saga_ids:
            return
        parts = {transition.active.part for transition in draft.transitions}
        draft.batch.fences = [self._ownership.fence(part, owned[part].next_offset, [0] * 5) for part in sorted(parts)]
        try:
            committed = await self._write(draft, [])
        except (RowMoved, Contended, KeyTaken, Unacceptable) as error:
            self._flow.give_back(draft.taken)
            if len(group) > 1:
                middle = len(group) // 2
                await self._fire_group(group[:middle], decide, sent=sent)
                await self._fire_group(group[middle:], decide, sent=sent)
                return
            # Found again by the next refill, which reads the row anew.
            log.info("timer_postponed", reason=str(error), saga_id=group[0].id)
            self._cache.evict(group[0].id)
        except (FenceLost, Unavailable) as error:
            log.warning("batch_outcome_unknown", reason=str(error), timers=len(draft.saga_ids))
            if isinstance(error, Unavailable):
                self._observer.unheard(draft, self._now.now_ms())
            await self._ownership.recover()
        else:
            self._timers.fired += len(draft.transitions)
            self._settled(Decided(draft, {}, [], [], self._flow.refusals > refusals), committed)
            self._flow.timed_out(overdue, self._now.now_ms())

    def _decide_timers(self, draft: Draft, active: ActiveSaga) -> list[str]:
        """Add what the timers of a saga cause; answers whose actions came to nothing."""
        overdue: list[str] = []
        holding = self._flow.holding(self._now.now_ms())
        # Postgres may have kept us waiting since the gate was asked: what came due meanwhile is for the next pass.
        for timer in machine.due(active.definition, active.saga, now_ms=self._timers.counting_ms[active.id]):
            moved = self._decide(draft, active, timer, holding)
            if moved and isinstance(timer, DeadlinePassed) and timer.direction is Direction.ACTION:
                overdue.append(active.definition.steps[active.definition.index[timer.step_name]].participant)
        if draft.current(active) is active.saga and is_held(active):
            self._held.append(active)
        return overdue

    def _put_off(self, draft: Draft, active: ActiveSaga) -> list[str]:
        """A saga with unsent commands has their deadlines put off and no more."""
        for timer in machine.due(active.definition, active.saga, now_ms=self._now.now_ms()):
            if isinstance(timer, DeadlinePassed):
                event = PublicationDelayed(timer.step_name, timer.direction, timer.attempt)
                self._decide(draft, active, event, ())
        return []

    def _decide_release(self, participant: str, draft: Draft, active: ActiveSaga) -> list[str]:
        """Issue what a saga has waited for, as long as there is room."""
        self._flow.holding(self._now.now_ms())
        for position in held_steps(active.saga.status, active.saga.steps):
            step, state = active.definition.steps[position], active.saga.steps[position]
            if step.participant == participant:
                event = BackoffElapsed(step.name, Direction.ACTION, state.attempt)
                self._decide(draft, active, event, self._flow.released)
        return []

    def _decide(self, draft: Draft, active: ActiveSaga, event: Event, held: Container[str]) -> bool:
        """Add what an event causes; answers whether it moves the saga."""
        now_ms, roll = self._now.now_ms(), self._chance.roll()
        try:
            before = draft.current(active)
            decision = machine.decide(active.definition, before, event, now_ms=now_ms, roll=roll, held=held)
            if not isinstance(decision, Moved):
                return False
            draft.move(active, before, event, decision, now_ms, roll, holding=bool(held))
            if held:
                draft.taken += self._flow.moved(active, decision)
        except Exception:
            log.exception("timer_failed", saga_id=active.id, alert=True)
            return False
        return True


class _Hand(NamedTuple):
    """A batch that is being written, and the sagas it may change."""

    task: asyncio.Task[None]
    saga_ids: set[str]


def _beginning(polled: Polled) -> tuple[int, int]:
    """The partition of what was polled, and its first offset."""
    if isinstance(polled, Skipped):
        return polled.partition, polled.first_offset
    part, records = polled
    return part, records[0].offset


def _unwritable(arrival: Arrival, detail: str) -> BadArrival:
    return BadArrival(arrival.part, arrival.offset, arrival.next_offset, "schema", detail, arrival.record)
