"""What transitions are counted as: sagas by what the log says became of them, steps by how long they were asked for."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any, cast

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coordinator.engine.cache import ActiveSaga
from coordinator.engine.counting import Counting
from coordinator.engine.doubts import FORGET_AFTER_S, Doubts
from coordinator.engine.draft import Transitioned
from coordinator.errors import Conflict
from coordinator.observability.metrics import Metrics
from coordinator.saga.definition import SagaDefinition, minutes
from coordinator.saga.effects import Moved
from coordinator.saga.events import (
    AbandonRequested,
    CompensateRequested,
    CompensationCompleted,
    CompensationFailed,
    Event,
    Failure,
    ResumeRequested,
    RetryRequested,
    StepCompleted,
    StepFailed,
    StepProgressed,
    SuspendRequested,
)
from coordinator.saga.machine import begin, decide, due
from coordinator.saga.model import Saga, UndoEffect, command_id
from coordinator.store.batch import Batch
from sagas import definitions

DEFINITION = definitions[0]
NAME = DEFINITION.name
SAGA_ID = "5a9a0000-0000-4000-8000-000000000001"
FIRST = DEFINITION.steps[0]
COUNTED = ("completed", "failed", "abandoned", "compensating", "suspended")
ACTS = ("complete", "fail", "undone", "undo_fails", "due", "retry", "resume", "suspend", "compensate", "abandon")


class Run:
    """A saga that is moved by events, as the engine would, and what was counted of it."""

    def __init__(self, definition: SagaDefinition = DEFINITION) -> None:
        self.definition = definition
        self.metrics = Metrics()
        self.answers: list[tuple[str, list[int | None], bool]] = []
        self.counting = Counting(
            self.metrics, lambda name, _, took_ms, failed: self.answers.append((name, took_ms, failed))
        )
        self.now_ms = 1_000
        begun = begin(definition, SAGA_ID, now_ms=self.now_ms, input_=b"{}")
        self.saga = begun.saga
        self.active = ActiveSaga(self.saga, definition, 1, 0, "key", None, b"{}", self.now_ms)
        self.log = [self.saga.status.value]
        self.count(Transitioned(self.active, None, self.saga, "SagaStarted", None))

    def count(self, transition: Transitioned) -> None:
        """Count one transition."""
        self.counting.count([transition], self.now_ms)

    def hear(self, event: Event) -> None:
        """Let something happen, if it can."""
        try:
            decision = decide(self.definition, self.saga, event, now_ms=self.now_ms, roll=0.5)
        except Conflict:
            return
        if isinstance(decision, Moved):
            before, self.saga = self.saga, decision.saga
            self.log.append(self.saga.status.value)
            step_name = getattr(event, "step_name", None)
            self.count(Transitioned(self.active, before, self.saga, type(event).__name__, step_name))

    def pass_time(self, ms: int) -> None:
        """Wait, and let what is due happen."""
        self.now_ms += ms
        for event in due(self.definition, self.saga, now_ms=self.now_ms):
            self.hear(event)

    def sample(self, name: str, **labels: str) -> float:
        """Read what was counted."""
        return self.metrics.registry.get_sample_value(name, labels) or 0


def _reply(kind: Any, position: int, *more: Any) -> Any:
    step = DEFINITION.steps[position]
    identity = command_id(SAGA_ID, 1, step.name, kind.direction)
    return kind(identity, step.name, step.participant, 1, *more)


def _event(act: str, position: int, saga: Saga) -> Any:
    retryable = Failure("busy", "later", retryable=True)
    events: dict[str, Any] = {
        "complete": lambda: _reply(StepCompleted, position, msgspec.Raw(b"{}")),
        "fail": lambda: _reply(StepFailed, position, Failure("no", "no")),
        "undone": lambda: _reply(CompensationCompleted, position, UndoEffect.UNDONE),
        "undo_fails": lambda: _again(saga, position, _reply(CompensationFailed, position, retryable)),
        "retry": lambda: RetryRequested("ann", "so"),
        "resume": lambda: ResumeRequested("ann", "so"),
        "suspend": lambda: SuspendRequested("ann", "so"),
        "compensate": lambda: CompensateRequested("ann", "so"),
        "abandon": lambda: AbandonRequested("ann", "so"),
    }
    return events[act]()


def _again(saga: Saga, position: int, reply: Any) -> Any:
    return msgspec.structs.replace(reply, attempt=max(1, saga.steps[position].undo_attempt))


def _from_log(log: list[str]) -> Counter[str]:
    """Count as the documentation says: by status, of which one that goes on after a suspension is none."""
    found: Counter[str] = Counter()
    facing = ""
    for old, new in zip(["", *log], log, strict=False):
        if new != old and new in COUNTED and not (old == "suspended" and new == "compensating" == facing):
            found[new] += 1
        if new != "suspended":
            facing = new
    return found


@example([("complete", 0), ("suspend", 1), ("fail", 1), ("resume", 0)])  # it turned back while it rested
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*ACTS, "complete", "fail"]), st.integers(0, 3)), max_size=30))
def test_counters_are_what_the_log_says(acts: list[tuple[str, int]]) -> None:
    """Whatever happens to a saga, in whatever order, each counter is the number of such entries in its log."""
    run = Run()
    for act, position in acts:
        if act == "due":
            run.pass_time(20 * 60_000)
        else:
            run.hear(_event(act, position, run.saga))
    counted = {name: run.sample(f"saga_{name}_total", saga_type=NAME) for name in COUNTED}
    assert counted == {name: _from_log(run.log)[name] for name in COUNTED}
    assert run.sample("saga_started_total", saga_type=NAME) == 1
    ended = sum(run.sample("saga_duration_seconds_count", saga_type=NAME, status=name) for name in COUNTED[:3])
    assert ended == sum(_from_log(run.log)[name] for name in COUNTED[:3])


def test_a_step_is_measured_from_its_first_command() -> None:
    """A second attempt does not make a step look quick: the time is that since the first."""
    run = Run()
    run.pass_time(FIRST.timeout_ms)
    run.pass_time(60_000)
    assert run.saga.steps[0].attempt == 2
    run.now_ms += 500
    run.hear(msgspec.structs.replace(_reply(StepCompleted, 0, msgspec.Raw(b"{}")), attempt=2))
    labels = {"saga_type": NAME, "step_name": FIRST.name, "outcome": "completed"}
    assert run.sample("saga_step_seconds_count", **labels) == 1
    assert run.sample("saga_step_seconds_sum", **labels) == (FIRST.timeout_ms + 60_500) / 1000
    assert run.sample("saga_retries_total", participant=FIRST.participant, direction="action") == 1
    assert run.sample("saga_replies_total", participant=FIRST.participant, reply="completed") == 1


def test_an_undo_is_measured_by_itself() -> None:
    """What a step took, and what its undo took, are two numbers."""
    run = Run()
    run.now_ms += 200
    run.hear(_reply(StepCompleted, 0, msgspec.Raw(b"{}")))
    run.hear(_reply(StepFailed, 1, Failure("no", "no")))
    run.now_ms += 3_000
    run.hear(_reply(CompensationCompleted, 0, UndoEffect.UNDONE))
    labels = {"saga_type": NAME, "step_name": FIRST.name}
    assert run.sample("saga_step_seconds_sum", **labels, outcome="completed") == 0.2
    assert run.sample("saga_step_seconds_sum", **labels, outcome="compensated") == 3
    assert run.sample("saga_step_seconds_count", **labels, outcome="compensated") == 1
    assert run.saga.status == "failed"


def test_an_answer_tells_how_long_it_took() -> None:
    """It counts from the command's issue; of a step that was asked for twice nobody can tell which attempt it is of."""
    run = Run()
    run.now_ms += 250
    run.hear(_reply(StepCompleted, 0, msgspec.Raw(b"{}")))
    second = DEFINITION.steps[1]
    run.pass_time(second.timeout_ms)
    run.pass_time(60_000)
    run.hear(msgspec.structs.replace(_reply(StepFailed, 1, Failure("no", "no")), attempt=2))
    assert run.answers == [(FIRST.participant, [250], False), (second.participant, [None], True)]


