"""The table of duties, row by row, and what holds for every sequence of commands."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.wire.inbound import InboundCommand
from coordinator.wire.messages import (
    Command,
    Compensation,
    CompensationCompleted,
    CompensationFailed,
    StepCompleted,
    StepError,
    StepFailed,
)
from coordinator.wire.strict_json import encode
from participants.kit.duties import (
    FIXED_ANSWERS,
    RESULT_BYTES_MAX,
    Duty,
    Memory,
    Result,
    action_id,
    duty,
    is_remembered,
    prepare,
    remembered,
    settle,
)
from participants.kit.outcomes import Effect, Refused, Retry

SAGA = "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57"
NOT_AFTER_MS = 1_000
ERROR = '{"code":"no","message":"never","retryable":false}'


def action(attempt: int = 1) -> InboundCommand:
    """Build an action that may run until NOT_AFTER_MS."""
    command = Command(SAGA, "Test", "step", "a", attempt, "action", {}, "1970-01-01T00:00:01.000Z")
    return InboundCommand(command, "Act", "a#1", "saga-coordinator", "replies", 0, NOT_AFTER_MS, None)


def undo(outcome: Any = "unknown", attempt: int = 1) -> InboundCommand:
    """Build the compensation of that action."""
    moment = "1970-01-01T00:00:01.000Z"
    command = Compensation(SAGA, "T", "step", "c", attempt, "compensation", {}, moment, "a", {}, outcome, None)
    return InboundCommand(command, "Undo", "c#1", "saga-coordinator", "replies", 0, NOT_AFTER_MS, None)


def memory(outcome: str | None = None, undone: str | None = None) -> Memory:
    """Build a row."""
    answer = {"completed": "{}", "refused": ERROR, None: None}[outcome]
    return Memory("a", SAGA, outcome, answer, undone)


@pytest.mark.parametrize(
    ("outcome", "undone", "of_action", "of_undo"),
    [
        (None, None, Duty.RUN, Duty.NOTHING_TO_UNDO),
        ("completed", None, Duty.REPEAT, Duty.RUN),
        ("refused", None, Duty.REPEAT, Duty.NOTHING_TO_UNDO),
        (None, "nothing_to_undo", Duty.REFUSE_COMPENSATED, Duty.REPEAT),
        (None, "undone", Duty.REFUSE_COMPENSATED, Duty.REPEAT),
        ("completed", "undone", Duty.REPEAT, Duty.REPEAT),
        ("completed", "nothing_to_undo", Duty.REPEAT, Duty.REPEAT),
        ("refused", "nothing_to_undo", Duty.REPEAT, Duty.REPEAT),
    ],
)
def test_duty(outcome: str | None, undone: str | None, of_action: Duty, of_undo: Duty) -> None:
    """Each state of the row says what is to be done with either command."""
    assert duty(action(), memory(outcome, undone), now_ms=0) is of_action
    assert duty(undo(), memory(outcome, undone), now_ms=0) is of_undo


@pytest.mark.parametrize(("now_ms", "expected"), [(NOT_AFTER_MS, Duty.RUN), (NOT_AFTER_MS + 1, Duty.REFUSE_EXPIRED)])
def test_action_expires_after_its_moment(now_ms: int, expected: Duty) -> None:
    """An action may run up to its not_after and not a millisecond longer."""
    assert duty(action(), memory(), now_ms) is expected


def test_undo_never_expires() -> None:
    """A compensation is done however late it comes."""
    assert duty(undo(), memory("completed"), now_ms=10**15) is Duty.RUN


def test_forgotten_action_is_undone_by_its_handler() -> None:
    """What the coordinator knows to be completed is not called nothing-to-undo for want of memory."""
    assert duty(undo("completed"), memory(), now_ms=0) is Duty.RUN
    assert duty(undo("completed"), memory("refused"), now_ms=0) is Duty.NOTHING_TO_UNDO


def test_both_directions_share_the_row() -> None:
    """An action and its compensation have the same key."""
    assert action_id(action().command) == action_id(undo().command) == "a"


def test_success_is_remembered() -> None:
    """A result is remembered word for word, and its repetition echoes the attempt that asked."""
    row = memory()
    first = settle(action(1), row, prepare(action(1), {"id": "x"}))
    again = remembered(action(2).command, row)
    assert (row.outcome, row.answer) == ("completed", '{"id":"x"}')
    assert isinstance(first, StepCompleted)
    assert encode(again) == encode(first).replace(b'"attempt":1', b'"attempt":2')


def test_refusal_is_remembered() -> None:
    """A final failure of an action is remembered with its words."""
    row = memory()
    reply = settle(action(), row, Refused("no", "never"))
    assert isinstance(reply, StepFailed)
    assert reply.error == StepError("no", "never", retryable=False)
    assert remembered(action().command, row) == reply
    assert is_remembered(reply)


@pytest.mark.parametrize("failure", [Retry("later", "not now"), Refused("no", "never")])
def test_failed_undo_leaves_no_trace(failure: Refused | Retry) -> None:
    """No failure of a compensation is remembered, whatever the handler calls it."""
    row = memory("completed")
    reply = settle(undo(), row, failure)
    assert isinstance(reply, CompensationFailed)
    assert reply.error.retryable is failure.retryable
    assert not is_remembered(reply)
    assert row == memory("completed")


def test_retryable_failure_leaves_no_trace() -> None:
    """A failure that may pass leaves the row empty."""
    row = memory()
    reply = settle(action(), row, Retry("later", "not now"))
    assert isinstance(reply, StepFailed)
    assert not is_remembered(reply)
    assert row.is_empty


@pytest.mark.parametrize(("answer", "effect"), [(None, "undone"), (Effect.NOTHING_TO_UNDO, "nothing_to_undo")])
def test_undo_says_its_effect(answer: Effect | None, effect: str) -> None:
    """A compensation that answers nothing has undone; it may say that there was nothing to undo."""
    row = memory("completed")
    reply = settle(undo(), row, prepare(undo(), answer))
    assert isinstance(reply, CompensationCompleted)
    assert (reply.effect, row.undo) == (effect, effect)


@pytest.mark.parametrize(
    "answer", [Effect.UNDONE, {"n": 2**63}, {"text": "\0"}, {"text": "x" * RESULT_BYTES_MAX}, {"text": "\ud800"}]
)
def test_result_that_no_reader_takes_is_an_error(answer: Any) -> None:
    """What the coordinator would quarantine never leaves: the handler's work is rolled back instead."""
    with pytest.raises(Exception):  # noqa: B017, PT011 (any exception rolls back)
        prepare(action(), answer)


