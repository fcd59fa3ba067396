"""What committed transitions mean in numbers: sagas by what became of them, steps by how long they took."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from coordinator.engine.draft import Transitioned
from coordinator.observability.metrics import Metrics
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.model import TERMINAL, Facing, Outcome, Saga, SagaStatus, StepState, Undo

_SUSPENDED, _COMPENSATING = SagaStatus.SUSPENDED, SagaStatus.COMPENSATING
_ISSUED, _BACKING_OFF, _COMPLETED = Outcome.ISSUED, Outcome.BACKING_OFF, Outcome.COMPLETED
_NOT_UNDOING = Undo.NONE
_UNDOING = frozenset({Undo.ISSUED, Undo.BACKING_OFF, Undo.DEAD_LETTERED})
_PENDING = SagaStatus.PENDING  # where most transitions lead, and nobody counts
_REPLIES = {
    "StepCompleted": "completed",
    "StepFailed": "failed",
    "StepProgressed": "progressed",
    "CompensationCompleted": "compensated",
    "CompensationFailed": "compensation_failed",
}


_ANSWERS = frozenset({"StepCompleted", "StepFailed"})

Answered: TypeAlias = Callable[[str, int, list[int | None], bool], None]
"""Hears of a participant's answers: its name, when (ms), how long each took (None: that cannot be told), and whether
they were failures."""


def is_counted(old: SagaStatus | None, new: SagaStatus, facing: Facing) -> bool:
    """Whether a saga that stood at `old`, facing so, and stands at `new` is counted under its new status.

    One that goes on after it was suspended is where it was before; it is news only if it ends, or turns back now.
    """
    if old is new:
        return False
    if old is _SUSPENDED and new not in TERMINAL:
        return new is _COMPENSATING and facing is Facing.FORWARD
    return True


def _faced(saga: Saga) -> Facing:
    """Which way a saga went when it was suspended: one that turned back while it rested has undone nothing yet."""
    return saga.facing if any(step.undo_attempt for step in saga.steps) else Facing.FORWARD


class Counting:
    """Counts batches; remembers of definitions what it needs for each transition.

    `answered` hears what participants answered to actions.
    """

    def __init__(self, metrics: Metrics, answered: Answered | None = None) -> None:
        self._metrics = metrics
        self._answered = answered
        self._steps: dict[tuple[int, str], _Step] = {}

    def count(self, transitions: Iterable[Transitioned], now_ms: int) -> None:
        """Count a batch that was committed at `now_ms`."""
        batch = _Batch()
        steps = self._steps
        for transition in transitions:
            before, saga, active = transition.before, transition.saga, transition.active
            if before is None:
                batch.started[saga.definition] = batch.started.get(saga.definition, 0) + 1
                continue
            name = transition.step_name
            if name is not None:
                step = steps.get((active.definition_id, name)) or self._learn(transition, name)
                old, new = before.steps[step.position], saga.steps[step.position]
                # Nearly always: the first attempt is answered, and worked.
                if (
                    new.outcome is _COMPLETED
                    and old.outcome is _ISSUED
                    and active.first_issued is None
                    and transition.event == "StepCompleted"
                    and old.deadline_ms is not None
                    and step.progress_max_ms is None
                ):
                    if not step.completed_ms:
                        batch.steps.append(step)
                    step.completed_ms.append(now_ms - old.deadline_ms + step.timeout_ms)
                else:
                    _count_step(batch, transition, step, old, new, now_ms)
            status = saga.status
            if (
                status is not _PENDING
                and status is not before.status
                and is_counted(before.status, status, _faced(before))
            ):
                key = (saga.definition, status.value)
                batch.moved[key] = batch.moved.get(key, 0) + 1
                if status in TERMINAL:
                    batch.durations.setdefault(key, []).append(now_ms - active.started_ms)
        batch.take_completed()
        if self._answered is not None:
            for (participant, failed), latencies in batch.latencies.items():
                self._answered(participant, now_ms, latencies, failed)
        self._metrics.count_sagas(batch.started, batch.moved, batch.durations)
        self._metrics.count_steps(batch.ended, batch.replies, batch.retried)

    def _learn(self, transition: Transitioned, name: str) -> _Step:
        definition = transition.active.definition
        known = _Step(definition, name)
        self._steps[transition.active.definition_id, name] = known
        return known


class _Step:
    """What of a step's definition counts; `completed_ms` is of the batch in hand."""

    __slots__ = (
        *("completed_ms", "definition", "name", "participant", "position"),
        *("progress_max_ms", "timeout_ms", "undo_timeout_ms"),
    )

    def __init__(self, definition: SagaDefinition, name: str) -> None:
        self.definition = definition.name
        self.name = name
        self.position = definition.index[name]
        step = definition.steps[self.position]
        self.participant = step.participant
        self.timeout_ms = step.timeout_ms
        self.progress_max_ms = step.progress_max_ms
        self.undo_timeout_ms = step.compensation_timeout_ms
        self.completed_ms: list[int] = []


