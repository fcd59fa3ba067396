"""What the rules are made of: issue what comes next, turn back, give up, undo.

    stage done -> next stage: conditions asked, payloads built, commands issued together
    a step fails -> its group is awaited -> undo, one at a time, in reverse order
    budget spent -> compensatable: unknown, turn back;  retriable: recovery, then a person;  pivot: a person

Only this file knows stages, kinds and groups; the rules say when, this says what follows.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec

from coordinator.saga.definition import SagaDefinition, Step
from coordinator.saga.effects import (
    DeadLetterCommand,
    Effect,
    IncidentReason,
    IssueCommand,
    Moved,
    OpenIncident,
)
from coordinator.saga.model import Direction, Facing, Kind, Outcome, Saga, SagaStatus, StepState, Undo
from coordinator.saga.payloads import Broken, LacksField, Material, payload_of, wants

# Every reply passes here, and reading a member through its class is the dearest thing a rule does.
_WAITING, _ISSUED, _COMPLETED, _SKIPPED = Outcome.WAITING, Outcome.ISSUED, Outcome.COMPLETED, Outcome.SKIPPED
_SCHEDULED, _STARTED, _PENDING = SagaStatus.SCHEDULED, SagaStatus.STARTED, SagaStatus.PENDING
_NONE, _OWED, _ACTION = Undo.NONE, Undo.OWED, Direction.ACTION
FORWARD, BACKWARD = Facing.FORWARD, Facing.BACKWARD

OPEN_OUTCOMES = (Outcome.ISSUED, Outcome.BACKING_OFF)
OPEN_UNDOS = (Undo.ISSUED, Undo.BACKING_OFF, Undo.DEAD_LETTERED)
TO_BE_UNDONE = (Outcome.COMPLETED, Outcome.UNKNOWN)
PASSED = (Outcome.COMPLETED, Outcome.SKIPPED)
UNTOUCHED = StepState()
EMPTY_RESULT = msgspec.Raw(b"{}")
replace = msgspec.structs.replace
Steps = tuple[StepState, ...]


class Context(msgspec.Struct, frozen=True, gc=False):
    """What a rule may look at; `step` is the position that the event is about and `state` its present value.

    An event about the saga as a whole has step -1, and its rule looks at no single state. `held` are the participants
    that must not be asked for anything new at present (design section 3, rule 15).
    """

    definition: SagaDefinition
    saga: Saga
    step: int
    state: StepState
    now_ms: int
    roll: float
    held: Container[str] = ()

    @property
    def past_pivot(self) -> bool:
        """Whether the saga can only go forward."""
        pivot = self.definition.pivot
        return pivot is not None and self.saga.steps[pivot].outcome in PASSED


def begin_saga(
    definition: SagaDefinition,
    saga_id: str,
    now_ms: int,
    input_: bytes,
    start_at_ms: int | None,
    held: Container[str],
) -> Moved:
    """Create a saga with the commands of its first stage issued, or, before its time, one that waits for it."""
    starts_ms = None if start_at_ms is None or start_at_ms <= now_ms else start_at_ms
    expires_ms = None if definition.deadline_ms is None else (starts_ms or now_ms) + definition.deadline_ms
    status = _STARTED if starts_ms is None else SagaStatus.SCHEDULED
    steps = (UNTOUCHED,) * len(definition.steps)
    version = 0 if starts_ms is None else 1
    saga = Saga(
        saga_id, definition.name, definition.version, status, version, steps, FORWARD, input_, starts_ms, expires_ms
    )
    if starts_ms is not None:
        return Moved(saga)
    return go_forward(Context(definition, saga, -1, UNTOUCHED, now_ms, 0.0, held), steps)


# ---------------------------------------------------------------- forward


def go_forward(c: Context, steps: Steps, *, heard: bool = True) -> Moved:
    """Issue the first stage that is not done; wait where it is issued already; complete the saga behind the last.

    A saga of which nothing was `heard` yet stays `started`.
    """
    stages = c.definition.stages
    number = c.definition.stage_of[c.step] if c.step >= 0 else 0
    material: Material | None = None
    while number < len(stages):
        stage = stages[number]
        waiting = awaited = False
        for position in stage:
            outcome = steps[position].outcome
            if outcome is _WAITING:
                waiting = True
            elif outcome is not _COMPLETED and outcome is not _SKIPPED:
                awaited = True
        effects: list[Effect] = []
        if waiting:
            try:
                steps, material = _issue_stage(c, steps, stage, effects, material)
            except _NotToBeBuilt as problem:
                return _ask_for_repair(c, steps, problem)
            awaited = awaited or bool(effects) or any(steps[position].outcome is not _SKIPPED for position in stage)
        if awaited:
            first = c.saga.version == 0 or c.saga.status is _SCHEDULED or (not heard and c.saga.status is _STARTED)
            return Moved(_moved(c.saga, _STARTED if first else _PENDING, steps), tuple(effects))
        number += 1
    return Moved(_moved(c.saga, SagaStatus.COMPLETED, steps))


class _NotToBeBuilt(Exception):
    """A command that cannot be built, or a condition that cannot be asked: at which step, and why."""

    def __init__(self, position: int, problem: LacksField | Broken) -> None:
        super().__init__(str(problem))
        self.position = position
        lacks = isinstance(problem, LacksField)
        self.reason = IncidentReason.RESULT_SCHEMA if lacks else IncidentReason.DEFINITION_ERROR


def _issue_stage(
    c: Context, steps: Steps, stage: tuple[int, ...], effects: list[Effect], material: Material | None
) -> tuple[Steps, Material | None]:
    """Issue the waiting steps of a stage, each unless it is not wanted or held; raises _NotToBeBuilt."""
    following = list(steps)
    for position in stage:
        step, state = c.definition.steps[position], steps[position]
        if state.outcome is not _WAITING:
            continue
        if step.when is not None or step.payload is not None:
            material = material or Material(c.definition, c.saga.input, steps)
            try:
                state = _worked_out(step, state, material)
            except (LacksField, Broken) as problem:
                raise _NotToBeBuilt(position, problem) from problem
        if c.held and state.outcome is _WAITING and step.participant in c.held:
            following[position] = replace(state, deadline_ms=c.now_ms)
        else:
            following[position] = issue_action(c, state, effects, position)
    return tuple(following), material


def _worked_out(step: Step, state: StepState, material: Material) -> StepState:
    """Ask a step's condition and build its payload; a payload that an operator has given stands."""
    condition = state.condition
    if step.when is not None and condition is None:
        condition = wants(step, material)
        if not condition:
            return replace(state, outcome=_SKIPPED, condition=False, deadline_ms=None)
    payload = state.payload
    if isinstance(payload, msgspec.UnsetType):
        built = payload_of(step, material)
        payload = msgspec.UNSET if built is None else msgspec.Raw(built)
    return replace(state, condition=condition, payload=payload)


