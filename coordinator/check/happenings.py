"""What can happen to a saga, as events for the machine and as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from coordinator.check.participants import Said
from coordinator.saga.definition import SagaDefinition, Step
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
    Verb,
)
from coordinator.saga.machine import TRANSITIONS, due
from coordinator.saga.model import Direction, Outcome, Saga, StepState, UndoEffect, command_id

SAGA_ID = "5a9a0000-0000-4000-8000-000000000001"
OTHER_ID = "5a9a0000-0000-4000-8000-000000000002"
LATER_MS = 10**15
BY, WHY = "operator", "seen in the search"
PROBLEM = "the result does not fit"

_DECLINED = Failure("declined", "it cannot be done")
_HICCUP = Failure("busy", "not now", retryable=True)
_EMPTY = msgspec.Raw(b"{}")
UNDO_SAYS = (Said.UNDONE, Said.NOTHING, Said.UNDO_FAILED)


class Happening(NamedTuple):
    """One thing that can happen.

    `about` is the position of the step that a reply or an operator's word is about, when it is about nothing else: a
    step can be left out only when it is its turn, so that this depends on others.
    """

    line: str
    event: Event
    about: int = -1

    @property
    def by_operator(self) -> bool:
        """Whether a person does it."""
        return isinstance(self.event, Verb)


class Replies:
    """The answers of participants to the newest attempt of a step's action or compensation."""

    def __init__(self, definition: SagaDefinition) -> None:
        self._definition = definition
        self._made: dict[tuple[int, Said, int, int], Happening] = {}

    def of(self, saga: Saga, position: int, said: Said) -> Happening:
        """One answer."""
        state = saga.steps[position]
        attempt = state.undo_attempt if said in UNDO_SAYS else state.attempt
        key = position, said, state.generation, attempt
        made = self._made.get(key)
        if made is None:
            step = self._definition.steps[position]
            event = make_reply(step, said, state.generation, attempt)
            made = self._made[key] = Happening(f"reply {step.name} {said.value}", event, position)
        return made


def make_reply(step: Step, said: Said, generation: int, attempt: int) -> Event:
    """A participant's answer to an attempt."""
    direction = Direction.COMPENSATION if said in UNDO_SAYS else Direction.ACTION
    named = (command_id(SAGA_ID, generation, step.name, direction), step.name, step.participant, attempt)
    match said:
        case Said.COMPLETED | Said.PROBLEM:
            return StepCompleted(*named, _EMPTY, PROBLEM if said is Said.PROBLEM else None)
        case Said.FAILED | Said.RETRYABLE:
            return StepFailed(*named, _HICCUP if said is Said.RETRYABLE else _DECLINED)
        case Said.UNDO_FAILED:
            return CompensationFailed(*named, _DECLINED)
        case _:
            return CompensationCompleted(*named, UndoEffect(said.value))


def timers(definition: SagaDefinition, saga: Saga) -> list[Happening]:
    """The timers that run: any of them may fire next."""
    running = due(definition, saga, now_ms=LATER_MS)
    if len(running) == 1:
        return [Happening("wait", running[0])]
    return [Happening(_timer_line(event), event) for event in running]


def _timer_line(event: DeadlinePassed | BackoffElapsed | StartDue | SagaDeadlinePassed) -> str:
    if isinstance(event, DeadlinePassed | BackoffElapsed):
        kind = "deadline" if isinstance(event, DeadlinePassed) else "backoff"
        return f"timer {kind} {event.step_name} {event.direction.value} attempt={event.attempt}"
    return "timer start" if isinstance(event, StartDue) else "timer whole"


def from_outside(definition: SagaDefinition) -> Iterator[Happening]:
    """What somebody outside can say about external steps, at any time and as often as they like."""
    for position, step in enumerate(definition.steps):
        if step.external:
            answers: dict[str, Event] = {
                "completes": ExternalCompleted(step.name, BY, _EMPTY),
                f"completes problem='{PROBLEM}'": ExternalCompleted(step.name, BY, _EMPTY, PROBLEM),
                "fails": ExternalFailed(step.name, BY, _DECLINED),
            }
            for word, event in answers.items():
                yield Happening(f"outside {step.name} {word} by={BY}", event, position)


