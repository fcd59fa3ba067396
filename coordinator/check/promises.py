"""What must hold for every saga, one promise per function: its first line is the promise, what it returns how it broke.

Three kinds: of a decision of the machine (Move), of a command that is sent to participants in some condition, and of
what is left at an end. What must hold of all ways together (an end from everywhere) is in graph.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from coordinator.check.happenings import Happening
from coordinator.check.participants import Fate, Participant
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import Effect, IncidentReason, IssueCommand, OpenIncident, ResolveIncidents
from coordinator.saga.events import AbandonRequested, SuspendRequested
from coordinator.saga.model import TERMINAL, Direction, Facing, Outcome, Saga, SagaStatus, StepState, Undo

_OPEN_OUTCOMES = (Outcome.ISSUED, Outcome.BACKING_OFF)
_OPEN_UNDOS = (Undo.ISSUED, Undo.BACKING_OFF, Undo.DEAD_LETTERED)
_PASSED = (Outcome.COMPLETED, Outcome.SKIPPED)
_FINAL = (*_PASSED, Outcome.FAILED)


class Move(NamedTuple):
    """One decision of the machine."""

    definition: SagaDefinition
    before: Saga
    happening: Happening
    after: Saga
    effects: tuple[Effect, ...]
    changed: tuple[tuple[StepState, StepState], ...]  # the steps that are not what they were, before and after
    actions: tuple[int, ...]  # the positions of the steps whose action is sent
    undos: tuple[int, ...]

    @classmethod
    def of(
        cls, definition: SagaDefinition, before: Saga, happening: Happening, after: Saga, effects: tuple[Effect, ...]
    ) -> Move:
        """Put together what the promises look at."""
        sent = [effect for effect in effects if isinstance(effect, IssueCommand)]
        return cls(
            definition,
            before,
            happening,
            after,
            effects,
            tuple((old, new) for old, new in zip(before.steps, after.steps, strict=True) if old is not new),
            tuple(effect.step for effect in sent if effect.direction is Direction.ACTION),
            tuple(effect.step for effect in sent if effect.direction is Direction.COMPENSATION),
        )


Broken = str | None


# ---------------------------------------------------------------- of every decision


def _what_has_ended_stays_ended(move: Move) -> Broken:
    """A saga that has ended neither changes its status nor sends anything."""
    if move.before.status not in TERMINAL:
        return None
    return (
        "a saga that had ended went on"
        if move.actions or move.undos or move.after.status is not move.before.status
        else None
    )


def _back_is_back(move: Move) -> Broken:
    """A saga that has turned back never goes forward again."""
    if move.before.facing is Facing.BACKWARD and move.after.facing is Facing.FORWARD:
        return "a saga that had turned back went forward again"
    if move.after.facing is Facing.BACKWARD and move.actions:
        return "a forward command was sent on the way back"
    return None


def _settled_stays(move: Move) -> Broken:
    """What has been settled stays so, unless an operator says otherwise; `unknown` is settled on the way back."""
    if move.happening.by_operator:
        return None
    settled = _FINAL if move.before.facing is Facing.FORWARD else (*_FINAL, Outcome.UNKNOWN)
    for old, new in move.changed:
        if old.outcome in settled and new.outcome is not old.outcome:
            return f"a settled outcome was revived: {old.outcome.value} became {new.outcome.value}"
        if old.undo is Undo.COMPENSATED and new.undo is not old.undo:
            return "a step that was undone was taken up again"
    return None


def _stages_in_order(move: Move) -> Broken:
    """The commands of a stage are sent after every step of the stages before it is done or left out."""
    for position in move.actions:
        stage = move.definition.stage_of[position]
        for earlier, state in enumerate(move.after.steps[:position]):
            if move.definition.stage_of[earlier] < stage and state.outcome not in _PASSED:
                if earlier == move.definition.pivot:
                    return f"the saga went past a pivot that is {state.outcome.value}"
                return f"a command was sent while a step of an earlier stage was {state.outcome.value}"
    return None


def _complete_when_all_passed(move: Move) -> Broken:
    """A saga is completed when every step is completed or left out."""
    if move.after.status is not SagaStatus.COMPLETED:
        return None
    return None if all(state.outcome in _PASSED for state in move.after.steps) else "the saga completed with steps open"


def _one_undo_at_a_time(move: Move) -> Broken:
    """There is at most one compensation at a time."""
    if not move.undos:
        return None
    is_open = sum(state.undo in _OPEN_UNDOS for state in move.after.steps)
    return None if is_open <= 1 and len(move.undos) == 1 else f"{is_open} compensations are open at once"


def _no_undo_past_the_pivot(move: Move) -> Broken:
    """From the moment the pivot is issued nothing is undone, unless it has surely failed."""
    pivot = move.definition.pivot
    if pivot is None or move.after.steps[pivot].outcome in (Outcome.WAITING, Outcome.FAILED):
        return None
    if move.after.facing is Facing.BACKWARD or move.undos:
        return f"the saga turned back although its pivot is {move.after.steps[pivot].outcome.value}"
    return None


def _a_suspension_has_an_owner(move: Move) -> Broken:
    """A saga is suspended with an open incident, or because an operator wanted it."""
    if move.after.status is not SagaStatus.SUSPENDED or isinstance(move.happening.event, SuspendRequested):
        return None
    resting = move.before.status is SagaStatus.SUSPENDED
    closed = any(isinstance(effect, ResolveIncidents) for effect in move.effects)
    opened = any(isinstance(effect, OpenIncident) for effect in move.effects)
    return None if opened or (resting and not closed) else "the saga was suspended, and nobody hears of it"


def _nothing_is_sent_at_rest(move: Move) -> Broken:
    """A suspended saga sends nothing."""
    resting = move.after.status is SagaStatus.SUSPENDED
    return "a command was sent by a saga that is suspended" if resting and (move.actions or move.undos) else None


def _only_operators_abandon(move: Move) -> Broken:
    """A saga is abandoned by an operator, and by nothing else."""
    if move.after.status is not SagaStatus.ABANDONED or move.before.status is SagaStatus.ABANDONED:
        return None
    return None if isinstance(move.happening.event, AbandonRequested) else "the saga was abandoned by itself"


def _only_operators_ask_anew(move: Move) -> Broken:
    """A generation is raised by an operator, and by nothing else."""
    raised = any(new.generation > old.generation for old, new in move.changed)
    return "a generation was raised, and no operator did it" if raised and not move.happening.by_operator else None


def _asked_once(move: Move) -> Broken:
    """A condition is asked once, and its answer stands."""
    for old, new in move.changed:
        if old.condition is not None and new.condition is not old.condition:
            return f"a condition was asked twice: it said {old.condition}, then {new.condition}"
    return None


def _what_is_open_is_sent_again(move: Move) -> Broken:
    """A saga that goes on after a suspension sends again what is open."""
    if move.before.status is not SagaStatus.SUSPENDED or move.after.status in (*TERMINAL, SagaStatus.SUSPENDED):
        return None
    actions, undos = move.actions, move.undos
    for position, (step, state) in enumerate(zip(move.definition.steps, move.after.steps, strict=True)):
        unsent = state.outcome in _OPEN_OUTCOMES and not step.external and position not in actions
        if unsent or (state.undo in _OPEN_UNDOS and position not in undos):
            return f"the saga went on, and the open command of {step.name} was not sent again"
    return None


def _nobody_is_accused(move: Move) -> Broken:
    """No incident says that a participant which does its duty contradicts itself."""
    for effect in move.effects:
        if isinstance(effect, OpenIncident) and effect.reason is IncidentReason.CONFLICTING_UNDO:
            return "a participant that did its duty was accused"
    return None


MOVES: tuple[Callable[[Move], Broken], ...] = (
    _what_has_ended_stays_ended,
    _back_is_back,
    _settled_stays,
    _stages_in_order,
    _complete_when_all_passed,
    _one_undo_at_a_time,
    _no_undo_past_the_pivot,
    _a_suspension_has_an_owner,
    _nothing_is_sent_at_rest,
    _only_operators_abandon,
    _only_operators_ask_anew,
    _asked_once,
    _what_is_open_is_sent_again,
)
OF_THE_DUTIFUL = _nobody_is_accused


def kept_by(move: Move, promises: Iterable[Callable[[Move], Broken]]) -> Broken:
    """Say which promise a decision breaks, or None."""
    for promise in promises:
        sentence = promise(move)
        if sentence is not None:
            return sentence
    return None


def nothing_follows(old: Saga, new: Saga) -> Broken:
    """What answers no open command, or only moves a deadline, changes nothing else."""
    return None if new is old else "the saga changed because of a message that answers none of its open commands"


# ---------------------------------------------------------------- of what is sent, and to whom

Everyone = tuple[Participant, ...]


def may_undo(definition: SagaDefinition, everyone: Everyone, position: int) -> Broken:
    """A step is undone after every later one; no step is undone when the pivot may have happened."""
    for step, later in list(zip(definition.steps, everyone, strict=True))[position + 1 :]:
        if step.compensation and later.may_have_effect:
            return f"{definition.steps[position].name} was undone before {step.name}, which is later"
    if definition.pivot is not None and everyone[definition.pivot].may_have_effect:
        return f"{definition.steps[position].name} was undone although the pivot may have happened"
    return None


def may_act(definition: SagaDefinition, saga: Saga, everyone: Everyone, position: int) -> Broken:
    """A step is asked when what comes before it is really done."""
    name, stage = definition.steps[position].name, definition.stage_of[position]
    for earlier, step in enumerate(definition.steps[:position]):
        done = saga.steps[earlier].outcome is Outcome.SKIPPED or step.external or everyone[earlier].fate is Fate.DONE
        if definition.stage_of[earlier] < stage and not done:
            return f"{name} was asked although {step.name} is not done"
    return None


def may_ask_anew(definition: SagaDefinition, everyone: Everyone, position: int) -> Broken:
    """A step gets another generation when the one before surely did nothing."""
    if everyone[position].may_have_effect:
        return f"{definition.steps[position].name} was asked anew although its earlier command may have run"
    return None


# ---------------------------------------------------------------- of what is left


def left_behind(definition: SagaDefinition, saga: Saga, everyone: Everyone) -> Broken:
    """A failed saga leaves nothing done that can be undone, and no pivot; a completed one has done all it wanted."""
    if saga.status is SagaStatus.FAILED:
        for step, participant in zip(definition.steps, everyone, strict=True):
            if (step.compensation or definition.steps.index(step) == definition.pivot) and participant.may_have_effect:
                may = "is still done" if participant.fate is Fate.DONE else "may still be done"
                return f"the saga failed, and {step.name} {may}"
    if saga.status is SagaStatus.COMPLETED:
        for step, state, participant in zip(definition.steps, saga.steps, everyone, strict=True):
            if state.outcome is not Outcome.SKIPPED and not step.external and participant.fate is not Fate.DONE:
                return f"the saga completed, and {step.name} is not done"
    return None
