"""Twins: the engine with one thing broken. Each must be found by the invariant that it breaks, or that is not one.

A twin replaces names in the modules that use them, for the time of a run.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast
from unittest.mock import patch

import msgspec

from coordinator.engine import clock as engine_clock
from coordinator.engine import deciding, draft, messages, ownership, relay, sweeper, worker
from coordinator.errors import Unavailable
from coordinator.saga import machine, model, moves, rules
from coordinator.saga.effects import Effect, IssueCommand, Moved
from coordinator.saga.events import StepCompleted, StepFailed
from coordinator.saga.model import Direction, Outcome, SagaStatus, Undo
from coordinator.services import starting, verbs
from coordinator.store import batch
from coordinator.store.postgres import Committed, FenceLost, KeyTaken, RowMoved
from participants.kit import duties
from participants.kit.duties import Duty
from tests.simulation import database, participants

Use = Callable[[Any, str, Any], None]
"""Replaces an attribute: of what, its name, by what."""


@dataclasses.dataclass(frozen=True)
class Twin:
    """One broken thing: `finds` are the invariants of which one must find it."""

    name: str
    finds: tuple[str, ...]
    breaks: Callable[[Use], None]

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Break it for a while."""
        with ExitStack() as stack:
            self.breaks(lambda of, name, by: stack.enter_context(patch.object(of, name, by)) and None)
            yield


TWINS: list[Twin] = []


def twin(*finds: str) -> Callable[[Callable[[Use], None]], Callable[[Use], None]]:
    """Register a twin under its function's name."""

    def register(breaks: Callable[[Use], None]) -> Callable[[Use], None]:
        TWINS.append(Twin(breaks.__name__.replace("_", " "), finds, breaks))
        return breaks

    return register


# ---------------------------------------------------------------- the machine


@twin("I11")
def all_undos_at_once(use: Use) -> None:
    """Compensations are issued together."""

    def go_back(c: Any, steps: Any) -> Moved:
        steps = moves.owing(c.definition, moves._unheld(steps))
        effects: list[Effect] = []
        for place in range(len(steps) - 1, -1, -1):
            if steps[place].undo is Undo.OWED:
                issued = moves.issue_undo(c, steps, place)
                steps, effects = issued.saga.steps, [*effects, *issued.effects]
        waits = any(step.undo in moves.OPEN_UNDOS for step in steps)
        status = SagaStatus.COMPENSATING if waits else SagaStatus.FAILED
        return Moved(moves._moved(c.saga, status, steps, moves.BACKWARD), tuple(effects))

    use(moves, "go_back", go_back)
    use(rules, "go_back", go_back)


@twin("I11")
def undone_in_the_order_of_doing(use: Use) -> None:
    """The first step is undone first."""

    def go_back(c: Any, steps: Any) -> Moved:
        steps = moves.owing(c.definition, moves._unheld(steps))
        for place, step in enumerate(steps):
            if step.undo is Undo.OWED:
                return moves.issue_undo(c, steps, place)
        return Moved(moves._moved(c.saga, SagaStatus.FAILED, steps, moves.BACKWARD))

    use(moves, "go_back", go_back)
    use(rules, "go_back", go_back)


@twin("I5", "I11")
def an_unknown_step_is_not_undone(use: Use) -> None:
    """What timed out is taken for what did not happen."""
    use(moves, "TO_BE_UNDONE", frozenset({Outcome.COMPLETED}))


@twin("I10")
def a_refused_step_is_undone(use: Use) -> None:
    """A refusal is no promise."""
    use(moves, "TO_BE_UNDONE", frozenset({Outcome.COMPLETED, Outcome.UNKNOWN, Outcome.FAILED}))


@twin("I12", "I5")
def a_late_success_revives_the_step(use: Use) -> None:
    """A success that comes while the saga undoes takes it forward again."""

    def revive(c: Any, event: Any) -> Any:
        steps = moves.with_step(c.saga.steps, c.step, rules._completed(c.state, event))
        forward = msgspec.structs.replace(c.saga, facing=moves.FORWARD)
        return moves.go_forward(msgspec.structs.replace(c, saga=forward), steps)

    use(machine, "TRANSITIONS", {**machine.TRANSITIONS, (SagaStatus.COMPENSATING, StepCompleted): revive})


@twin("I3")
def an_ended_saga_turns_back(use: Use) -> None:
    """A participant that takes its word back after the end is believed."""
    use(
        machine,
        "TRANSITIONS",
        {**machine.TRANSITIONS, (SagaStatus.COMPLETED, StepFailed): lambda c, _: moves.cancel(c)},
    )


