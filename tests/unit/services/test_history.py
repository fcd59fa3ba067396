"""A saga's commands and timeline are worked out from its log alone, and say so where the log does not tell all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import msgspec
import pytest

from coordinator.engine.journal import BEGAN, began, entry
from coordinator.saga import machine
from coordinator.saga.definition import Kind, SagaDefinition
from coordinator.saga.effects import IssueCommand, Moved
from coordinator.saga.events import (
    BackoffElapsed,
    CompensateRequested,
    CompensationCompleted,
    DeadlinePassed,
    Event,
    Failure,
    ResumeRequested,
    RetryRequested,
    StepCompleted,
    StepFailed,
    SuspendRequested,
)
from coordinator.saga.model import Direction, Saga, UndoEffect, command_id
from coordinator.services.commands import commands_of
from coordinator.services.history import History, relive
from coordinator.services.timeline import Interval, timeline_of
from coordinator.store.reads import LogEntry
from coordinator.wire.rfc3339 import format_ms
from sagas import definitions
from sagas.order_fulfillment import order_fulfillment

SAGA_ID = "01981c2e-8a4b-7c3d-9e10-3f5b8a6d2c41"
FIRST_MS = 1_767_225_600_000
MINUTE_MS = 60_000
RESULTS = {
    "reserve_inventory": b'{"reservation_id":"0198c0de-0000-7000-8000-000000000001"}',
    "process_payment": b'{"payment_id":"0198c0de-0000-7000-8000-000000000002","amount_cents":4200}',
    "create_shipment": b'{"shipment_id":"0198c0de-0000-7000-8000-000000000003"}',
    "send_confirmation": b'{"notice_id":"0198c0de-0000-7000-8000-000000000004"}',
}


class Told:
    """A saga that is moved by hand, and what the engine writes in its log; each event comes a minute later.

    A log that is `old` does not say which steps flow control held.
    """

    def __init__(
        self,
        held: frozenset[str] = frozenset(),
        start_at_ms: int | None = None,
        *,
        old: bool = False,
        definition: SagaDefinition = order_fulfillment,
    ) -> None:
        self.definition = definition
        self._old = old
        moved = machine.begin(self.definition, SAGA_ID, now_ms=FIRST_MS, held=held, start_at_ms=start_at_ms)
        self.saga: Saga = moved.saga
        self.issued = [effect for effect in moved.effects if isinstance(effect, IssueCommand)]
        self.now_ms = FIRST_MS
        self.entries: list[LogEntry] = []
        self._log(BEGAN, None, began(FIRST_MS, moved.saga.starts_ms, self._held()))

    def tell(self, event: Event, held: frozenset[str] = frozenset()) -> None:
        """Let something happen that changes the saga."""
        self.now_ms += MINUTE_MS
        moved = machine.decide(self.definition, self.saga, event, now_ms=self.now_ms, roll=0.5, held=held)
        assert isinstance(moved, Moved), moved
        self.saga = moved.saga
        self.issued += [effect for effect in moved.effects if isinstance(effect, IssueCommand)]
        self._log(*entry(event, self.now_ms, 0.5, self._held()))

    def done(self, step: str, held: frozenset[str] = frozenset()) -> None:
        """A step is completed."""
        self.tell(StepCompleted(*self._head(step, Direction.ACTION), msgspec.Raw(RESULTS[step])), held)

    def refused(self, step: str) -> None:
        """A step is refused for good."""
        self.tell(StepFailed(*self._head(step, Direction.ACTION), Failure("no", "it cannot be")))

    def undone(self, step: str) -> None:
        """A step is undone."""
        self.tell(CompensationCompleted(*self._head(step, Direction.COMPENSATION), UndoEffect.UNDONE))

    def history(self, entries: list[LogEntry] | None = None) -> History:
        """What the log tells."""
        told = self.entries if entries is None else entries
        return relive(self.definition, SAGA_ID, b"{}", told, self.saga.steps)

    def _held(self) -> list[str]:
        states = zip(self.definition.steps, self.saga.steps, strict=True)
        return [] if self._old else [step.name for step, state in states if state.held]

    def _head(self, step: str, direction: Direction) -> tuple[str, str, str, int]:
        place = self.definition.index[step]
        state = self.saga.steps[place]
        attempt = state.attempt if direction is Direction.ACTION else state.undo_attempt
        identity = command_id(SAGA_ID, state.generation, step, direction)
        return identity, step, self.definition.steps[place].participant, attempt

    def _log(self, name: str, step: str | None, data: bytes) -> None:
        at = format_ms(self.now_ms)
        self.entries.append(LogEntry(self.saga.version, at, name, step, self.saga.status, msgspec.Raw(data)))


def undone() -> Told:
    """A saga whose third step is refused, and everything is undone."""
    told = Told()
    told.done("reserve_inventory")
    told.done("process_payment")
    told.refused("create_shipment")
    told.undone("process_payment")
    told.undone("reserve_inventory")
    return told


def at(minutes: int) -> str:
    """A moment of a told saga."""
    return format_ms(FIRST_MS + minutes * MINUTE_MS)


def test_commands_are_those_that_the_machine_issued() -> None:
    """Every command is listed once, with when it was issued and answered and what came of it."""
    told = undone()
    views = commands_of(told.history(), order_fulfillment, {(2, 0)})
    assert [(view.step, view.direction, view.issued_at, view.answered_at, view.outcome) for view in views] == [
        ("reserve_inventory", "action", at(0), at(1), "completed"),
        ("process_payment", "action", at(1), at(2), "completed"),
        ("create_shipment", "action", at(2), at(3), "failed"),
        ("process_payment", "compensation", at(3), at(4), "undone"),
        ("reserve_inventory", "compensation", at(4), at(5), "undone"),
    ]
    assert len(views) == len(told.issued)
    assert [view.type for view in views[:2]] == ["ReserveItems", "ProcessPayment"]
    assert [view.unsent for view in views] == [False, True, False, False, False]
    assert views[0].command_id == f"{SAGA_ID}:1:reserve_inventory:action"


def test_a_timeline_shows_both_ways() -> None:
    """What was done stands in the forward lane, what was undone in the other, without gaps or overlaps."""
    told = undone()
    history = told.history()
    assert history.complete
    assert list(map(_brief, timeline_of(history, order_fulfillment))) == [
        ("forward", "reserve_inventory", "action", 1, at(0), at(1), "completed"),
        ("forward", "process_payment", "action", 1, at(1), at(2), "completed"),
        ("forward", "create_shipment", "action", 1, at(2), at(3), "failed"),
        ("compensation", "process_payment", "compensation", 1, at(3), at(4), "undone"),
        ("compensation", "reserve_inventory", "compensation", 1, at(4), at(5), "undone"),
    ]


def test_attempts_pauses_and_suspensions_have_intervals() -> None:
    """An attempt that timed out, the pause behind it, the next attempt and an operator's suspension are all there."""
    told = Told()
    told.tell(DeadlinePassed("reserve_inventory", Direction.ACTION, 1))
    told.tell(BackoffElapsed("reserve_inventory", Direction.ACTION, 1))
    told.tell(SuspendRequested("ann", "to look"))
    told.tell(ResumeRequested("ann", "it is fine"))
    assert list(map(_brief, timeline_of(told.history(), order_fulfillment))) == [
        ("forward", "reserve_inventory", "action", 1, at(0), at(1), "timed_out"),
        ("forward", "reserve_inventory", "pause", 1, at(1), at(2), None),
        ("forward", "reserve_inventory", "action", 2, at(2), at(4), "issued"),
        ("saga", None, "suspended", None, at(3), at(4), None),
        ("forward", "reserve_inventory", "action", 3, at(4), None, None),
    ]
    outcomes = [view.outcome for view in commands_of(told.history(), order_fulfillment, ())]
    assert outcomes == ["timed_out", None, None]