def issue_action(c: Context, state: StepState, effects: list[Effect], position: int) -> StepState:
    """Issue the next attempt of an action: adds its command to `effects`, answers the step's next state.

    A skipped step stays as it is.
    """
    if state.outcome is _SKIPPED:
        return state
    step = c.definition.steps[position]
    attempt = state.attempt + 1
    if not step.external:
        effects.append(IssueCommand(position, _ACTION, attempt))
    deadline_ms = c.now_ms + step.timeout_ms
    if step.progress_max_ms is None and state.payload is msgspec.UNSET and state.condition is None:
        return StepState(
            _ISSUED, _NONE, state.generation, attempt, 0, state.budget_base, deadline_ms, redrives=state.redrives
        )
    limit_ms = None if step.progress_max_ms is None else c.now_ms + step.progress_max_ms
    return replace(state, outcome=_ISSUED, attempt=attempt, deadline_ms=deadline_ms, limit_ms=limit_ms)


def _ask_for_repair(c: Context, steps: Steps, problem: _NotToBeBuilt) -> Moved:
    """A command cannot be built: nothing of its stage is issued, and a person is asked."""
    saga = _moved(c.saga, SagaStatus.SUSPENDED, steps)
    return Moved(saga, (OpenIncident(problem.reason, problem.position, str(problem)),))


