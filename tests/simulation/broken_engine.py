"""Twins that write, read, count and act wrongly, and participants without their duties."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from coordinator.choreography import observer, reading
from coordinator.engine import clock as engine_clock
from coordinator.engine import deciding, draft, ownership, worker
from coordinator.errors import Unavailable
from coordinator.saga import model
from coordinator.saga.model import SagaStatus
from coordinator.services import starting, verbs
from coordinator.store import batch
from coordinator.store.postgres import Committed, FenceLost, KeyTaken, RowMoved
from participants.kit import duties
from participants.kit.duties import Duty
from tests.simulation import database, participants
from tests.simulation.mutations import Use, twin

# ---------------------------------------------------------------- the batch


@twin("I16")
def the_offset_goes_before_the_effects(use: Use) -> None:
    """What was read is ticked off first, and written then."""
    write = worker.BatchWorker._write

    async def twice(self: Any, drafted: Any, tokens: Any) -> Any:
        ticked = batch.Batch()
        ticked.fences = [
            fence._replace(applied=0, duplicate=0, stale=0, foreign=0, quarantined=0) for fence in drafted.batch.fences
        ]
        await self._store.commit(ticked)
        drafted.batch.fences = []
        return await write(self, drafted, tokens)

    use(worker.BatchWorker, "_write", twice)


@twin("I20", "I24", "I3", "I22")
def rows_have_no_version(use: Use) -> None:
    """Whoever writes last wins."""
    check = database.Database._check

    def blind(self: Any, written: Any) -> None:
        try:
            check(self, written)
        except RowMoved:
            if any(move[0] not in self.sagas for move in written.moves):
                raise

    use(database.Database, "_check", blind)


@twin("I16")
def partitions_have_no_fence(use: Use) -> None:
    """An owner that was superseded writes on."""
    check = database.Database._check

    def blind(self: Any, written: Any) -> None:
        try:
            check(self, written)
        except FenceLost:
            fences, written.fences = written.fences, []
            check(self, written)
            written.fences = [fence for fence in fences if fence.part in self.shards]

    use(database.Database, "_check", blind)


@twin("I4", "I14", "I16")
def an_unheard_commit_is_taken_for_a_failed_one(use: Use) -> None:
    """After a statement without an answer the worker goes on as if nothing had been written."""

    async def nothing(self: Any) -> None:
        return

    use(ownership.Ownership, "recover", nothing)


@twin("I20", "I4", "I14", "I16")
def a_lost_partition_stays_lost(use: Use) -> None:
    """What a late claim took away is nobody's until the group speaks again."""

    async def nothing(self: Any) -> None:
        return

    use(ownership.Ownership, "reclaim", nothing)


@twin("I2")
def a_business_key_is_no_constraint(use: Use) -> None:
    """Two sagas may begin under one key."""
    check = database.Database._check

    def blind(self: Any, written: Any) -> None:
        try:
            check(self, written)
        except KeyTaken:
            return

    async def none(self: Any, arrivals: Any) -> dict[Any, Any]:
        return {}

    use(database.Database, "_check", blind)
    use(deciding.Decider, "_taken_keys", none)


@twin("I20", "I24")
def an_entry_of_the_log_is_missing(use: Use) -> None:
    """A pause that ended is not worth a line."""
    log = batch.Batch.log

    def most(self: Any, saga_id: str, version: int, part: int, event: str, *rest: Any) -> None:
        if event != "BackoffElapsed":
            log(self, saga_id, version, part, event, *rest)

    use(batch.Batch, "log", most)


@twin("I24", "I17")
def a_row_forgets_a_late_success(use: Use) -> None:
    """Something of the state is not written."""
    dump_state = model.dump_state

    def forgetful(saga: Any) -> bytes:
        steps = tuple(msgspec.structs.replace(step, late_success=False) for step in saga.steps)
        return dump_state(msgspec.structs.replace(saga, steps=steps))

    use(draft, "dump_state", forgetful)