def test_progress_does_not_shorten_what_a_step_took() -> None:
    """Reports of progress move an attempt's deadline; its time counts from its issue all the same."""
    slow = replace(FIRST, progress_max=minutes(30))
    run = Run(replace(DEFINITION, steps=(slow, *DEFINITION.steps[1:])))
    for _ in range(2):
        run.now_ms += 20_000
        run.hear(_reply(StepProgressed, 0))
    run.active.first_issued = None  # as a process that has just read the saga has it
    run.now_ms += 1_000
    run.hear(_reply(StepCompleted, 0, msgspec.Raw(b"{}")))
    assert run.answers == [(FIRST.participant, [41_000], False)]
    labels = {"saga_type": NAME, "step_name": FIRST.name, "outcome": "completed"}
    assert run.sample("saga_step_seconds_sum", **labels) == 41


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Log:
    """A log that a test writes."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int, bytes]] = []

    async def logged(self, sagas: object) -> list[tuple[str, int, bytes]]:  # noqa: ARG002 - a port
        return self.entries


class SlowLog(Log):
    """A log that lets others run before it answers."""

    async def logged(self, sagas: object) -> list[tuple[str, int, bytes]]:
        await asyncio.sleep(0)
        return await super().logged(sagas)


async def test_what_was_committed_unheard_of_is_counted_once() -> None:
    """A statement whose answer was lost counts when the log has its entry, not before, and not again."""
    clock, log, counted = Clock(), Log(), []
    doubts = Doubts(cast("Any", clock))
    for data in (b"ours", b"of somebody else"):
        batch = Batch()
        batch.log(SAGA_ID, 2, 0, "StepCompleted", "a", "pending", data)
        doubts.add(batch, lambda data=data: counted.append(data))  # type: ignore[misc]
    doubts.add(Batch(), lambda: counted.append(b"nothing"))
    log.entries = [(SAGA_ID, 2, b"ours")]
    await doubts.settle(log)
    assert counted == []
    for _ in range(3):
        clock.now += FORGET_AFTER_S / 2
        await doubts.settle(log)
    assert counted == [b"ours"]
    assert not doubts._open


async def test_two_that_settle_at_once_count_once() -> None:
    """The engine and the API of one process ask at the same time: what both find is counted by one of them."""
    clock, log, counted = Clock(), SlowLog(), []
    doubts = Doubts(cast("Any", clock))
    batch = Batch()
    batch.log(SAGA_ID, 2, 0, "StepCompleted", "a", "pending", b"ours")
    doubts.add(batch, lambda: counted.append(b"ours"))
    log.entries = [(SAGA_ID, 2, b"ours")]
    clock.now += FORGET_AFTER_S / 2
    await asyncio.gather(doubts.settle(log), doubts.settle(log))
    assert counted == [b"ours"]
    assert not doubts._open
