"""The machine's table is total: every pair of status and event has one of three answers, and no pair has two."""

from __future__ import annotations

import dataclasses
from itertools import product
from typing import get_args

import msgspec
import pytest

from coordinator.errors import Conflict
from coordinator.saga.definition import external, minutes
from coordinator.saga.effects import Stayed, Verdict
from coordinator.saga.events import (
    AbandonRequested,
    BackoffElapsed,
    CompensateRequested,
    CompensationCompleted,
    CompensationFailed,
    DeadlinePassed,
    Event,
    ExternalCompleted,
    ExternalFailed,
    Failure,
    PublicationDelayed,
    Resolution,
    ResolveRequested,
    ResumeRequested,
    RetryRequested,
    SagaDeadlinePassed,
    SkipRequested,
    StartDue,
    StepCompleted,
    StepFailed,
    StepProgressed,
    SuspendRequested,
)
from coordinator.saga.machine import IGNORED, TRANSITIONS, begin, decide, due
from coordinator.saga.model import TERMINAL, Direction, Saga, SagaStatus, UndoEffect, command_id
from sagas import definitions

DEFINITION = dataclasses.replace(
    definitions[0], steps=(*definitions[0].steps, external("approval", timeout=minutes(1)))
)
SAGA_ID = "5a9a0000-0000-4000-8000-000000000001"
FIRST = DEFINITION.steps[0]
ACTION = (command_id(SAGA_ID, 1, FIRST.name, Direction.ACTION), FIRST.name, FIRST.participant, 1)
UNDO = (command_id(SAGA_ID, 1, FIRST.name, Direction.COMPENSATION), FIRST.name, FIRST.participant, 1)
ERROR = Failure("declined", "it cannot be done")
EVENTS: tuple[Event, ...] = (
    StepCompleted(*ACTION, msgspec.Raw(b"{}")),
    StepFailed(*ACTION, ERROR),
    StepProgressed(*ACTION),
    CompensationCompleted(*UNDO, UndoEffect.UNDONE),
    CompensationFailed(*UNDO, ERROR),
    DeadlinePassed(FIRST.name, Direction.ACTION, 1),
    BackoffElapsed(FIRST.name, Direction.ACTION, 1),
    PublicationDelayed(FIRST.name, Direction.ACTION, 1),
    ExternalCompleted("approval", "anna", msgspec.Raw(b"{}")),
    ExternalFailed("approval", "anna", ERROR),
    StartDue(),
    SagaDeadlinePassed(),
)
VERBS: tuple[Event, ...] = (
    RetryRequested("anna", "try again"),
    SkipRequested("anna", "not needed", "approval"),
    ResolveRequested("anna", "seen it", FIRST.name, Resolution.COMPLETED),
    CompensateRequested("anna", "the customer has changed her mind"),
    SuspendRequested("anna", "a closer look"),
    ResumeRequested("anna", "looked"),
    AbandonRequested("anna", "done by hand"),
)


def saga_in(status: SagaStatus) -> Saga:
    """Make a saga with its first command open, in any status."""
    return msgspec.structs.replace(begin(DEFINITION, SAGA_ID, now_ms=0).saga, status=status)


def test_every_kind_of_event_is_walked() -> None:
    """The samples of this file leave no kind of event out."""
    assert {type(event) for event in EVENTS + VERBS} == set(get_args(Event))


def test_no_pair_has_a_rule_and_a_reason_to_be_ignored() -> None:
    """A pair of status and event stands in one table at most."""
    assert not TRANSITIONS.keys() & IGNORED.keys()


def test_only_verbs_are_ever_refused() -> None:
    """The pairs in neither table are verbs that the status does not allow; facts are never refused."""
    pairs = set(product(SagaStatus, get_args(Event)))
    refused = pairs - TRANSITIONS.keys() - IGNORED.keys()
    assert {event for _, event in refused} <= {type(verb) for verb in VERBS}
    assert TRANSITIONS.keys() | IGNORED.keys() == pairs - refused
    assert {status for status, event in TRANSITIONS if event is RetryRequested} == {SagaStatus.SUSPENDED}


@pytest.mark.parametrize("status", SagaStatus)
def test_each_pair_gets_the_answer_that_the_tables_promise(status: SagaStatus) -> None:
    """A rule decides, an ignored event stays with its reason, a refused one raises and changes nothing."""
    for event in EVENTS + VERBS:
        saga, pair = saga_in(status), (status, type(event))
        if pair in TRANSITIONS:
            try:
                decision = decide(DEFINITION, saga, event, now_ms=1, roll=0.5)
            except Conflict:
                assert event in VERBS
                continue
            assert isinstance(decision, Stayed) or decision.saga.version == saga.version + 1
        elif pair in IGNORED:
            assert decide(DEFINITION, saga, event, now_ms=1, roll=0.5) == Stayed(Verdict.STALE, IGNORED[pair])
        else:
            verb = type(event).__name__.removesuffix("Requested").lower()
            with pytest.raises(Conflict, match=f"{verb} is not possible while the saga is {status}"):
                decide(DEFINITION, saga, event, now_ms=1, roll=0.5)
        assert saga == saga_in(status)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_nothing_leaves_a_terminal_status(status: SagaStatus) -> None:
    """A saga that has ended stays ended, whatever arrives."""
    for event in EVENTS:
        decision = decide(DEFINITION, saga_in(status), event, now_ms=1, roll=0.5)
        assert isinstance(decision, Stayed) or decision.saga.status is status


def test_a_timer_is_due_from_its_deadline_on() -> None:
    """The first command's deadline is its issue plus the step's timeout, and not a millisecond earlier."""
    saga = begin(DEFINITION, SAGA_ID, now_ms=1_000).saga
    deadline_ms = 1_000 + FIRST.timeout_ms
    assert saga.deadline_ms == deadline_ms
    assert due(DEFINITION, saga, now_ms=deadline_ms - 1) == []
    assert due(DEFINITION, saga, now_ms=deadline_ms) == [DeadlinePassed(FIRST.name, Direction.ACTION, 1)]


def test_timers_rest_while_a_saga_is_suspended() -> None:
    """No timer of a suspended saga comes due, however late it is."""
    assert due(DEFINITION, saga_in(SagaStatus.SUSPENDED), now_ms=10**15) == []