class _Batch:
    """The numbers of one batch."""

    __slots__ = ("durations", "ended", "latencies", "moved", "replies", "retried", "started", "steps")

    def __init__(self) -> None:
        self.started: dict[str, int] = {}
        self.moved: dict[tuple[str, str], int] = {}
        self.durations: dict[tuple[str, ...], list[int]] = {}
        self.ended: dict[tuple[str, ...], list[int]] = {}
        self.replies: dict[tuple[str, ...], int] = {}
        self.retried: dict[tuple[str, ...], int] = {}
        self.latencies: dict[tuple[str, bool], list[int | None]] = {}
        self.steps: list[_Step] = []

    def take_completed(self) -> None:
        """Take what the steps have collected."""
        for step in self.steps:
            self.ended.setdefault((step.definition, step.name, "completed"), []).extend(step.completed_ms)
            answered = (step.participant, "completed")
            self.replies[answered] = self.replies.get(answered, 0) + len(step.completed_ms)
            self.latencies.setdefault((step.participant, False), []).extend(step.completed_ms)
            step.completed_ms = []


def _count_step(
    batch: _Batch, transition: Transitioned, step: _Step, old: StepState, new: StepState, now_ms: int
) -> None:
    reply = _REPLIES.get(transition.event)
    if reply is not None:
        answered = (step.participant, reply)
        batch.replies[answered] = batch.replies.get(answered, 0) + 1
    if transition.event in _ANSWERS:
        _count_answer(batch, step, old, now_ms, failed=transition.event == "StepFailed")
    ended = _end_of(old, new)
    if ended is None:
        _go_on(batch, transition, step, old, new)
        return
    since_ms = _first_issued(transition, step, old)
    if since_ms is not None:
        batch.ended.setdefault((step.definition, step.name, ended), []).append(now_ms - since_ms)


def _count_answer(batch: _Batch, step: _Step, old: StepState, now_ms: int, *, failed: bool) -> None:
    """An action that was waited for is answered; of one that was asked for again nobody can tell which attempt was."""
    if old.outcome is not _ISSUED and old.outcome is not _BACKING_OFF:
        return
    since_ms = _issued(step, old, undoing=False) if old.attempt == 1 else None
    latency_ms = None if since_ms is None else now_ms - since_ms
    batch.latencies.setdefault((step.participant, failed), []).append(latency_ms)


def _end_of(old: StepState, new: StepState) -> str | None:
    """How the action that was asked for went, or what came of the undo; None while neither is known."""
    if old.undo is _NOT_UNDOING:
        was_open = old.outcome is _ISSUED or old.outcome is _BACKING_OFF
        is_open = new.outcome is _ISSUED or new.outcome is _BACKING_OFF
        return new.outcome.value if was_open and not is_open else None
    if old.undo in _UNDOING and (new.undo is Undo.COMPENSATED or (_is_given_up(new) and not _is_given_up(old))):
        return new.undo.value
    return None


def _is_given_up(state: StepState) -> bool:
    return state.undo is Undo.DEAD_LETTERED and state.deadline_ms is None


def _go_on(batch: _Batch, transition: Transitioned, step: _Step, old: StepState, new: StepState) -> None:
    """A step that is still open has had an attempt that came to nothing, or has another one, or takes longer."""
    undoing = old.undo in _UNDOING
    before, after = (old.undo_attempt, new.undo_attempt) if undoing else (old.attempt, new.attempt)
    if after > before > 0 and old.generation == new.generation:
        key = (step.participant, "compensation" if undoing else "action")
        batch.retried[key] = batch.retried.get(key, 0) + 1
    if old.outcome is _ISSUED or undoing:
        since_ms = _issued(step, old, undoing=undoing)
        if since_ms is not None:
            active = transition.active
            if active.first_issued is None:
                active.first_issued = {}
            active.first_issued.setdefault((step.position, undoing), since_ms)


def _first_issued(transition: Transitioned, step: _Step, old: StepState) -> int | None:
    """When a step was first asked for; of one that was tried again before we knew its saga, when it was last."""
    undoing = old.undo in _UNDOING
    known = transition.active.first_issued
    since_ms = known.pop((step.position, undoing), None) if known else None
    return _issued(step, old, undoing=undoing) if since_ms is None else since_ms


def _issued(step: _Step, old: StepState, *, undoing: bool) -> int | None:
    """When the command that is waited for was issued; None when none is."""
    waited_for = old.undo is Undo.ISSUED if undoing else old.outcome is _ISSUED
    if not waited_for or old.deadline_ms is None:
        return None
    if not undoing and step.progress_max_ms is not None and old.limit_ms is not None:
        return old.limit_ms - step.progress_max_ms  # progress has moved the deadline
    return old.deadline_ms - (step.undo_timeout_ms if undoing else step.timeout_ms)