def reissue_action(c: Context, steps: Steps, position: int) -> Moved:
    """Send another attempt of an action that was issued before."""
    effects: list[Effect] = []
    issued = issue_action(c, steps[position], effects, position)
    # A saga that has heard nothing yet stays `started` while it repeats its first commands.
    status = _STARTED if c.saga.status is _STARTED else _PENDING
    return Moved(_moved(c.saga, status, with_step(steps, position, issued)), tuple(effects))


# ---------------------------------------------------------------- when a step does not succeed


def back_off_or_give_up(c: Context) -> Moved:
    """An attempt came to nothing: another one after a pause, or what the end of a budget means for its kind."""
    if c.saga.facing is BACKWARD:
        return settle(c, Outcome.UNKNOWN)
    step = c.definition.steps[c.step]
    used = c.state.attempt - c.state.budget_base
    if used < step.retry.attempts:
        return _pause(c, step.retry.pause_ms(used, c.roll), c.state.redrives)
    if step.kind is Kind.PIVOT:
        return _ask_person(c, IncidentReason.PIVOT_UNKNOWN, "the pivot may have happened: retry or resolve it")
    if step.kind is not Kind.RETRIABLE:
        return settle(c, Outcome.UNKNOWN)
    recovery = c.definition.redrives
    if step.external or c.state.redrives >= recovery.attempts:
        return _ask_person(c, IncidentReason.RETRIES_EXHAUSTED, "every attempt came to nothing")
    why = f"{used} attempts came to nothing"
    letter = () if c.state.redrives else (DeadLetterCommand(c.step, _ACTION, why),)
    redrives = c.state.redrives + 1
    paused = _pause(c, recovery.pause_ms(redrives, c.roll), redrives)
    return replace(paused, effects=letter)


def _pause(c: Context, pause_ms: int, redrives: int) -> Moved:
    resting = replace(c.state, outcome=Outcome.BACKING_OFF, deadline_ms=c.now_ms + pause_ms, redrives=redrives)
    return Moved(_moved(c.saga, c.saga.status, with_step(c.saga.steps, c.step, resting)))


def _ask_person(c: Context, reason: IncidentReason, detail: str) -> Moved:
    unknown = replace(c.state, outcome=Outcome.UNKNOWN, deadline_ms=None)
    saga = _moved(c.saga, SagaStatus.SUSPENDED, with_step(c.saga.steps, c.step, unknown))
    return Moved(saga, (OpenIncident(reason, c.step, detail),))


def fail(c: Context, code: str) -> Moved:
    """A step failed for good: the saga turns back or, behind the pivot, asks a person."""
    if not c.past_pivot:
        return settle(c, Outcome.FAILED)
    saga = _moved(c.saga, SagaStatus.SUSPENDED, with_step(c.saga.steps, c.step, settled(c.state, Outcome.FAILED)))
    return Moved(saga, (OpenIncident(IncidentReason.FAILED_PAST_PIVOT, c.step, code),))


def settle(c: Context, outcome: Outcome) -> Moved:
    """Settle the step of the event and turn back; the others of its group are awaited first (rule 8)."""
    return await_or_undo(c, with_step(c.saga.steps, c.step, settled(c.state, outcome)))


def settled(state: StepState, outcome: Outcome) -> StepState:
    """A step of which we await nothing any more."""
    return replace(state, outcome=outcome, deadline_ms=None)


def await_or_undo(c: Context, steps: Steps) -> Moved:
    """On the way to turning back: wait for what is issued, try nothing again, then undo."""
    steps = tuple(
        settled(state, Outcome.UNKNOWN)
        if state.outcome is Outcome.BACKING_OFF or (state.outcome is _ISSUED and step.external)
        else state
        for state, step in zip(steps, c.definition.steps, strict=True)
    )
    if any(state.outcome is _ISSUED for state in steps):
        return Moved(_moved(c.saga, _PENDING, _unheld(steps), BACKWARD))
    return go_back(c, steps)


def cancel(c: Context) -> Moved:
    """Turn back at once: what is open may have run."""
    return go_back(c, all_unknown(c.saga.steps))


def all_unknown(steps: Steps) -> Steps:
    """Take every open action for one that may have run."""
    return tuple(settled(state, Outcome.UNKNOWN) if state.outcome in OPEN_OUTCOMES else state for state in steps)


# ---------------------------------------------------------------- backward