@pytest.mark.parametrize("old", [False, True], ids=["named", "not named"])
def test_a_step_that_was_held_back_was_not_issued_before_it_was_let_go(*, old: bool) -> None:
    """What flow control held is told apart from what was sent, also by an old log, which does not name it."""
    told = Told(held=frozenset({"inventory"}), old=old)
    told.tell(BackoffElapsed("reserve_inventory", Direction.ACTION, 0))
    history = told.history()
    assert history.complete
    assert list(map(_brief, timeline_of(history, order_fulfillment))) == [
        ("forward", "reserve_inventory", "held", None, at(0), at(1), None),
        ("forward", "reserve_inventory", "action", 1, at(1), None, None),
    ]
    assert [view.issued_at for view in commands_of(history, order_fulfillment, ())] == [at(1)]


def test_a_step_that_is_held_back_now_was_not_issued() -> None:
    """A saga that waits for room has issued nothing."""
    history = Told(held=frozenset({"inventory"})).history()
    assert history.complete
    assert commands_of(history, order_fulfillment, ()) == []


def test_a_step_that_was_held_and_never_let_go_was_not_issued() -> None:
    """A saga that is cancelled while it waits for room has sent nothing, and its history says so."""
    told = Told(held=frozenset({"inventory"}))
    told.tell(CompensateRequested("ann", "the customer has called"))
    history = told.history()
    assert told.saga.status == "failed"
    assert history.complete
    assert commands_of(history, order_fulfillment, ()) == []