def test_mapping_is_no_answer_of_a_compensation() -> None:
    """A compensation that answers a result is a mistake of its author."""
    with pytest.raises(TypeError):
        prepare(undo(), {"id": "x"})


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "x" * 100_000])
def test_error_of_any_text_can_be_sent(text: str) -> None:
    """Whatever stands in an error, its reply fits the wire."""
    reply = settle(action(), memory(), Refused(text, text))
    assert isinstance(reply, StepFailed)
    assert "\0" not in reply.error.message
    assert len(encode(reply)) < 10_000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["action", "undo", "undo completed"]),
            st.sampled_from(["succeed", "refuse", "retry"]),
            st.sampled_from([0, NOT_AFTER_MS + 1]),
        ),
        max_size=12,
    )
)
def test_no_sequence_breaks_a_promise(steps: list[tuple[str, str, int]]) -> None:
    """In any order of commands, outcomes and clocks: one effect at most, and none after its undo."""
    row = memory()
    said: dict[str, set[bytes]] = {"a": set(), "c": set()}
    done = undone = 0
    for kind, fate, now_ms in steps:
        inbound = action() if kind == "action" else undo("completed" if kind == "undo completed" else "unknown")
        what = duty(inbound, row, now_ms)
        if what is Duty.REPEAT:
            reply = remembered(inbound.command, row)
        elif what is Duty.RUN:
            failure = {"refuse": Refused("no", "never"), "retry": Retry("later", "not now"), "succeed": None}[fate]
            good = Result("{}") if kind == "action" else Effect.UNDONE
            reply = settle(inbound, row, failure or good)
            done += kind == "action" and failure is None
            undone += kind != "action" and failure is None
            assert kind != "action" or row.undo is None, "an action ran after its undo"
        else:
            reply = settle(inbound, row, FIXED_ANSWERS[what])
        if is_remembered(reply):
            said[reply.command_id].add(encode(reply))
    assert done <= 1
    assert undone <= 1
    assert all(len(answers) <= 1 for answers in said.values()), "a remembered reply changed"