def go_back(c: Context, steps: Steps) -> Moved:
    """Issue the next undo, the latest step first, or end the saga as failed."""
    steps = owing(c.definition, _unheld(steps))
    for position in range(len(steps) - 1, -1, -1):
        if steps[position].undo is _OWED:
            return issue_undo(c, steps, position)
    return Moved(_moved(c.saga, SagaStatus.FAILED, steps, BACKWARD))


def owing(definition: SagaDefinition, steps: Steps) -> Steps:
    """Mark every step that must be undone."""
    return tuple(
        replace(state, undo=_OWED, budget_base=0, redrives=0)
        if state.undo is _NONE and state.outcome in TO_BE_UNDONE and step.compensation is not None
        else state
        for state, step in zip(steps, definition.steps, strict=True)
    )


def issue_undo(c: Context, steps: Steps, position: int) -> Moved:
    """Send an attempt of a step's compensation."""
    state = steps[position]
    attempt = state.undo_attempt + 1
    deadline_ms = c.now_ms + c.definition.steps[position].compensation_timeout_ms
    issued = replace(state, undo=Undo.ISSUED, undo_attempt=attempt, deadline_ms=deadline_ms)
    saga = _moved(c.saga, SagaStatus.COMPENSATING, with_step(steps, position, issued), BACKWARD)
    return Moved(saga, (IssueCommand(position, Direction.COMPENSATION, attempt),))


def back_off_or_park(c: Context, why: str) -> Moved:
    """An undo came to nothing: again after a pause; then recovery; then a person. Nothing else is undone before it."""
    retry, recovery = c.definition.steps[c.step].compensation_retry, c.definition.redrives
    state = c.state
    used = state.undo_attempt - state.budget_base
    if used < retry.attempts:
        resting = replace(state, undo=Undo.BACKING_OFF, deadline_ms=c.now_ms + retry.pause_ms(used, c.roll))
        return Moved(_moved(c.saga, c.saga.status, with_step(c.saga.steps, c.step, resting)))
    letter = () if state.redrives else (DeadLetterCommand(c.step, Direction.COMPENSATION, why),)
    if state.redrives < recovery.attempts:
        redrives = state.redrives + 1
        again_ms = c.now_ms + recovery.pause_ms(redrives, c.roll)
        parked = replace(state, undo=Undo.DEAD_LETTERED, deadline_ms=again_ms, redrives=redrives)
        return Moved(_moved(c.saga, c.saga.status, with_step(c.saga.steps, c.step, parked)), letter)
    parked = replace(state, undo=Undo.DEAD_LETTERED, deadline_ms=None)
    saga = _moved(c.saga, SagaStatus.SUSPENDED, with_step(c.saga.steps, c.step, parked), BACKWARD)
    incident = OpenIncident(IncidentReason.COMPENSATION_DEAD_LETTERED, c.step, why)
    return Moved(saga, (*letter, incident))


# ---------------------------------------------------------------- small change


def move(c: Context, state: StepState, status: SagaStatus | None = None) -> Saga:
    """The saga with another state of the event's step and, where given, another status."""
    return _moved(c.saga, status or c.saga.status, with_step(c.saga.steps, c.step, state))


def with_steps(c: Context, status: SagaStatus, steps: Steps, facing: Facing | None = None) -> Saga:
    """The saga with other steps and another status."""
    return _moved(c.saga, status, steps, facing)


def with_step(steps: Steps, position: int, state: StepState) -> Steps:
    """The steps with another state of one of them."""
    changed = list(steps)
    changed[position] = state
    return tuple(changed)


def _unheld(steps: Steps) -> Steps:
    """A step that flow control held back is not wanted any more once the saga has turned back."""
    return tuple(replace(state, deadline_ms=None) if state.held else state for state in steps)


def _moved(saga: Saga, status: SagaStatus, steps: Steps, facing: Facing | None = None) -> Saga:
    facing = facing or saga.facing
    # The deadline of the whole saga matters on the way forward only.
    expires_ms = saga.expires_ms if facing is FORWARD else None
    return Saga(
        saga.id,
        saga.definition,
        saga.definition_version,
        status,
        saga.version + 1,
        steps,
        facing,
        saga.input,
        None,
        expires_ms,
    )