@twin("I27")
def a_turn_is_not_counted(use: Use) -> None:
    """The tallies leave out sagas that turn back."""
    tally = batch.Batch.tally

    def most(self: Any, definition_id: int, before: Any, after: Any) -> None:
        if after != SagaStatus.COMPENSATING:
            tally(self, definition_id, before, after)

    use(batch.Batch, "tally", most)


@twin("I4")
def nobody_is_told(use: Use) -> None:
    """A saga is parked, and no incident says so."""
    use(batch.Batch, "open_incident", lambda self, *_: None)


@twin("I21", "I4")
def deadlines_by_the_clock_of_a_process(use: Use) -> None:
    """Each process has a time of its own."""
    use(engine_clock.DatabaseClock, "now_ms", lambda self: int(self._clock.monotonic() * 1000) + 1_700_000_000_000)


@twin("I1", "I4")
def an_event_is_ticked_off_before_it_is_taken_in(use: Use) -> None:
    """The observer says that it has read what it has not yet written down."""

    async def eager(self: Any, topic: Any) -> None:
        subscriber = topic.subscriber
        polled = await subscriber.poll(observer.BATCH_MAX, observer.POLL_MS)
        await subscriber.commit({part: subscriber.position(part) or 0 for part in subscriber.ready})
        arrivals, _ = reading.read(polled, topic.source, topic.topic, self._choreographies)
        await self._recorder.take_in(arrivals, topic.topic)

    use(observer.ChoreographyObserver, "_step", eager)


# ---------------------------------------------------------------- people


@twin("I25")
def the_audit_is_written_afterwards(use: Use) -> None:
    """An act and its record are two statements."""
    commit = verbs.Verbs._commit

    async def apart(self: Any, drafted: Any) -> None:
        acts, drafted.batch.audits = drafted.batch.audits, []
        await commit(self, drafted)
        later = batch.Batch()
        later.audits = acts
        await self._store.commit(later)

    use(verbs.Verbs, "_commit", apart)


@twin("I26")
def a_verb_acts_on_whatever_is_there(use: Use) -> None:
    """The version that an operator has seen does not matter."""
    once = verbs.Verbs._act_once

    async def blind(self: Any, saga_id: str, _: int, *rest: Any) -> None:
        row, _active = await self._look(saga_id)
        await once(self, saga_id, row.version, *rest)

    use(verbs.Verbs, "_act_once", blind)


@twin("I1")
def a_start_without_an_answer_counts_as_begun(use: Use) -> None:
    """A client is told of a saga whose commit nobody heard of."""
    init = starting.Starter.__init__

    class Hopeful:
        def __init__(self, store: Any) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        async def commit(self, written: Any) -> Committed:
            self.heard = True
            try:
                committed: Committed = await self._store.commit(written)
            except Unavailable:
                self.heard = False
                return Committed(0, self._store._database.now_ms())
            return committed

    class Silent:
        def __init__(self, publishing: Any, store: Hopeful) -> None:
            self._publishing, self._store = publishing, store

        def committed(self, drafted: Any, now_ms: int) -> None:
            if self._store.heard:
                self._publishing.committed(drafted, now_ms)

    def hopeful(self: Any, store: Any, publishing: Any, *rest: Any) -> None:
        hopes = Hopeful(store)
        init(self, hopes, cast("Any", Silent(publishing, hopes)), *rest)

    use(starting.Starter, "__init__", hopeful)


# ---------------------------------------------------------------- participants


@twin("I5")
def a_participant_without_a_tombstone(use: Use) -> None:
    """It forgets that an undo came first, and does the action when that comes late."""
    settle = duties.settle

    def forgetful(inbound: Any, memory: Any, outcome: Any) -> Any:
        reply = settle(inbound, memory, outcome)
        if memory.outcome is None:
            memory.undo = None
        return reply

    use(participants, "settle", forgetful)


@twin("I5")
def a_participant_without_a_memory(use: Use) -> None:
    """It does what it is asked for as often as it is asked."""
    duty = duties.duty

    def again(inbound: Any, memory: Any, now_ms: int) -> Duty:
        found = duty(inbound, memory, now_ms)
        return Duty.RUN if found is Duty.REPEAT else found

    use(participants, "duty", again)
