"""Which verbs a saga allows, told without doing any."""

from __future__ import annotations

import pytest

from coordinator.saga import machine
from coordinator.saga.effects import Moved
from coordinator.saga.events import AbandonRequested, CompensateRequested, Event, SuspendRequested
from coordinator.services.possible import possible_verbs
from sagas.order_fulfillment import order_fulfillment

WHO = ("anna", "seen")
CASES: dict[str, tuple[list[Event], list[str]]] = {
    "started": ([], ["compensate", "suspend", "abandon"]),
    "suspended": ([SuspendRequested(*WHO)], ["retry", "skip", "resolve", "compensate", "resume", "abandon"]),
    "compensating": ([CompensateRequested(*WHO)], ["suspend", "abandon"]),
    "suspended while it turns back": (
        [CompensateRequested(*WHO), SuspendRequested(*WHO)],
        ["retry", "resolve", "resume", "abandon"],
    ),
    "abandoned": ([AbandonRequested(*WHO)], []),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verbs_that_are_possible_are_named(case: str) -> None:
    """In each state exactly those verbs are named that the machine would take for some step."""
    happened, expected = CASES[case]
    saga = machine.begin(order_fulfillment, "0190aaaa-0000-7000-8000-000000000000", now_ms=1).saga
    for event in happened:
        decision = machine.decide(order_fulfillment, saga, event, now_ms=2, roll=0.5)
        assert isinstance(decision, Moved)
        saga = decision.saga
    assert possible_verbs(order_fulfillment, saga, 3) == expected
