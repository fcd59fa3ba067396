"""A batch operation's verb, done to some of its sagas with one statement.

Each saga's act is what a single verb would be: decided purely, written under the row's version, audited. The statement
is all or nothing, so where a saga moves at the same time the sagas are done in smaller pieces. An act whose outcome was
not written down (a crash, a lost answer) is found in the audit by the operation's own request id: none is done twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from coordinator.engine.cache import ActiveSaga, from_row
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.draft import Draft
from coordinator.engine.flow import Flow
from coordinator.engine.messages import CommandBuilder
from coordinator.engine.observer import Observer
from coordinator.engine.ports import Chance, Clock, Store
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.errors import CallerError, Conflict, InvalidInput
from coordinator.saga import machine
from coordinator.saga.effects import Moved
from coordinator.services.acting import PAUSE_S, TRIES_MAX
from coordinator.services.batch_operations import FITTING, verb_of
from coordinator.services.publishing import Publishing
from coordinator.services.verbs import act_of, check_result, event_of
from coordinator.store.batches import BatchItem, BatchRecord, BatchStore, ItemOutcome
from coordinator.store.postgres import Contended, RowMoved, SagaRow, Unacceptable

log = structlog.get_logger()

DONE: Final = "done"
REFUSED: Final = "refused"
FAILED: Final = "failed"

_FAULT = "something went wrong here; the log of the coordinator knows more"


class BatchActs:
    """Does a batch operation's verb to sagas."""

    def __init__(
        self,
        store: Store,
        batches: BatchStore,
        publishing: Publishing,
        registry: Registry,
        topology: Topology,
        clock: Clock,
        now: DatabaseClock,
        chance: Chance,
        observer: Observer,
        flow: Flow,
    ) -> None:
        self._store = store
        self._batches = batches
        self._publishing = publishing
        self._registry = registry
        self._commands = CommandBuilder(topology)
        self._clock = clock
        self._now = now
        self._chance = chance
        self._observer = observer
        self._flow = flow

    async def know_the_time(self) -> None:
        """Read the database's clock, which every decision needs; raises Unavailable."""
        self._now.observe(await self._store.now_ms())

    async def act(self, batch: BatchRecord, items: Sequence[BatchItem]) -> list[ItemOutcome]:
        """Do the verb to each saga at most once, and say what came of it; raises Unavailable (ask again)."""
        for attempt in range(1, TRIES_MAX + 1):
            try:
                return await self._act_together(batch, items)
            except (RowMoved, Contended, Unacceptable) as error:
                if len(items) > 1:
                    half = len(items) // 2
                    return [*await self.act(batch, items[:half]), *await self.act(batch, items[half:])]
                if isinstance(error, Unacceptable):
                    log.exception("batch_act_failed", saga_id=items[0].saga_id, alert=True)
                    return [ItemOutcome(items[0].saga_id, FAILED, _FAULT)]
                await self._clock.sleep(PAUSE_S * attempt)
        return [ItemOutcome(items[0].saga_id, FAILED, "the saga is being written all the time")]

    async def _act_together(self, batch: BatchRecord, items: Sequence[BatchItem]) -> list[ItemOutcome]:
        rows = {row.id: row for row in await self._store.load([item.saga_id for item in items])}
        moved = [item.saga_id for item in items if item.saga_id in rows and rows[item.saga_id].version != item.version]
        acts = await self._batches.acts(moved, request_id_of_batch(batch)) if moved else {}
        draft = Draft(self._commands)
        try:
            outcomes = [
                ItemOutcome(item.saga_id, DONE, None, acts[item.saga_id])
                if item.saga_id in acts
                else self._decide(batch, item, rows.get(item.saga_id), draft)
                for item in items
            ]
            if draft.saga_ids:
                committed = await self._store.commit(draft.finish())
        except Exception:
            self._flow.give_back(draft.taken)
            raise
        if draft.saga_ids:
            self._now.observe(committed.now_ms)
            self._publishing.committed(draft, self._now.now_ms())
            self._observer.committed(draft.transitions, {}, committed, draft.spans)
        return outcomes

    def _decide(self, batch: BatchRecord, item: BatchItem, row: SagaRow | None, draft: Draft) -> ItemOutcome:
        """Add a saga's act to the draft, or say why not; raises Unacceptable where that is our own fault."""
        try:
            active = self._active(batch, item, row)
            decision = self._add(batch, active, draft)
        except CallerError as refusal:
            return ItemOutcome(item.saga_id, REFUSED, _sentence(refusal))
        except Exception as error:  # the draft may hold half of it: it is thrown away
            raise Unacceptable(str(error)) from error
        if active.part in self._flow.parts:
            draft.taken += self._flow.moved(active, decision)
        return ItemOutcome(item.saga_id, DONE, None, decision.saga.version)

    def _active(self, batch: BatchRecord, item: BatchItem, row: SagaRow | None) -> ActiveSaga:
        if row is None:
            raise Conflict("there is no saga with this id")
        _check_standing(batch, item, row)
        active = from_row(row, self._registry) if row.part >= 0 else None
        if active is None:
            raise Conflict("this coordinator does not know the saga's definition, or it is choreographed")
        return active

    def _add(self, batch: BatchRecord, active: ActiveSaga, draft: Draft) -> Moved:
        verb = verb_of(batch)
        now_ms, roll = self._now.now_ms(), self._chance.roll()
        held = self._flow.holding_at_start(active.part, now_ms)
        event = event_of(verb)
        decision = machine.decide(active.definition, active.saga, event, now_ms=now_ms, roll=roll, held=held)
        if not isinstance(decision, Moved):
            raise Conflict(decision.reason)
        check_result(active, verb)
        draft.move(active, active.saga, event, decision, now_ms, roll, holding=True)
        draft.batch.audit(
            act_of(active.saga, decision.saga, verb.actor, batch.verb, verb.reason, request_id_of_batch(batch))
        )
        return decision


def request_id_of_batch(batch: BatchRecord) -> str:
    """What the audit of each act names; no request of a client can have it, for it has a colon."""
    return f"batch:{batch.id}"


def _check_standing(batch: BatchRecord, item: BatchItem, row: SagaRow) -> None:
    """Refuse a saga that is not as it was confirmed; one in progress may move on, within the filter's statuses."""
    if row.status not in batch.statuses:
        raise Conflict(f"the saga is {row.status} by now")
    rests = FITTING[batch.verb] == FITTING["retry"] or row.status == "suspended"
    if rests and row.version != item.version:
        raise Conflict(f"the saga is at version {row.version} by now, not at {item.version}")


def _sentence(refusal: CallerError) -> str:
    place = f"{refusal.pointer}: " if isinstance(refusal, InvalidInput) else ""
    return f"{place}{refusal}"