@pytest.mark.parametrize("old", [False, True], ids=["named", "not named"])
def test_a_step_that_was_held_twice_is_told_twice(*, old: bool) -> None:
    """It was let go, refused behind the pivot, tried again by a person, and held and let go once more."""
    *first, pivot, last = order_fulfillment.steps
    behind = (
        dataclasses.replace(pivot, kind=Kind.PIVOT, compensation=None),
        dataclasses.replace(last, kind=Kind.RETRIABLE, compensation=None),
    )
    definition = dataclasses.replace(order_fulfillment, steps=(*first, *behind))
    told = Told(old=old, definition=definition)
    narrow = frozenset({"notification"})
    told.done("reserve_inventory")
    told.done("process_payment")
    told.done("create_shipment", narrow)
    told.tell(BackoffElapsed("send_confirmation", Direction.ACTION, 0))
    told.refused("send_confirmation")
    assert told.saga.status == "suspended"
    told.tell(RetryRequested("ann", "the address is right now"), narrow)
    told.tell(BackoffElapsed("send_confirmation", Direction.ACTION, 0))
    told.done("send_confirmation")
    history = told.history()
    assert history.complete
    assert history.moments[-1].saga == _without_source(told.saga)
    assert [view.issued_at for view in commands_of(history, definition, ())][-2:] == [at(4), at(7)]


def test_a_scheduled_saga_waits() -> None:
    """Until its time a saga has one interval, which is open, and has issued nothing."""
    history = Told(start_at_ms=FIRST_MS + MINUTE_MS).history()
    assert list(map(_brief, timeline_of(history, order_fulfillment))) == [
        ("saga", None, "waiting", None, at(0), None, None)
    ]


def test_a_cancelled_saga_is_told_to_its_end() -> None:
    """An operator's verb is decided again like anything else."""
    told = Told()
    told.done("reserve_inventory")
    told.tell(CompensateRequested("ann", "the customer has called"))
    told.undone("process_payment")
    told.undone("reserve_inventory")
    history = told.history()
    assert history.complete
    assert history.moments[-1].saga == _without_source(told.saga)


def _without_source(saga: Saga) -> Saga:
    return msgspec.structs.replace(saga, input=b"{}")


def _cut_logs() -> Iterator[list[LogEntry]]:
    entries = undone().entries
    yield entries[1:]
    yield entries[:3] + entries[4:]
    yield [*entries[:2], msgspec.structs.replace(entries[2], event="SomethingElse"), *entries[3:]]
    yield [*entries[:2], msgspec.structs.replace(entries[2], data=msgspec.Raw(b"{}")), *entries[3:]]
    yield entries[:4]
    yield []


@pytest.mark.parametrize("entries", list(_cut_logs()), ids=["first", "middle", "strange", "empty data", "end", "all"])
def test_a_log_with_a_gap_is_told_as_far_as_it_goes(entries: list[LogEntry]) -> None:
    """Where entries are gone, or are of another content of the definition, the history says that it is not complete."""
    history = undone().history(entries)
    assert not history.complete
    assert len(timeline_of(history, order_fulfillment)) <= len(entries)


@pytest.mark.parametrize("definition", definitions, ids=lambda definition: definition.name)
def test_every_definition_can_be_told(definition: SagaDefinition) -> None:
    """The beginning of a saga of any definition is relived as it was, whatever its steps are called."""
    moved = machine.begin(definition, SAGA_ID, now_ms=FIRST_MS, input_=b"{}") if not _builds(definition) else None
    if moved is None:
        return
    told = LogEntry(1, at(0), BEGAN, None, moved.saga.status, msgspec.Raw(began(FIRST_MS, None)))
    assert relive(definition, SAGA_ID, b"{}", [told], moved.saga.steps).complete


def _builds(definition: SagaDefinition) -> bool:
    return any(definition.steps[place].payload is not None for place in definition.stages[0])


def _brief(interval: Interval) -> tuple[object, ...]:
    return (
        interval.lane,
        interval.step,
        interval.kind,
        interval.attempt,
        interval.begin,
        interval.end,
        interval.outcome,
    )
