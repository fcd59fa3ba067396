"""What mutation twins share: definitions to break, and how a break is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from coordinator.check.participants import DUTIFUL, Duties
from coordinator.check.search import Search
from coordinator.saga import moves
from coordinator.saga.definition import SagaDefinition, external, hours, parallel
from coordinator.saga.effects import Decision
from coordinator.saga.machine import TRANSITIONS
from coordinator.saga.model import Kind, SagaStatus, StepState
from tests.unit.check.samples import define, step

Patch = pytest.MonkeyPatch
replace = msgspec.structs.replace

PIVOTED = define(step("a"), step("p", kind=Kind.PIVOT), step("z", kind=Kind.RETRIABLE))
GROUP = define(*parallel("g", step("a"), step("b")), step("c"))
LAST_GROUP = define(*parallel("g", step("a"), step("b")))
OUTSIDE = define(step("a"), external("yes", timeout=hours(1)), step("b"))
UNASKED = "the saga changed because of a message that answers none of its open commands"
LEFT_BEHIND = "the saga failed, and s0 may still be done"


def refuted(definition: SagaDefinition, duties: Duties = DUTIFUL) -> str:
    """Say which promise a search finds broken."""
    found = Search(definition, duties).run()
    assert found is not None, "the twin survived"
    return found.sentence


def sound(definition: SagaDefinition) -> SagaDefinition:
    """Make sure that what will be broken is whole."""
    assert Search(definition).run() is None
    return definition


def is_open(state: StepState) -> bool:
    """Whether a step's action is open."""
    return state.outcome in moves.OPEN_OUTCOMES


def put(
    monkeypatch: Patch, statuses: tuple[SagaStatus, ...], event: type, rule: Callable[[moves.Context, Any], Decision]
) -> None:
    """Replace the rule for an event."""
    for status in statuses:
        monkeypatch.setitem(TRANSITIONS, (status, event), rule)
