"""Operators' verbs and answers from outside, done to a saga that any process may own (design section 3, rule 12).

    load the row -> the machine decides -> one statement under the row's version, audited in it -> publish, hint

A preview is the same decision with nothing after it. An act whose commit was not heard of is looked up in the audit:
a version is left once only.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from coordinator.engine.cache import ActiveSaga, from_row
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.draft import Draft
from coordinator.engine.flow import Flow
from coordinator.engine.messages import CommandBuilder
from coordinator.engine.observer import Observer
from coordinator.engine.ports import Chance, Clock, Store
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.errors import Conflict, InvalidInput, NotFound, StaleVersion, Unavailable
from coordinator.saga import machine
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import Decision, IssueCommand, Moved, OpenIncident, Verdict
from coordinator.saga.events import (
    AbandonRequested,
    CompensateRequested,
    Event,
    ExternalCompleted,
    ExternalFailed,
    Resolution,
    ResolveRequested,
    ResumeRequested,
    RetryRequested,
    SkipRequested,
    SuspendRequested,
    Verb,
)
from coordinator.saga.model import Facing, Outcome, Saga, SagaStatus, StepState, Undo
from coordinator.saga.moves import EMPTY_RESULT, OPEN_UNDOS, TO_BE_UNDONE, owing
from coordinator.saga.results import result_problem
from coordinator.services.acting import Acting, members
from coordinator.services.possible import possible_verbs
from coordinator.services.publishing import Publishing
from coordinator.services.words import says_something
from coordinator.store.batch import Act
from coordinator.store.postgres import SagaRow
from coordinator.store.reads import SagaReads, SagaSummary

NAMES: Final[dict[type[Verb], str]] = {
    RetryRequested: "retry",
    SkipRequested: "skip",
    ResolveRequested: "resolve",
    CompensateRequested: "compensate",
    SuspendRequested: "suspend",
    ResumeRequested: "resume",
    AbandonRequested: "abandon",
}

_PLAIN: Final = (RetryRequested, CompensateRequested, SuspendRequested, ResumeRequested, AbandonRequested)


COMPLETE_STEP, FAIL_STEP = "complete_step", "fail_step"  # how the audit calls answers from outside
OUTSIDE = "answered from outside"


class VerbRefused(Conflict):
    """The saga is not in a state in which that is possible; `members` says in which it is."""

    def __init__(self, reason: str, members: dict[str, Any]) -> None:
        super().__init__(reason)
        self.members = members


class VerbStale(StaleVersion):
    """The saga is not at the version that the operator looked at; `members` says at which it is."""

    def __init__(self, expected: int, members: dict[str, Any]) -> None:
        super().__init__(f"the saga is at version {members['version']}, not at {expected}: look at it again")
        self.members = members


class PlannedCommand(msgspec.Struct, frozen=True):
    """A command that a verb would send."""

    step: str
    participant: str
    command: str
    command_id: str
    attempt: int
    payload: msgspec.Raw


class Preview(msgspec.Struct, frozen=True):
    """What a verb would do to a saga that is at `version`.

    `commands` are those that would be sent at once; where flow control holds a step back there is none for it.
    `to_be_undone` are the steps whose compensations would follow, in their order; `stays_done` those that would remain
    done for good; `incidents` are problems that would open.
    """

    verb: str
    version: int
    status: SagaStatus
    next_status: SagaStatus
    commands: list[PlannedCommand]
    to_be_undone: list[str]
    stays_done: list[str]
    incidents: list[str]


class Verbs:
    """Does verbs and takes answers; several at a time."""

    def __init__(
        self,
        store: Store,
        reads: SagaReads,
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
        self._reads = reads
        self._publishing = publishing
        self._registry = registry
        self._commands = CommandBuilder(topology, observer.tracing)
        self._now = now
        self._chance = chance
        self._observer = observer
        self._flow = flow
        self._acting = Acting(reads, clock)

    async def act(
        self, saga_id: str, expected_version: int, verb: Verb, request_id: str = "", *, again: bool = False
    ) -> SagaSummary:
        """Do a verb once; raises NotFound, VerbRefused, VerbStale, Unavailable.

        `again` says that the same request may have done it before: then it is looked up first.
        """
        action = NAMES[type(verb)]

        async def once() -> None:
            await self._act_once(saga_id, expected_version, verb, action, request_id)

        async def was_done() -> bool:
            return await self._reads.was_done(action, saga_id, expected_version, verb.actor, verb.reason)

        return await self._acting.act(saga_id, once, was_done, again=again)

    async def preview(self, saga_id: str, verb: Verb) -> Preview:
        """Say what a verb would do now; raises NotFound, VerbRefused, Unavailable."""
        row, active = await self._look(saga_id)
        now_ms = self._now.now_ms()
        decision = self._decide(row, active, verb, now_ms, self._chance.roll())
        check_result(active, verb)
        return self._described(active, NAMES[type(verb)], decision, now_ms)

    async def possible(self, saga_id: str) -> list[str]:
        """The verbs that a saga allows now, some for some of its steps only; raises NotFound, Unavailable."""
        try:
            _, active = await self._look(saga_id)
        except VerbRefused:  # observed, or of a definition that is not known here
            return []
        return possible_verbs(active.definition, active.saga, self._now.now_ms())

    async def answer(
        self, saga_id: str, answer: ExternalCompleted | ExternalFailed, request_id: str = ""
    ) -> SagaSummary:
        """Take an answer to an external step; raises NotFound, InvalidInput, VerbRefused, Unavailable."""
        seen: list[int] = []  # the step's generation when it was first looked at: another one was not asked about

        async def once() -> None:
            await self._answer_once(saga_id, answer, seen, request_id)

        async def was_done() -> bool:
            _, active = await self._look(saga_id)
            position = active.definition.index.get(answer.step_name)
            return position is not None and seen != [] and _holds(active.saga.steps[position], answer, seen[0])

        return await self._acting.act(saga_id, once, was_done)

    # ------------------------------------------------------------ once, whatever happens

    async def _act_once(self, saga_id: str, expected_version: int, verb: Verb, action: str, request_id: str) -> None:
        row, active = await self._look(saga_id)
        now_ms, roll = self._now.now_ms(), self._chance.roll()
        decision = self._decide(row, active, verb, now_ms, roll)  # what is not possible is so at any version
        if row.version != expected_version:
            raise VerbStale(expected_version, self._standing(row, active))
        check_result(active, verb)
        draft = Draft(self._commands)
        draft.move(active, active.saga, event_of(verb), decision, now_ms, roll, holding=True)
        draft.batch.audit(act_of(active.saga, decision.saga, verb.actor, action, verb.reason, request_id))
        await self._commit(draft)
        self._count(active, decision)

    async def _answer_once(
        self, saga_id: str, answer: ExternalCompleted | ExternalFailed, seen: list[int], request_id: str
    ) -> None:
        row, active = await self._look(saga_id)
        position = active.definition.index.get(answer.step_name)
        generation = 0 if position is None else active.saga.steps[position].generation
        seen.append(generation)
        if generation != seen[0]:
            raise VerbRefused(f"step {answer.step_name} has begun anew", members(row))
        if isinstance(answer, ExternalCompleted):
            _check_stated(active, answer.step_name, answer.result)
        now_ms, roll = self._now.now_ms(), self._chance.roll()
        held = self._flow.holding_at_start(active.part, now_ms)
        decision = machine.decide(active.definition, active.saga, answer, now_ms=now_ms, roll=roll, held=held)
        if not isinstance(decision, Moved) or decision.verdict is not Verdict.APPLIED:
            raise VerbRefused(f"step {answer.step_name} does not wait for an answer: {decision.reason}", members(row))
        draft = Draft(self._commands)
        draft.move(active, active.saga, answer, decision, now_ms, roll, holding=True)
        draft.batch.audit(act_of(active.saga, decision.saga, answer.actor, *_said(answer), request_id))
        await self._commit(draft)
        self._count(active, decision)

    async def _look(self, saga_id: str) -> tuple[SagaRow, ActiveSaga]:
        rows = await self._store.load([saga_id])
        if not rows:
            raise NotFound("there is no saga with this id")
        active = from_row(rows[0], self._registry)
        if rows[0].part < 0:  # the partition of choreographed sagas, which no engine owns
            replay = ["replay"] if rows[0].status == SagaStatus.SUSPENDED else []
            sentence = "the saga is choreographed, not commanded: it can be replayed, and nothing else"
            raise VerbRefused(sentence, {**members(rows[0]), "allowed": replay})
        if active is None:
            raise VerbRefused("this coordinator does not know the saga's definition", members(rows[0]))
        return rows[0], active

    def _decide(self, row: SagaRow, active: ActiveSaga, verb: Verb, now_ms: int, roll: float) -> Moved:
        held = self._flow.holding_at_start(active.part, now_ms)
        try:
            decision: Decision = machine.decide(
                active.definition, active.saga, event_of(verb), now_ms=now_ms, roll=roll, held=held
            )
        except Conflict as refusal:
            raise VerbRefused(str(refusal), self._standing(row, active)) from None
        if not isinstance(decision, Moved):
            raise VerbRefused(decision.reason, self._standing(row, active))
        return decision

    def _standing(self, row: SagaRow, active: ActiveSaga) -> dict[str, Any]:
        """What a refusal says of how a saga stands, and of what is possible now."""
        return {**members(row), "allowed": possible_verbs(active.definition, active.saga, self._now.now_ms())}

    def _count(self, active: ActiveSaga, decision: Moved) -> None:
        """Let flow control know of what was issued, where this process owns the saga's partition."""
        if active.part in self._flow.parts:
            self._flow.moved(active, decision)

    async def _commit(self, draft: Draft) -> None:
        try:
            committed = await self._store.commit(draft.finish())
        except Unavailable:
            self._observer.unheard(draft, self._now.now_ms())
            raise
        self._now.observe(committed.now_ms)
        self._publishing.committed(draft, self._now.now_ms())
        self._observer.committed(draft.transitions, {}, committed, draft.spans)

    # ------------------------------------------------------------ preview

    def _described(self, active: ActiveSaga, action: str, decision: Moved, now_ms: int) -> Preview:
        saga, steps = decision.saga, active.definition.steps
        commands = []
        for effect in decision.effects:
            if isinstance(effect, IssueCommand):
                built = self._commands.build(active, saga, effect, now_ms)
                step = steps[effect.step]
                payload = msgspec.json.decode(built.payload, type=_Carried).payload
                commands.append(
                    PlannedCommand(step.name, step.participant, built.type, built.command_id, built.attempt, payload)
                )
        undone, stays = _ways_back(active.definition, saga)
        incidents = [effect.detail for effect in decision.effects if isinstance(effect, OpenIncident)]
        return Preview(action, active.saga.version, active.saga.status, saga.status, commands, undone, stays, incidents)


