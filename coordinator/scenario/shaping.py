"""Giving a definition the budgets, times and steps that a scenario asks for where it begins."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from coordinator.errors import DefinitionError
from coordinator.saga.definition import RECOVERY, Retry, SagaDefinition, Step
from coordinator.scenario.parser import Line
from coordinator.scenario.words import read_length


def shaped(definition: SagaDefinition, line: Line) -> SagaDefinition:
    """Shape a definition as a line `begin` says; raises ScenarioError when that cannot work."""
    bare = line.options.get("without_compensation", "").split(",")
    count = line.number_of("steps", len(definition.steps))
    recovery = definition.recovery or RECOVERY
    try:
        return replace(
            definition,
            steps=tuple(_step(step, line, bare=step.name in bare) for step in definition.steps[:count]),
            deadline=length(line, "deadline") or definition.deadline,
            recovery=replace(recovery, attempts=line.number_of("recovery", recovery.attempts)),
        )
    except DefinitionError as error:
        raise line.wrong(f"{error}") from None


def length(line: Line, name: str) -> timedelta | None:
    """A length of time among the options, None where it is not given; raises ScenarioError for anything else."""
    text = line.options.get(name)
    if text is None:
        return None
    length_ms = read_length(text)
    if length_ms is None:
        raise line.wrong(f"{name}={text} is no length of time like 1m30s")
    return timedelta(milliseconds=length_ms)


def _step(step: Step, line: Line, *, bare: bool) -> Step:
    if step.external:
        return step
    return replace(
        step,
        compensation=None if bare else step.compensation,
        retry=_retry(step.retry, line, "attempts"),
        compensation_retry=_retry(step.compensation_retry, line, "undo_attempts"),
        progress_max=length(line, "progress_max") or step.progress_max,
    )


def _retry(retry: Retry, line: Line, name: str) -> Retry:
    return replace(retry, attempts=line.number_of(name, retry.attempts))
