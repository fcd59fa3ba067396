"""Write the way to a broken promise as a transcript: what happens at the margin, what the machine answers indented."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coordinator.check.machine import Change
from coordinator.saga.definition import SagaDefinition, Step
from coordinator.saga.effects import (
    CloseLetter,
    DeadLetterCommand,
    Effect,
    IssueCommand,
    OpenIncident,
    ResolveIncidents,
)
from coordinator.saga.model import Direction, Saga, StepState

INDENT = "    "


def transcript(definition: SagaDefinition, sagas: Sequence[Saga], way: Sequence[Change]) -> str:
    """Write a way, one line for each thing that happens; attempts are counted from the last budget's beginning."""
    lines: list[str] = []
    for change in way:
        lines += [f"# {words}" for words in change.told]
        begins = change.before < 0
        lines.append(f"begin {definition.name}{change.happening.line}" if begins else change.happening.line)
        before = None if begins else sagas[change.before]
        lines += [INDENT + answer for answer in _answers(definition, before, sagas[change.after], change.effects)]
    return "\n".join(lines)


def _answers(
    definition: SagaDefinition, before: Saga | None, after: Saga, effects: tuple[Effect, ...]
) -> Iterator[str]:
    if before is None:
        yield after.status.value
    else:
        yield f"applied: {_change(before.status, after.status)}"
        for step, old, new in zip(definition.steps, before.steps, after.steps, strict=True):
            difference = _difference(old, new)
            if difference:
                yield f"{step.name}: {difference}"
    yield from (_effect(definition, effect) for effect in effects)


def _difference(old: StepState, new: StepState) -> str:
    parts = []
    if new.outcome is not old.outcome:
        parts.append(_change(old.outcome, new.outcome))
    if new.undo is not old.undo:
        parts.append(f"undo {_change(old.undo, new.undo)}")
    if new.late_success and not old.late_success:
        parts.append("late success")
    return ", ".join(parts)


def _effect(definition: SagaDefinition, effect: Effect) -> str:
    match effect:
        case IssueCommand(position, direction, attempt):
            step = definition.steps[position]
            return f"send {_command(step, direction)} to {step.participant}, attempt {attempt}"
        case DeadLetterCommand(position, direction, reason):
            return f"dead letter {_command(definition.steps[position], direction)}: {reason}"
        case CloseLetter(position, direction):
            return f"letter closed {_command(definition.steps[position], direction)}"
        case OpenIncident(reason, position, detail):
            where = "" if position is None else f" at {definition.steps[position].name}"
            return f"incident {reason.value}{where}: {detail}"
        case ResolveIncidents(by):
            return f"incidents resolved by {by}"


def _command(step: Step, direction: Direction) -> str | None:
    return step.action if direction is Direction.ACTION else step.compensation


def _change(old: str, new: str) -> str:
    return f"{old} -> {new}" if old != new else f"{new}"
