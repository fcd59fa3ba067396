"""One batch of commands, one Postgres transaction: remembered ids, effects and replies commit together or not at all.

    claim    take the row of every action in the batch, in one order for all processes
    lock     the same for the participant's own rows, where it says which
    run      handlers, for the commands whose duty says so
    store    what is remembered, and the replies in the outbox

Most batches go the swift way: no savepoints, since no handler raises. When one does, the batch is rolled back and done
again the careful way, each command behind a savepoint of its own. A batch that cannot be committed even so is done one
command at a time, and a command that cannot be committed alone fails in a way that may pass.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import asyncpg
import structlog

from coordinator.wire.inbound import InboundCommand
from coordinator.wire.messages import Reply, StepCompleted
from participants.kit.database import AGAIN, UNREACHABLE, Database
from participants.kit.duties import FIXED_ANSWERS, Duty, Memory, Prepared, action_id, duty, remembered, settle
from participants.kit.faults import count_down, crash, disturb, faulty_outcome
from participants.kit.inbox import DeadLetter, Record
from participants.kit.ledger import Claim, claim, postpone, store
from participants.kit.outcomes import Retry
from participants.kit.participant import Connection, Handler, Participant
from participants.kit.reactions import InboundEvent, PostponedRecord, emit, may_pass
from participants.kit.replies import Outgoing, address
from participants.kit.running import NeedsCare, internal, run_carefully, run_swiftly
from participants.kit.traces import Traces

log = structlog.get_logger()

# How often a batch that lost a lock is done again before the loss is blamed on the command that met it.
LOCK_TRIES_MAX: Final = 2
# After a batch needed care, so many next ones are done carefully from the start: trouble comes in runs.
CAREFUL_BATCHES: Final = 16


@dataclass(slots=True)
class Batch:
    """What one poll brought; `work` adds the replies, which have ids once the batch is committed.

    `strange` are events that were to be handled again and call for nothing now, `unreadable` those that are letters.
    `acknowledged` are outbox ids that Kafka has stored since the last batch, `crash` the phase of a crash on demand.
    """

    commands: Sequence[InboundCommand] = ()
    rejected: Sequence[DeadLetter] = ()
    strange: Sequence[PostponedRecord] = ()
    unreadable: Sequence[PostponedRecord] = ()
    acknowledged: Sequence[int] = ()
    outgoing: list[Outgoing] = field(default_factory=list)
    crash: str | None = None


@dataclass(slots=True)
class Case:
    """One command on its way to a reply; the cases of one action share its memory. `context` is for traces only."""

    inbound: InboundCommand
    memory: Memory
    reply: Reply | None = None
    context: str | None = None


@dataclass(slots=True)
class Mood:
    """How a batch is tried: each failure makes the next try slower and safer."""

    careful: bool
    lock_tries: int = 0
    blame: Exception | None = None


class Worker:
    """Does batches, one after the other; `work` comes back only when the batch is committed."""

    def __init__(self, participant: Participant, database: Database, traces: Traces | None = None) -> None:
        self._traces = traces
        self._participant = participant
        self._database = database
        self._careful_batches = 0

    async def work(self, batch: Batch) -> None:
        """Commit the batch, whatever it takes, and leave its replies in `batch.outgoing`."""
        mood = Mood(careful=self._careful_batches > 0)
        self._careful_batches = max(0, self._careful_batches - 1)
        began_ns = 0 if self._traces is None else time.time_ns()
        while True:
            try:
                async with self._database.connection() as connection, connection.transaction():
                    cases = await self._do(connection, batch, mood)
            except NeedsCare:
                self._take_care(mood)
            except AGAIN as error:
                mood.lock_tries += 1
                if mood.lock_tries >= LOCK_TRIES_MAX:
                    self._take_care(mood)
                log.info("batch_lost_a_lock", error=type(error).__name__, tries=mood.lock_tries)
                await asyncio.sleep(random.uniform(0.005, 0.05) * mood.lock_tries)  # noqa: S311 (spreads load)
            except Exception as error:  # noqa: BLE001 (a batch is never given up)
                if isinstance(error, UNREACHABLE) and not isinstance(error, asyncpg.DataError):
                    log.warning("postgres_lost", error=str(error) or type(error).__name__)
                    await asyncio.sleep(0.1)
                    continue
                if len(batch.commands) > 1 and mood.careful:
                    await self._one_by_one(batch)
                    return
                await self._make_safer(batch, mood, error)
            else:
                _log_what_is_unusual(cases)
                if self._traces is not None:
                    _trace(self._traces, cases, began_ns)
                return

    def _take_care(self, mood: Mood) -> None:
        mood.careful, self._careful_batches = True, CAREFUL_BATCHES

    async def _make_safer(self, batch: Batch, mood: Mood, error: Exception) -> None:
        if not mood.careful:
            self._take_care(mood)
        elif batch.commands and mood.blame is None:
            mood.blame = error
        else:
            log.error("batch_cannot_be_stored", exc_info=error)
            await asyncio.sleep(1)

    async def _one_by_one(self, batch: Batch) -> None:
        outgoing: list[Outgoing] = []
        await self.work(replace(batch, commands=(), crash=None))
        for inbound in batch.commands:
            single = Batch(commands=[inbound], crash=batch.crash)
            await self.work(single)
            batch.crash = single.crash
            outgoing += single.outgoing
        batch.outgoing = outgoing

    async def _do(self, connection: Connection, batch: Batch, mood: Mood) -> list[Case]:
        mine = await claim(connection, batch.commands)
        cases = [Case(inbound, mine.memories[action_id(inbound.command)]) for inbound in batch.commands]
        if mine.faults:
            await self._notice_crash(batch, mine)
        await self._lock(connection, batch, mood)
        for round_ in _rounds(cases):
            for handler, group in self._sort_out(round_, mine, mood).items():
                inbounds = [case.inbound for case in group]
                if mood.careful:
                    patient = mood.lock_tries < LOCK_TRIES_MAX
                    outcomes = await run_carefully(handler, inbounds, connection, patient=patient)
                else:
                    outcomes = await run_swiftly(handler, inbounds, connection)
                for case, outcome in zip(group, outcomes, strict=True):
                    case.reply = settle(case.inbound, case.memory, outcome)
        batch.outgoing = self._outgoing(cases, mine)
        await store(connection, mine, batch.outgoing, batch.acknowledged, batch.rejected)
        await _postpone(connection, batch, cases)
        if batch.crash == "before_commit":
            crash()
        return cases

    async def _lock(self, connection: Connection, batch: Batch, mood: Mood) -> None:
        """Let the participant lock its rows; when that does not work, each command must lock for itself."""
        lock = self._participant.lock
        if lock is not None and batch.commands and mood.blame is None and mood.lock_tries < LOCK_TRIES_MAX:
            await lock([inbound.command for inbound in batch.commands], connection)

    async def _notice_crash(self, batch: Batch, mine: Claim) -> None:
        for inbound in batch.commands:
            fault = mine.faults.use(inbound, "crash", count=False) if batch.crash is None else None
            if fault is not None:
                batch.crash = fault.phase
                # Counted in a transaction of its own: this one may never commit.
                await count_down(self._database.url, self._participant.name, fault)

    def _sort_out(self, cases: Iterable[Case], mine: Claim, mood: Mood) -> dict[Handler, list[Case]]:
        """Answer what needs no handler; the rest comes back by handler, in order of arrival."""
        runs: dict[Handler, list[Case]] = {}
        for case in cases:
            if mine.faults and mine.faults.use(case.inbound, "drop"):
                continue
            what = duty(case.inbound, case.memory, mine.now_ms)
            if what is Duty.REPEAT:
                case.reply = remembered(case.inbound.command, case.memory)
            elif what is not Duty.RUN:
                case.reply = settle(case.inbound, case.memory, FIXED_ANSWERS[what])
            else:
                found = self._find(case.inbound, mine, mood)
                if isinstance(found, Handler):
                    runs.setdefault(found, []).append(case)
                else:
                    case.reply = settle(case.inbound, case.memory, found)
        return runs

    def _find(self, inbound: InboundCommand, mine: Claim, mood: Mood) -> Handler | Prepared:
        """Find the handler of a command that is to be run, or the reason why it cannot run now."""
        if mine.faults and (fault := faulty_outcome(mine.faults, inbound)) is not None:
            return fault
        if mood.blame is not None:
            return internal(inbound, mood.blame)
        handler = self._participant.handler(inbound.name, inbound.command.direction)
        if handler is None:
            # Another version of this participant may know it: a rolling deployment must not fail sagas for good.
            return Retry("command_unknown", f"{self._participant.name} does not know {inbound.name}")
        return handler

    def _outgoing(self, cases: Iterable[Case], mine: Claim) -> list[Outgoing]:
        outgoing: list[Outgoing] = []
        for case in cases:
            one = self._answer(case, mine.now_ms)
            if one is not None and (not mine.faults or disturb(mine.faults, case.inbound, one)):
                outgoing.append(one)
        return outgoing

    def _answer(self, case: Case, now_ms: int) -> Outgoing | None:
        if case.reply is None:
            return None
        if isinstance(case.inbound, InboundEvent):
            return emit(case.inbound, case.reply, now_ms)
        if self._traces is not None:
            case.context = self._traces.context(case.inbound)
        return address(self._participant.name, case.inbound, case.reply, now_ms, case.context)


def _trace(traces: Traces, cases: Iterable[Case], began_ns: int) -> None:
    for case in cases:
        if case.context is not None:
            traces.finish(case.inbound, case.context, case.reply, began_ns)


async def _postpone(connection: Connection, batch: Batch, cases: Iterable[Case]) -> None:
    """Keep the events that must be handled again, and let go of those that were.

    One that calls for nothing is kept, too: another version of this participant may know it.
    """
    failed: list[Record | PostponedRecord] = [*batch.strange]
    handled: list[Record | PostponedRecord] = [*batch.unreadable]
    for case in cases:
        if isinstance(case.inbound, InboundEvent):
            if case.reply is not None and may_pass(case.reply):
                failed.append(case.inbound.record)
            elif isinstance(case.inbound.record, PostponedRecord):
                handled.append(case.inbound.record)
    await postpone(connection, failed, handled)


def _rounds(cases: Iterable[Case]) -> list[list[Case]]:
    """Split a batch so that no action occurs twice in a round; nearly always there is one round."""
    rounds: list[list[Case]] = []
    seen: dict[str, int] = {}
    for case in cases:
        number = seen.get(case.memory.command_id, 0)
        seen[case.memory.command_id] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(case)
    return rounds


def _log_what_is_unusual(cases: Iterable[Case]) -> None:
    for case in cases:
        if case.reply is None or isinstance(case.reply, StepCompleted):
            continue
        error = getattr(case.reply, "error", None)
        log.info(
            "command_answered",
            command=case.inbound.name,
            command_id=case.inbound.command.command_id,
            attempt=case.inbound.command.attempt,
            reply=case.reply.ce_type,
            code=error.code if error is not None else None,
            effect=getattr(case.reply, "effect", None),
        )
