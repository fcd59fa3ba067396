"""What a line says has happened, as the machine's event."""

from __future__ import annotations

import msgspec

from coordinator.saga import events
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.events import Event, Failure, Resolution
from coordinator.saga.model import Direction, Saga, UndoEffect, command_id
from coordinator.saga.results import result_problem
from coordinator.scenario.parser import Line

_EMPTY = b"{}"
_TIMERS: dict[str, type[events.DeadlinePassed | events.BackoffElapsed | events.PublicationDelayed]] = {
    "deadline": events.DeadlinePassed,
    "backoff": events.BackoffElapsed,
    "delayed": events.PublicationDelayed,
}
_WHOLE: dict[str, type[events.StartDue | events.SagaDeadlinePassed]] = {
    "start": events.StartDue,
    "whole": events.SagaDeadlinePassed,
}
_VERBS: dict[
    str,
    type[events.CompensateRequested | events.SuspendRequested | events.ResumeRequested | events.AbandonRequested],
] = {
    "compensate": events.CompensateRequested,
    "suspend": events.SuspendRequested,
    "resume": events.ResumeRequested,
    "abandon": events.AbandonRequested,
}
_UNDO_REPLIES = ("undone", "nothing_to_undo", "undo_failed")
_WHY = "as a scenario says"


def event_of(line: Line, definition: SagaDefinition, saga: Saga) -> Event:
    """The event that a line tells of; raises ScenarioError when the line makes no sense."""
    match line.verb, line.words:
        case "reply", (step, kind, *flags) if flags in ([], ["retryable"]):
            return _reply(line, definition, saga, step, kind, retryable=bool(flags))
        case "outside", (step, "completes"):
            result, problem = _result(line, definition, step)
            return events.ExternalCompleted(step, line.options.get("by", "somebody"), result, problem)
        case "outside", (step, "fails"):
            return events.ExternalFailed(step, line.options.get("by", "somebody"), _error(retryable=False))
        case "timer", (kind,) if kind in _WHOLE:
            return _WHOLE[kind]()
        case "timer", (kind, step, ("action" | "compensation") as direction) if kind in _TIMERS:
            line.option("attempt")
            return _TIMERS[kind](step, Direction(direction), line.number_of("attempt", 0))
        case "retry", steps if len(steps) <= 1:
            payload = None if line.body is None else msgspec.Raw(line.body)
            return events.RetryRequested(line.option("by"), _WHY, steps[0] if steps else None, payload)
        case "skip", (step,):
            return events.SkipRequested(line.option("by"), _WHY, step)
        case "resolve", (step, ("completed" | "failed" | "undone") as resolution):
            result, problem = _result(line, definition, step)
            stated = result if line.body is not None else None
            return events.ResolveRequested(line.option("by"), _WHY, step, Resolution(resolution), stated, problem)
        case verb, () if verb in _VERBS:
            return _VERBS[verb](line.option("by"), _WHY)
        case _:
            raise line.wrong(f"{line.text.strip()!r} is no sentence of a scenario")


def _reply(line: Line, definition: SagaDefinition, saga: Saga, step: str, kind: str, *, retryable: bool) -> Event:
    position = definition.index.get(step)
    if position is None:
        raise line.wrong(f"{definition.name} has no step {step!r}")
    state = saga.steps[position]
    undo = kind in _UNDO_REPLIES
    direction = Direction.COMPENSATION if undo else Direction.ACTION
    named = (
        line.options.get("command_id", command_id(saga.id, state.generation, step, direction)),
        line.options.get("step_name", step),
        line.options.get("source", definition.steps[position].participant),
        line.number_of("attempt", state.undo_attempt if undo else state.attempt),
    )
    match kind:
        case "completed":
            return events.StepCompleted(*named, *_result(line, definition, step))
        case "failed":
            return events.StepFailed(*named, _error(retryable=retryable))
        case "progress":
            return events.StepProgressed(*named)
        case "undo_failed":
            return events.CompensationFailed(*named, _error(retryable=retryable))
        case "undone" | "nothing_to_undo":
            return events.CompensationCompleted(*named, UndoEffect(kind))
        case _:
            raise line.wrong(f"{kind!r} is no reply")


def _result(line: Line, definition: SagaDefinition, step: str) -> tuple[msgspec.Raw, str | None]:
    """A result and what is wrong with it; one that is not written out is taken for one that fits."""
    written = line.body or _EMPTY
    found = None if line.body is None else result_problem(definition, step, written)
    return msgspec.Raw(written), line.options.get("problem", found)


def _error(*, retryable: bool) -> Failure:
    return Failure("declined", "it cannot be done", retryable)
