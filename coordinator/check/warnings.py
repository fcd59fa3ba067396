"""What is legal in a definition and yet unlikely to be wanted: nothing breaks, and a person should look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from coordinator.saga.definition import Retry, SagaDefinition
from coordinator.saga.model import Kind


def warnings(definition: SagaDefinition) -> list[str]:
    """List what a person should look at, one sentence each."""
    return [*_deadline_too_short(definition), *_pauses_too_long(definition), *_never_undone(definition)]


def _deadline_too_short(definition: SagaDefinition) -> Iterator[str]:
    if definition.deadline is None:
        return
    stages = [max(definition.steps[position].timeout for position in stage) for stage in definition.stages]
    whole = sum(stages, timedelta(0))
    if whole > definition.deadline:
        yield f"the timeouts of the stages sum to {whole}, the saga's deadline is {definition.deadline}"


def _pauses_too_long(definition: SagaDefinition) -> Iterator[str]:
    for step in definition.steps:
        pauses = _pauses(step.retry)
        if pauses > step.timeout:
            yield f"the pauses of the retries of {step.name} can last {pauses}, its timeout is {step.timeout}"


def _pauses(retry: Retry) -> timedelta:
    """The longest that all pauses of a budget can last together."""
    return sum((timedelta(milliseconds=retry.pause_ms(used, 1.0)) for used in range(1, retry.attempts)), timedelta(0))


def _never_undone(definition: SagaDefinition) -> Iterator[str]:
    """A step without a compensation is left as it is by a failed saga, and the search takes that for intended."""
    for step in definition.steps:
        if step.kind is Kind.COMPENSATABLE and not step.external and step.compensation is None:
            yield f"nothing undoes {step.name}: a failed saga leaves it as it is"
