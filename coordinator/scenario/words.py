"""The words of a scenario's answers: lengths of time, changes of a saga and its steps, and what is to be done."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from coordinator.saga.definition import SagaDefinition, Step
from coordinator.saga.effects import (
    CloseLetter,
    DeadLetterCommand,
    Effect,
    IssueCommand,
    OpenIncident,
    ResolveIncidents,
)
from coordinator.saga.events import Event, Timer
from coordinator.saga.model import Direction, Facing, Outcome, Saga, SagaStatus, StepState

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_LENGTH = re.compile(r"(?:\d+(?:ms|[dhms]))+")
_PART = re.compile(r"(\d+)(ms|[dhms])")
# Where a change of direction is not plain from the status.
_EITHER_WAY = frozenset({SagaStatus.STARTED, SagaStatus.PENDING, SagaStatus.SUSPENDED})


def read_length(text: str) -> int | None:
    """Read a length of time such as 1m30s, in milliseconds; None when it is none."""
    if not _LENGTH.fullmatch(text):
        return None
    return sum(int(amount) * _UNITS_MS[unit] for amount, unit in _PART.findall(text))


def write_length(length_ms: int) -> str:
    """Write a length of time given in milliseconds."""
    parts = []
    for unit, size in _UNITS_MS.items():
        amount, length_ms = divmod(length_ms, size)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"


def began(definition: SagaDefinition, saga: Saga, now_ms: int) -> Iterator[str]:
    """Say how a saga begins; steps whose command is sent speak for themselves."""
    line = str(saga.status)
    if saga.starts_ms is not None:
        line += f", starts in {write_length(saga.starts_ms - now_ms)}"
    if saga.expires_ms is not None:
        line += f", the whole saga until +{write_length(saga.expires_ms - now_ms)}"
    yield line
    for step, state in zip(definition.steps, saga.steps, strict=True):
        if state.outcome is not Outcome.ISSUED or step.external or state.condition is not None:
            yield from _step_moved(step, StepState(), state, now_ms)


def timer(event: Event) -> str:
    """Name a timer that fires."""
    name = type(event).__name__
    return f"{name} {event.step_name} {event.direction} attempt {event.attempt}" if isinstance(event, Timer) else name


def moved(definition: SagaDefinition, before: Saga, after: Saga, now_ms: int) -> Iterator[str]:
    """Say what has changed: the status first, then the steps in their order."""
    line = _change(before.status, after.status)
    if after.facing is not before.facing and after.status in _EITHER_WAY:
        line += ", turning back" if after.facing is Facing.BACKWARD else ", going forward"
    yield line
    for step, old, new in zip(definition.steps, before.steps, after.steps, strict=True):
        yield from _step_moved(step, old, new, now_ms)


def effect(definition: SagaDefinition, saga: Saga, wanted: Effect) -> str:
    """Say what is to be done."""
    match wanted:
        case IssueCommand(position, direction, attempt):
            step, state = definition.steps[position], saga.steps[position]
            line = f"send {_command(definition, position, direction)} to {step.participant}, attempt {attempt}"
            if direction is Direction.COMPENSATION or isinstance(state.payload, msgspec.UnsetType):
                return line
            return f"{line}, with {bytes(state.payload).decode()}"
        case DeadLetterCommand(position, direction, reason):
            return f"dead letter {_command(definition, position, direction)}: {reason}"
        case CloseLetter(position, direction):
            return f"letter closed {_command(definition, position, direction)}"
        case OpenIncident(incident, where, detail):
            at = "" if where is None else f" at {definition.steps[where].name}"
            return f"incident {incident}{at}: {detail}"
        case ResolveIncidents(by):
            return f"incidents resolved by {by}"


def shown(definition: SagaDefinition, saga: Saga) -> Iterator[str]:
    """Say how a saga stands as a whole."""
    yield f"{saga.status}, facing {saga.facing}, version {saga.version}"
    for step, state in zip(definition.steps, saga.steps, strict=True):
        yield f"{step.name}: {state.outcome}, undo {state.undo}"


def _step_moved(step: Step, old: StepState, new: StepState, now_ms: int) -> Iterator[str]:
    parts = []
    if new.outcome is not old.outcome:
        parts.append(_change(old.outcome, new.outcome))
    if new.generation != old.generation:
        parts.append(f"generation {new.generation}")
    if new.condition is not old.condition:
        parts.append("wanted" if new.condition else "not wanted")
    if new.undo is not old.undo:
        parts.append(f"undo {_change(old.undo, new.undo)}")
    if new.late_success is not old.late_success:
        parts.append("late success")
    if new.held:
        parts.append("held back")
    elif new.deadline_ms is not None and new.deadline_ms != old.deadline_ms:
        parts.append(f"until +{write_length(new.deadline_ms - now_ms)}")
    if parts:
        yield f"{step.name}: {', '.join(parts)}"


def _command(definition: SagaDefinition, position: int, direction: Direction) -> str:
    step = definition.steps[position]
    return step.action if direction is Direction.ACTION else step.compensation or ""


def _change(old: str, new: str) -> str:
    return f"{old} -> {new}" if old != new else f"{new}"
