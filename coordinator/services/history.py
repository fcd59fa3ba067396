"""What has happened to a saga, worked out from its log: the commands that it issued, and a timeline for drawing.

The log keeps what `decide()` was told, not what it answered; so the saga is decided again, entry by entry. Where that
does not come to what the log says (its first days are dropped, the definition has another content now), the history is
not complete, and says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Container, Sequence
from typing import Any, Final, cast, get_args

import msgspec

from coordinator.errors import SagaError
from coordinator.saga import machine
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import Effect, Moved
from coordinator.saga.events import BackoffElapsed, Event, Reply
from coordinator.saga.model import Saga, StepState
from coordinator.store.reads import LogEntry

ENTRIES_MAX: Final = 2_000  # of a log that are read; a saga with more has been tried again for weeks

_EVENTS: Final[dict[str, type]] = {kind.__name__: kind for kind in get_args(Event)}


class Moment(msgspec.Struct, frozen=True):
    """A transition: the entry that tells of it, what happened (None: the saga began), how the saga stood then."""

    entry: LogEntry
    event: Event | None
    saga: Saga
    effects: tuple[Effect, ...]


class History(msgspec.Struct, frozen=True):
    """The transitions of a saga, oldest first; not `complete` where some are not known."""

    moments: list[Moment]
    complete: bool


class _Began(msgspec.Struct):
    now_ms: int
    start_at_ms: int | None = None


class _Held(msgspec.Struct):
    held: list[str] = []


class _Said(msgspec.Struct):
    now_ms: int
    roll: float = 0.0


class _Timing(msgspec.Struct):
    attempt: int
    direction: str


_BEGAN = msgspec.json.Decoder(_Began)
_SAID = msgspec.json.Decoder(_Said)
_HELD = msgspec.json.Decoder(_Held)
_TIMING = msgspec.json.Decoder(_Timing)


def relive(
    definition: SagaDefinition, saga_id: str, input_: bytes, entries: Sequence[LogEntry], now: Sequence[StepState]
) -> History:
    """Decide a saga again from its log, oldest entry first; `now` is how its steps stand at the end of the log."""
    if not entries or entries[0].version != 1:
        return History([], complete=False)
    try:
        holds = _holds(definition, entries, now)
    except msgspec.MsgspecError:
        return History([], complete=False)
    twin = _apart(definition)
    moments: list[Moment] = []
    for entry, held in zip(entries, holds, strict=True):
        try:
            moment = _again(twin, saga_id, input_, moments, entry, {_lane(name) for name in held})
        except (SagaError, msgspec.MsgspecError, KeyError, ValueError):
            moment = None
        if moment is None or (moment.saga.version, moment.saga.status) != (entry.version, entry.status):
            return History(moments, complete=False)
        moments.append(moment)
    outcomes = [(step.outcome, step.undo) for step in moments[-1].saga.steps]
    return History(moments, complete=outcomes == [(step.outcome, step.undo) for step in now])


def _again(
    twin: SagaDefinition,
    saga_id: str,
    input_: bytes,
    moments: Sequence[Moment],
    entry: LogEntry,
    held: Container[str],
) -> Moment | None:
    """Take one transition again; None where the log tells of something that changes nothing."""
    if not moments:
        began = _BEGAN.decode(entry.data)
        moved = machine.begin(
            twin, saga_id, now_ms=began.now_ms, input_=input_, start_at_ms=began.start_at_ms, held=held
        )
        return Moment(entry, None, moved.saga, moved.effects)
    before = moments[-1].saga
    event = _event(twin, before, entry)
    said = _SAID.decode(entry.data)
    decision = machine.decide(twin, before, event, now_ms=said.now_ms, roll=said.roll, held=held)
    return Moment(entry, event, decision.saga, decision.effects) if isinstance(decision, Moved) else None


def _event(twin: SagaDefinition, before: Saga, entry: LogEntry) -> Event:
    """The event that an entry was made of; what follows from the saga was left out of it."""
    kind = _EVENTS[entry.event]
    fields: dict[str, Any] = msgspec.json.decode(entry.data, type=dict[str, msgspec.Raw])
    if entry.step_name is not None:
        fields["step_name"] = entry.step_name
    if issubclass(kind, Reply):
        place = twin.index[cast("str", entry.step_name)]
        generation = before.steps[place].generation
        fields["source"] = twin.steps[place].participant
        fields["command_id"] = f"{before.id}:{generation}:{entry.step_name}:{kind.direction}"
    return cast("Event", msgspec.json.decode(msgspec.json.encode(fields), type=kind))


def _holds(definition: SagaDefinition, entries: Sequence[LogEntry], now: Sequence[StepState]) -> list[Collection[str]]:
    """Which steps flow control held back, entry by entry.

    The log says so. Where nothing in it does, it may be older than that: then a step that was let go was held until
    then, and one that is held at the end has been since it was let go last.
    """
    told: list[Collection[str]] = [_HELD.decode(entry.data).held for entry in entries]
    if any(told):
        return told
    releases = _releases(entries)
    last = {definition.steps[place].name for place, state in enumerate(now) if state.held}
    return [
        (last | {step for later, step in releases if later > number}) - {step for at, step in releases if at == number}
        for number in range(len(entries))
    ]


def _releases(entries: Sequence[LogEntry]) -> list[tuple[int, str]]:
    """Where steps were let go that flow control had held back: until then they had not been issued."""
    found: list[tuple[int, str]] = []
    for number, entry in enumerate(entries):
        if entry.event == BackoffElapsed.__name__ and entry.step_name is not None:
            timing = _TIMING.decode(entry.data)
            if timing.direction == "action" and timing.attempt == 0:
                found.append((number, entry.step_name))
    return found


def _apart(definition: SagaDefinition) -> SagaDefinition:
    """The definition with a participant of its own for each step, so that one can be held and another not."""
    steps = tuple(
        step if step.external else dataclasses.replace(step, participant=_lane(step.name)) for step in definition.steps
    )
    return dataclasses.replace(definition, steps=steps)


def _lane(step_name: str) -> str:
    return step_name.replace("_", "-")
