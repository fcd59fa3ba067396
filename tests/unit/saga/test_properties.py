"""Whatever arrives, in whatever order: decide judges it, changes nothing it was given, and never breaks."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.errors import Conflict
from coordinator.saga.effects import Moved, Stayed, Verdict
from coordinator.saga.events import (
    BackoffElapsed,
    CompensationCompleted,
    CompensationFailed,
    DeadlinePassed,
    Event,
    Failure,
    PublicationDelayed,
    RetryRequested,
    StepCompleted,
    StepFailed,
    StepProgressed,
)
from coordinator.saga.machine import begin, decide, due
from coordinator.saga.model import (
    Direction,
    Outcome,
    Saga,
    SagaStatus,
    StepState,
    UndoEffect,
    dump_state,
    load_state,
)
from sagas import definitions

DEFINITION = definitions[0]
SAGA_ID = "5a9a0000-0000-4000-8000-000000000001"
STEPS = [step.name for step in DEFINITION.steps]
RESULTS = [b"{}", '{"a": [1, 2.5e3, null], "é": {"c": "\\u00e9"}}'.encode(), b'{"big":' + b"9" * 300 + b"}"]
ODD_GENERATIONS = ["0", "2", "01", "-1", "", "٢", "9" * 5_000]
REPLIES = (StepCompleted, StepFailed, StepProgressed, CompensationCompleted, CompensationFailed)
TIMERS = (DeadlinePassed, BackoffElapsed, PublicationDelayed)


class Draft(NamedTuple):
    """An event before it is known to which saga it comes; `odd` says which of its fields is wrong, if any."""

    kind: Any
    step: int
    direction: Direction
    attempt: int
    flag: bool
    odd: str
    number: int


drafts = st.builds(
    Draft,
    st.sampled_from([*REPLIES, *TIMERS, "due", "due", RetryRequested]),
    st.sampled_from([-1, -1, -1, 0, 1, 2, 3]),
    st.sampled_from(Direction),
    st.integers(0, 4),
    st.booleans(),
    st.sampled_from([""] * 8 + ["saga", "generation", "step", "source", "id"]),
    st.integers(0, 50),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(drafts, max_size=25))
def test_decide_keeps_its_promises_whatever_arrives(script: list[Draft]) -> None:
    """Its input stays as it was, only a retry is refused, and what it returns survives being stored."""
    saga = begin(DEFINITION, SAGA_ID, now_ms=0).saga
    for draft in script:
        for event in events(saga, draft):
            before = msgspec.json.encode(saga)
            try:
                decision = decide(DEFINITION, saga, event, now_ms=draft.number, roll=draft.number / 51)
            except Conflict:
                assert isinstance(event, RetryRequested)
                assert saga.status is not SagaStatus.SUSPENDED
                continue
            finally:
                assert msgspec.json.encode(saga) == before
            if isinstance(decision, Moved):
                assert decision.saga.version == saga.version + 1
                assert same_when_stored(decision.saga)
                saga = decision.saga


def events(saga: Saga, draft: Draft) -> list[Event]:
    """Make events of a draft; step -1 stands for the one that is open."""
    if draft.kind == "due":
        return list(due(DEFINITION, saga, now_ms=10**15))
    if draft.kind is RetryRequested:
        return [RetryRequested("anna", "again")]
    waiting = [position for position, state in enumerate(saga.steps) if state.deadline_ms is not None]
    position = draft.step if draft.step >= 0 else (waiting or [0])[0]
    if draft.kind in TIMERS:
        name = "make_tea" if draft.odd == "step" else STEPS[position]
        return [draft.kind(name, draft.direction, draft.attempt)]
    return [reply(draft, position)]


def reply(draft: Draft, position: int) -> Event:
    """Make a reply for a step, with one field wrong where the draft says so."""
    step, kind, odd = DEFINITION.steps[position], draft.kind, draft.odd
    saga_id = "another" if odd == "saga" else SAGA_ID
    generation = ODD_GENERATIONS[draft.number % len(ODD_GENERATIONS)] if odd == "generation" else "1"
    identity = f"{saga_id}:{generation}:{step.name}:{kind.direction}"
    named = (
        identity[draft.number :] if odd == "id" else identity,
        STEPS[draft.number % len(STEPS)] if odd == "step" else step.name,
        "stranger" if odd == "source" else step.participant,
        draft.attempt,
    )
    if kind is StepCompleted:
        result = msgspec.Raw(RESULTS[draft.number % len(RESULTS)])
        return StepCompleted(*named, result, "a field is missing" if draft.number % 5 == 0 else None)
    if kind is StepProgressed:
        return StepProgressed(*named)
    if kind is CompensationCompleted:
        return CompensationCompleted(*named, UndoEffect.UNDONE if draft.flag else UndoEffect.NOTHING_TO_UNDO)
    failure = Failure("code", "message", draft.flag)
    return StepFailed(*named, failure) if kind is StepFailed else CompensationFailed(*named, failure)


def same_when_stored(saga: Saga) -> bool:
    """Say whether what changes in a saga is read back as it was written."""
    stored = load_state(dump_state(saga))
    return (stored.steps, stored.facing) == (saga.steps, saga.facing)


@pytest.mark.parametrize("result", RESULTS)
def test_a_result_is_stored_byte_for_byte(result: bytes) -> None:
    """A compensation gets the very text that its participant sent."""
    step = StepState(Outcome.COMPLETED, attempt=1, result=msgspec.Raw(result))
    saga = Saga(SAGA_ID, "OrderFulfillment", 1, SagaStatus.PENDING, 2, (step, StepState()))
    first, second = load_state(dump_state(saga)).steps
    assert isinstance(first.result, msgspec.Raw)
    assert bytes(first.result) == result
    assert second.result is msgspec.UNSET


@pytest.mark.parametrize("generation", ODD_GENERATIONS)
def test_a_command_id_of_no_running_generation_is_no_answer(generation: str) -> None:
    """Only the exact text of a command id counts; other digits of the same value do not."""
    saga = begin(DEFINITION, SAGA_ID, now_ms=0).saga
    identity = f"{SAGA_ID}:{generation}:{STEPS[0]}:action"
    event = StepCompleted(identity, STEPS[0], "inventory", 1, msgspec.Raw(b"{}"))
    decision = decide(DEFINITION, saga, event, now_ms=1, roll=0)
    assert isinstance(decision, Stayed)
    assert decision.verdict in (Verdict.FOREIGN, Verdict.STALE)