class Verbs:
    """What operators can try; what the table refuses for a saga's status anyway is left out.

    One step at most is left out by an operator: any number of them would make as many sagas as there are sets of steps.
    Another payload is given only where a step builds its own.
    """

    def __init__(self, definition: SagaDefinition) -> None:
        self._definition = definition
        plain = (RetryRequested, ResumeRequested, CompensateRequested, SuspendRequested, AbandonRequested)
        self._plain = [Happening(f"{_word(kind)} by={BY}", kind(BY, WHY)) for kind in plain]
        self._skips = [
            Happening(f"skip {step.name} by={BY}", SkipRequested(BY, WHY, step.name)) for step in definition.steps
        ]
        self._resolves = [
            Happening(
                f"resolve {step.name} {resolution.value} by={BY}",
                ResolveRequested(BY, WHY, step.name, resolution),
                position,
            )
            for position, step in enumerate(definition.steps)
            for resolution in Resolution
        ]
        self._others = [
            (Happening(f"retry {step.name} by={BY} {{}}", RetryRequested(BY, WHY, step.name, _EMPTY)), position)
            for position, step in enumerate(definition.steps)
            if step.payload is not None
        ]

    def of(self, saga: Saga) -> Iterator[Happening]:
        """What operators can try on a saga."""
        status = saga.status
        yield from (one for one in self._plain if (status, type(one.event)) in TRANSITIONS)
        if (status, ResolveRequested) in TRANSITIONS:
            yield from self._resolves
        if (status, SkipRequested) in TRANSITIONS and not any(_is_left_out(state) for state in saga.steps):
            yield from self._skips
        if (status, RetryRequested) in TRANSITIONS:
            yield from (one for one, position in self._others if self._may_change_payload(saga, position))

    def _may_change_payload(self, saga: Saga, position: int) -> bool:
        """A payload is changed where it was refused, and where it cannot be built."""
        outcome, stage = saga.steps[position].outcome, self._definition.stage_of[position]
        if outcome is not Outcome.WAITING:
            return outcome is Outcome.FAILED
        earlier = saga.steps[: self._definition.stages[stage][0]]
        return all(state.outcome in (Outcome.COMPLETED, Outcome.SKIPPED) for state in earlier)


def _word(kind: type) -> str:
    return kind.__name__.removesuffix("Requested").lower()


def _is_left_out(state: StepState) -> bool:
    return state.outcome is Outcome.SKIPPED and state.condition is not False


def misfits(definition: SagaDefinition, saga: Saga, position: int) -> Iterator[Happening]:
    """What answers no open command of a step, or only moves its deadline: nothing may follow from any of it."""
    step, state = definition.steps[position], saga.steps[position]
    if step.external:
        return
    origin = step.participant
    for direction in Direction:
        foreign = command_id(OTHER_ID, state.generation, step.name, direction)
        yield from _replies(f"command_id={foreign}", (foreign, step.name, origin, state.attempt), direction)
        own = command_id(SAGA_ID, state.generation, step.name, direction)
        yield from _replies("source=somebody", (own, step.name, "somebody", state.attempt), direction)
        if state.generation > 1:
            earlier = command_id(SAGA_ID, state.generation - 1, step.name, direction)
            yield from _replies(f"command_id={earlier}", (earlier, step.name, origin, state.attempt), direction)
    own = command_id(SAGA_ID, state.generation, step.name, Direction.ACTION)
    late = StepFailed(own, step.name, origin, state.attempt - 1, _HICCUP)
    yield Happening(f"reply {step.name} failed retryable attempt={state.attempt - 1}", late, position)
    yield Happening(f"reply {step.name} progress", StepProgressed(own, step.name, origin, state.attempt), position)
    for direction, attempt in ((Direction.ACTION, state.attempt), (Direction.COMPENSATION, state.undo_attempt)):
        early = DeadlinePassed(step.name, direction, attempt - 1)
        yield Happening(_timer_line(early), early, position)
        delayed = PublicationDelayed(step.name, direction, attempt)
        yield Happening(f"timer delayed {step.name} {direction.value} attempt={attempt}", delayed, position)


def _replies(told: str, named: tuple[str, str, str, int], direction: Direction) -> Iterator[Happening]:
    name = named[1]
    if direction is Direction.ACTION:
        yield Happening(f"reply {name} completed {told}", StepCompleted(*named, _EMPTY))
        yield Happening(f"reply {name} failed {told}", StepFailed(*named, _DECLINED))
    else:
        yield Happening(f"reply {name} undone {told}", CompensationCompleted(*named, UndoEffect.UNDONE))
