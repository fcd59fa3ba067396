"""Which verbs a saga allows as it stands: asked of the machine itself, which changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from coordinator.errors import Conflict
from coordinator.saga import machine
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.events import (
    AbandonRequested,
    CompensateRequested,
    Resolution,
    ResolveRequested,
    ResumeRequested,
    RetryRequested,
    SkipRequested,
    SuspendRequested,
    Verb,
)
from coordinator.saga.model import Saga

_WHO = ("nobody", "asked what is possible")


def possible_verbs(definition: SagaDefinition, saga: Saga, now_ms: int) -> list[str]:
    """Name the verbs that are possible now; `skip` and `resolve` are where they are so for any step."""
    found: dict[str, None] = {}
    for name, verb in _verbs(definition):
        if name not in found and _is_possible(definition, saga, verb, now_ms):
            found[name] = None
    return list(found)


def _verbs(definition: SagaDefinition) -> Iterator[tuple[str, Verb]]:
    yield "retry", RetryRequested(*_WHO)
    for step in definition.steps:
        yield "skip", SkipRequested(*_WHO, step.name)
    for step in definition.steps:
        for resolution in Resolution:
            yield "resolve", ResolveRequested(*_WHO, step.name, resolution)
    yield "compensate", CompensateRequested(*_WHO)
    yield "suspend", SuspendRequested(*_WHO)
    yield "resume", ResumeRequested(*_WHO)
    yield "abandon", AbandonRequested(*_WHO)


def _is_possible(definition: SagaDefinition, saga: Saga, verb: Verb, now_ms: int) -> bool:
    try:
        machine.decide(definition, saga, verb, now_ms=now_ms, roll=0.0)  # type: ignore[arg-type]
    except Conflict:
        return False
    return True