class _Carried(msgspec.Struct):
    payload: msgspec.Raw


def _ways_back(definition: SagaDefinition, saga: Saga) -> tuple[list[str], list[str]]:
    """Once a saga has turned back or is given up: the steps that will be undone, in order, and those that stay done."""
    if saga.facing is Facing.FORWARD and saga.status is not SagaStatus.ABANDONED:
        return [], []
    states = saga.steps if saga.status is SagaStatus.ABANDONED else owing(definition, saga.steps)
    pairs = list(zip(definition.steps, states, strict=True))
    left = [step.name for step, state in pairs if state.outcome in TO_BE_UNDONE and state.undo is not Undo.COMPENSATED]
    if saga.status is SagaStatus.ABANDONED:
        return [], left
    owed = [step.name for step, state in reversed(pairs) if state.undo is Undo.OWED or state.undo in OPEN_UNDOS]
    return owed, [name for name in left if name not in owed]


def check_result(active: ActiveSaga, verb: Verb) -> None:
    """Check the result that an operator states against the step's model; raises InvalidInput."""
    if isinstance(verb, ResolveRequested) and verb.resolution is Resolution.COMPLETED:
        _check_stated(active, verb.step_name, EMPTY_RESULT if verb.result is None else verb.result)


def _check_stated(active: ActiveSaga, step_name: str, result: msgspec.Raw) -> None:
    """Check a result that a person states; raises InvalidInput with the field."""
    problem = result_problem(active.definition, step_name, bytes(result))
    if problem is not None:
        pointer, _, sentence = problem.partition(": ")
        raise InvalidInput(sentence, f"/{pointer.rstrip('/')}")


def _holds(state: StepState, answer: ExternalCompleted | ExternalFailed, generation: int) -> bool:
    """Whether a step has this answer."""
    if state.generation != generation:
        return False
    if isinstance(answer, ExternalFailed):
        return state.outcome is Outcome.FAILED
    told = isinstance(state.result, msgspec.Raw) and bytes(state.result) == bytes(answer.result)
    return state.outcome is Outcome.COMPLETED and told


def act_of(before: Saga, after: Saga, actor: str, action: str, reason: str, request_id: str) -> Act:
    """The audit's entry for an act on a saga."""
    return Act(actor, action, after.id, reason, before.version, after.version, request_id, before.status, after.status)


def _said(answer: ExternalCompleted | ExternalFailed) -> tuple[str, str]:
    """What the audit calls an answer, and why it was given: of a success nobody says that."""
    if isinstance(answer, ExternalCompleted):
        return COMPLETE_STEP, OUTSIDE
    return FAIL_STEP, answer.error.message if says_something(answer.error.message) else OUTSIDE


def event_of(verb: Verb) -> Event:
    """The verb as the event that it is."""
    if not isinstance(verb, tuple(NAMES)):
        raise TypeError(f"{type(verb).__name__} is no verb")
    return verb  # type: ignore[return-value]