@twin("I5", "I11")
def an_undo_is_given_up_and_passed_over(use: Use) -> None:
    """When an undo's budget is spent the saga goes on as if it were done."""

    def go_on(c: Any, why: str) -> Any:
        used = c.state.undo_attempt - c.state.budget_base
        if used < c.definition.steps[c.step].compensation_retry.attempts:
            return moves.back_off_or_park(c, why)
        passed = moves.replace(c.state, undo=Undo.COMPENSATED, deadline_ms=None)
        return moves.go_back(c, moves.with_step(c.saga.steps, c.step, passed))

    use(rules, "back_off_or_park", go_on)


@twin("I7")
def the_second_step_is_asked_for_at_once(use: Use) -> None:
    """A saga does not wait for its first step."""
    begin = machine.begin

    def begin_two(definition: Any, *arguments: Any, **more: Any) -> Moved:
        moved = begin(definition, *arguments, **more)
        if len(definition.stages) < 2 or definition.steps[0].when is not None or not moved.effects:
            return moved
        place = definition.stages[1][0]
        return msgspec.structs.replace(moved, effects=(*moved.effects, IssueCommand(place, Direction.ACTION, 1)))

    use(machine, "begin", begin_two)


# ---------------------------------------------------------------- commands


@twin("I5")
def each_attempt_has_an_id_of_its_own(use: Use) -> None:
    """A participant cannot tell a second attempt from a second wish."""
    build = messages.CommandBuilder.build

    def other(self: Any, active: Any, saga: Any, effect: Any, now_ms: int) -> Any:
        built = build(self, active, saga, effect, now_ms)
        fresh = f"{built.command_id}-{effect.attempt}"
        payload = built.payload.replace(f'"{built.command_id}"'.encode(), f'"{fresh}"'.encode())
        return msgspec.structs.replace(built, command_id=fresh, payload=payload)

    own_step = machine._own_step

    def any_attempt(definition: Any, saga: Any, reply: Any) -> int:
        meant = re.sub(r"-[0-9]+$", "", reply.command_id)
        return own_step(definition, saga, msgspec.structs.replace(reply, command_id=meant))

    use(messages.CommandBuilder, "build", other)
    use(machine, "_own_step", any_attempt)


@twin("I8")
def another_attempt_says_something_else(use: Use) -> None:
    """What a later attempt carries is worked out anew."""
    build = messages.CommandBuilder.build

    def other(self: Any, active: Any, saga: Any, effect: Any, now_ms: int) -> Any:
        built = build(self, active, saga, effect, now_ms)
        changed = built.payload.replace(b'"key":"k', b'"key":"K') if effect.attempt > 1 else built.payload
        return msgspec.structs.replace(built, payload=changed)

    use(messages.CommandBuilder, "build", other)


@twin("I14")
def published_before_it_is_committed(use: Use) -> None:
    """The dual write."""
    write = worker.BatchWorker._write

    async def eager(self: Any, drafted: Any, tokens: Any) -> Any:
        self._relay.hand_over(drafted.records)
        return await write(self, drafted, tokens)

    use(worker.BatchWorker, "_write", eager)


@twin("I14")
def an_outbox_row_goes_before_its_acknowledgement(use: Use) -> None:
    """A message counts as sent when it is handed over."""
    hand_over = relay.Relay.hand_over

    def forget(self: Any, records: Any) -> None:
        self._acknowledged += [record.token for record in records if isinstance(record.token, batch.Token)]
        hand_over(self, records)

    use(relay.Relay, "hand_over", forget)


@twin("I14", "I4")
def the_sweeper_keeps_its_place(use: Use) -> None:
    """Ids are taken for the order of commits: a row behind the position is never looked at again."""
    sweep = sweeper.Sweeper.sweep

    async def onward(self: Any, parts: Any, grace_ms: int = sweeper.GRACE_MS, after: Any = sweeper.FIRST) -> Any:
        place = max(after, getattr(self, "place", sweeper.FIRST))
        unsent = self._store.unsent

        async def noted(*arguments: Any) -> Any:
            page = await unsent(*arguments)
            self.place = page[-1].token if page else place
            return page

        with patch.object(self._store, "unsent", noted):
            return await sweep(self, parts, grace_ms, place)

    use(sweeper.Sweeper, "sweep", onward)


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


@twin("I20", "I24")
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


@twin("I24")
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


@twin("I4")
def deadlines_by_the_clock_of_a_process(use: Use) -> None:
    """Each process has a time of its own."""
    use(engine_clock.DatabaseClock, "now_ms", lambda self: int(self._clock.monotonic() * 1000) + 1_700_000_000_000)


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
