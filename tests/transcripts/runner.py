"""Play a saga from a transcript: lines that say what happens, and what the machine answers.

    # A comment says what comes next.
    reply process_payment failed
        applied: pending -> compensating
        process_payment: issued -> failed
        reserve_inventory: undo none -> issued, until +2m
        send ReleaseReservation to inventory, attempt 1

What happens stands at the margin, what the machine answers is indented. A line that ends in ` ...` has an answer
that is not worth showing. What can happen:
    begin NAME [attempts=N] [undo_attempts=N] [recovery=N] [steps=N] [without_compensation=STEP,STEP]
    reply STEP completed|failed|progress|undone|nothing_to_undo|undo_failed [retryable] [attempt=N]
          [problem=TEXT] [source=NAME] [step_name=NAME] [command_id=TEXT]
    wait [1m30s] [delayed]     let time pass, by default to the next deadline, and fire the timers that come due;
                               `delayed`: the commands were still in our own outbox when their deadlines came
    timer deadline|backoff|delayed STEP action|compensation attempt=N     a timer by hand, for stale ones
    retry by=NAME              an operator's retry
    given STATUS               put the saga into a status that no rule leads to, as an operator's verb would
    show                       print every step
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator

import msgspec

from coordinator.errors import Conflict
from coordinator.saga.definition import RECOVERY, Retry, SagaDefinition, Step
from coordinator.saga.effects import (
    CloseLetter,
    DeadLetterCommand,
    Effect,
    IssueCommand,
    OpenIncident,
    ResolveIncidents,
    Stayed,
    Verdict,
)
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
    Saga,
    SagaStatus,
    StepState,
    UndoEffect,
    command_id,
    dump_state,
    load_state,
)
from sagas import definitions

SAGA_ID = "5a9a0000-0000-4000-8000-000000000001"
INDENT = "    "
UNTOLD = " ..."
TIMERS: dict[str, type[DeadlinePassed | BackoffElapsed | PublicationDelayed]] = {
    "deadline": DeadlinePassed,
    "backoff": BackoffElapsed,
    "delayed": PublicationDelayed,
}
UNITS_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
ROLL = 0.5  # every pause is half of its ceiling


def play(text: str) -> tuple[str, Player]:
    """Play a transcript; return it as it should read, and the player with what it exercised."""
    player = Player()
    lines = [line for line in text.splitlines() if not line.startswith(INDENT)]
    return "\n".join(one for line in lines for one in player.line(line)) + "\n", player


class Player:
    """One saga under a hand-moved clock; `exercised` collects (status, kind of event, resulting status)."""

    def __init__(self) -> None:
        self.exercised: set[tuple[SagaStatus, type, SagaStatus]] = set()
        self.now_ms = 0
        self.definition: SagaDefinition
        self.saga: Saga

    def line(self, line: str) -> Iterator[str]:
        """Play one line, and write it with its answers below it."""
        yield line
        if line and not line.startswith("#"):
            answers = [INDENT + answer for answer in self._obey(*shlex.split(line.removesuffix(UNTOLD)))]
            if not line.endswith(UNTOLD):
                yield from answers

    def _obey(self, verb: str, *words: str) -> Iterator[str]:
        options = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        match verb, plain:
            case "begin", [name]:
                yield from self._begin(name, options)
            case "reply", [step, kind, *flags]:
                yield from self._decide(self._reply(step, kind, retryable=flags == ["retryable"], **options))
            case "wait", flags:
                yield from self._wait(flags)
            case "timer", [kind, step, direction]:
                yield from self._decide(TIMERS[kind](step, Direction(direction), int(options["attempt"])))
            case "retry", []:
                yield from self._decide(RetryRequested(options["by"], "tried again"))
            case "given", [status]:
                self.saga = msgspec.structs.replace(self.saga, status=SagaStatus(status))
            case "show", []:
                yield from self._show()
            case _:
                raise ValueError(f"a transcript cannot say {verb} {' '.join(words)}")

    def _begin(self, name: str, options: dict[str, str]) -> Iterator[str]:
        self.definition = _shaped(next(one for one in definitions if one.name == name), options)
        first = begin(self.definition, SAGA_ID, now_ms=self.now_ms)
        self.saga = first.saga
        yield f"{self.saga.status}"
        yield from self._effects(first.effects)

    def _reply(self, step: str, kind: str, *, retryable: bool, **options: str) -> Event:
        position = self.definition.index[step]
        state = self.saga.steps[position]
        undo = kind in ("undone", "nothing_to_undo", "undo_failed")
        direction = Direction.COMPENSATION if undo else Direction.ACTION
        named = (
            options.get("command_id", command_id(SAGA_ID, state.generation, step, direction)),
            options.get("step_name", step),
            options.get("source", self.definition.steps[position].participant),
            int(options.get("attempt", state.undo_attempt if undo else state.attempt)),
        )
        error = Failure("declined", "it cannot be done", retryable)
        match kind:
            case "completed":
                return StepCompleted(*named, msgspec.Raw(b"{}"), options.get("problem"))
            case "failed":
                return StepFailed(*named, error)
            case "progress":
                return StepProgressed(*named)
            case "undo_failed":
                return CompensationFailed(*named, error)
            case _:
                return CompensationCompleted(*named, UndoEffect(kind))

    def _wait(self, flags: list[str]) -> Iterator[str]:
        lengths = [flag for flag in flags if flag != "delayed"]
        until_ms = self.now_ms + _read_length(lengths[0]) if lengths else self.saga.deadline_ms
        assert until_ms is not None, "there is no deadline to wait for"
        while (next_ms := self.saga.deadline_ms) is not None and next_ms <= until_ms:
            self.now_ms = next_ms
            timers = due(self.definition, self.saga, now_ms=next_ms)
            if not timers:
                break
            for timer in timers:
                delayed = "delayed" in flags and isinstance(timer, DeadlinePassed)
                kind = PublicationDelayed if delayed else type(timer)
                yield f"{kind.__name__} {timer.step_name} {timer.direction} attempt {timer.attempt}"
                yield from self._decide(kind(timer.step_name, timer.direction, timer.attempt))
        self.now_ms = until_ms

    def _decide(self, event: Event) -> Iterator[str]:
        before, text = self.saga, msgspec.json.encode(self.saga)
        try:
            decision = decide(self.definition, before, event, now_ms=self.now_ms, roll=ROLL)
        except Conflict as refusal:
            yield f"refused: {refusal}"
            return
        finally:
            assert msgspec.json.encode(before) == text, "decide changed its input"
        if isinstance(decision, Stayed):
            self.exercised.add((before.status, type(event), before.status))
            yield f"{decision.verdict}: {decision.reason}"
            return
        self.saga = decision.saga
        self.exercised.add((before.status, type(event), self.saga.status))
        assert self.saga.version == before.version + 1
        assert load_state(dump_state(self.saga)).steps == self.saga.steps
        verdict = str(decision.verdict)
        if decision.verdict is not Verdict.APPLIED:
            verdict += f" but noted ({decision.reason})"
        yield f"{verdict}: {_change(before.status, self.saga.status)}"
        for step, old, new in zip(self.definition.steps, before.steps, self.saga.steps, strict=True):
            yield from self._difference(step, old, new)
        yield from self._effects(decision.effects)

    def _difference(self, step: Step, old: StepState, new: StepState) -> Iterator[str]:
        parts = []
        if new.outcome is not old.outcome:
            parts.append(_change(old.outcome, new.outcome))
        if new.undo is not old.undo:
            parts.append(f"undo {_change(old.undo, new.undo)}")
        if new.late_success is not old.late_success:
            parts.append("late success")
        if new.deadline_ms is not None and new.deadline_ms != old.deadline_ms:
            parts.append(f"until +{_write_length(new.deadline_ms - self.now_ms)}")
        if parts:
            yield f"{step.name}: {', '.join(parts)}"

    def _effects(self, effects: tuple[Effect, ...]) -> Iterator[str]:
        for effect in effects:
            yield self._effect(effect)

    def _effect(self, effect: Effect) -> str:
        match effect:
            case IssueCommand(position, direction, attempt):
                step = self.definition.steps[position]
                command = step.action if direction is Direction.ACTION else step.compensation
                return f"send {command} to {step.participant}, attempt {attempt}"
            case DeadLetterCommand(position, direction, reason):
                step = self.definition.steps[position]
                command = step.action if direction is Direction.ACTION else step.compensation
                return f"dead letter {command}: {reason}"
            case OpenIncident(reason, position, detail):
                step_name = "" if position is None else f" at {self.definition.steps[position].name}"
                return f"incident {reason}{step_name}: {detail}"
            case CloseLetter(position, direction):
                step = self.definition.steps[position]
                command = step.action if direction is Direction.ACTION else step.compensation
                return f"letter closed {command}"
            case ResolveIncidents(by):
                return f"incidents resolved by {by}"

    def _show(self) -> Iterator[str]:
        yield f"{self.saga.status}, facing {self.saga.facing}, version {self.saga.version}"
        for step, state in zip(self.definition.steps, self.saga.steps, strict=True):
            yield f"{step.name}: {state.outcome}, undo {state.undo}"


def _shaped(definition: SagaDefinition, options: dict[str, str]) -> SagaDefinition:
    """Give a shipped definition the budgets and steps that a transcript asks for."""
    bare = options.get("without_compensation", "").split(",")
    steps = tuple(
        dataclasses.replace(
            step,
            compensation=None if step.name in bare else step.compensation,
            retry=Retry(attempts=int(options.get("attempts", step.retry.attempts))),
            compensation_retry=Retry(attempts=int(options.get("undo_attempts", step.compensation_retry.attempts))),
        )
        for step in definition.steps[: int(options.get("steps", len(definition.steps)))]
    )
    recovery = Retry(int(options.get("recovery", RECOVERY.attempts)), RECOVERY.base, RECOVERY.factor, RECOVERY.cap)
    return dataclasses.replace(definition, steps=steps, recovery=recovery)


def _change(old: str, new: str) -> str:
    return f"{old} -> {new}" if old != new else f"{new}"


def _read_length(text: str) -> int:
    return sum(int(amount) * UNITS_MS[unit] for amount, unit in re.findall(r"(\d+)(ms|h|m|s)", text))


def _write_length(length_ms: int) -> str:
    parts = []
    for unit, size in UNITS_MS.items():
        amount, length_ms = divmod(length_ms, size)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"
