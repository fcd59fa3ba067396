"""An operator leaves out a step: what that means for the pivot."""

from __future__ import annotations

import msgspec
import pytest
from pydantic import BaseModel

from coordinator.errors import Conflict
from coordinator.saga.definition import SagaDefinition, Step
from coordinator.saga.effects import Moved
from coordinator.saga.events import CompensateRequested, SkipRequested, StepCompleted, SuspendRequested
from coordinator.saga.machine import begin, decide
from coordinator.saga.model import Direction, Kind, Saga, SagaStatus, command_id

SAGA_ID = "5a9a0000-0000-4000-8000-000000000001"
BY = ("operator", "not wanted")


class Order(BaseModel):
    """The smallest input."""

    order_id: str


definition = SagaDefinition(
    "Small",
    1,
    Order,
    "order_id",
    (Step("debit", "bank-a", "Debit", "Refund"), Step("credit", "bank-b", "Credit", kind=Kind.PIVOT)),
)


def test_the_pivot_is_not_left_out_before_its_turn() -> None:
    """What comes before the pivot can be undone until the pivot's turn has come, also by an operator."""
    suspended = after(begin(definition, SAGA_ID, now_ms=0).saga, SuspendRequested(*BY))
    with pytest.raises(Conflict, match="not yet the turn of the pivot credit"):
        decide(definition, suspended, SkipRequested(*BY, "credit"), now_ms=0, roll=0)
    assert after(suspended, CompensateRequested(*BY)).status is SagaStatus.COMPENSATING


def test_the_pivot_is_left_out_when_it_is_its_turn() -> None:
    """The step before it is done while the saga is suspended: the pivot can be left out, and nothing is missing."""
    suspended = after(begin(definition, SAGA_ID, now_ms=0).saga, SuspendRequested(*BY))
    identity = command_id(SAGA_ID, 1, "debit", Direction.ACTION)
    ready = after(suspended, StepCompleted(identity, "debit", "bank-a", 1, msgspec.Raw(b"{}")))
    assert after(ready, SkipRequested(*BY, "credit")).status is SagaStatus.COMPLETED


def after(saga: Saga, event: SuspendRequested | SkipRequested | CompensateRequested | StepCompleted) -> Saga:
    decision = decide(definition, saga, event, now_ms=0, roll=0)
    assert isinstance(decision, Moved)
    return decision.saga
