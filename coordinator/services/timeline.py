"""A saga's history as intervals, for drawing: what was under way from when to when, in three lanes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from coordinator.saga.definition import SagaDefinition
from coordinator.saga.model import Outcome, Saga, SagaStatus, Undo
from coordinator.services.commands import outcome_of
from coordinator.services.history import History, Moment


class Interval(msgspec.Struct, frozen=True):
    """Something that took its time. Lanes are `forward`, `compensation`, and `saga` for what is of no single step.

    `kind` is action, compensation (a command is out), waiting (for somebody outside, an event, or the start), pause
    (until the next attempt), held (by flow control) or suspended. `end` is null while it lasts; `outcome` is what an
    attempt came to.
    """

    lane: str
    step: str | None
    participant: str | None
    kind: str
    attempt: int | None
    begin: str
    end: str | None = None
    outcome: str | None = None


_Phase = tuple[str, int | None, int]  # kind, attempt, generation
_Key = tuple[str, int]  # lane, position of the step


def timeline_of(history: History, definition: SagaDefinition) -> list[Interval]:
    """The intervals of a history, by when they began."""
    found: list[Interval] = []
    open_: dict[_Key, tuple[_Phase, int]] = {}
    for moment in history.moments:
        present = dict(_phases(moment.saga, definition))
        for key, (phase, place) in list(open_.items()):
            if present.get(key) != phase:
                found[place] = _closed(found[place], key, moment)
                del open_[key]
        for key, phase in present.items():
            if key not in open_:
                open_[key] = (phase, len(found))
                found.append(_opened(key, phase, moment, definition))
    return found


def _phases(saga: Saga, definition: SagaDefinition) -> Iterator[tuple[_Key, _Phase]]:
    """What is under way."""
    if saga.status is SagaStatus.SUSPENDED:
        yield ("saga", -1), ("suspended", None, 0)
    if saga.status is SagaStatus.SCHEDULED:
        yield ("saga", -1), ("waiting", None, 0)
    for place, state in enumerate(saga.steps):
        generation = state.generation
        if state.held:
            yield ("forward", place), ("held", None, generation)
        elif state.outcome is Outcome.ISSUED:
            kind = "waiting" if definition.steps[place].external else "action"
            yield ("forward", place), (kind, state.attempt, generation)
        elif state.outcome is Outcome.BACKING_OFF:
            yield ("forward", place), ("pause", state.attempt, generation)
        if state.undo is Undo.ISSUED:
            yield ("compensation", place), ("compensation", state.undo_attempt, generation)
        elif state.undo in (Undo.BACKING_OFF, Undo.DEAD_LETTERED) and state.deadline_ms is not None:
            yield ("compensation", place), ("pause", state.undo_attempt, generation)


def _opened(key: _Key, phase: _Phase, moment: Moment, definition: SagaDefinition) -> Interval:
    lane, place = key
    step = None if place < 0 else definition.steps[place]
    kind, attempt, _ = phase
    name, participant = (None, None) if step is None else (step.name, step.participant or None)
    return Interval(lane, name, participant, kind, attempt, moment.entry.at)


def _closed(interval: Interval, key: _Key, moment: Moment) -> Interval:
    lane, place = key
    outcome = None
    if interval.kind in ("action", "compensation") or (interval.kind == "waiting" and place >= 0):
        state = moment.saga.steps[place]
        of_step = getattr(moment.event, "step_name", None) == interval.step
        outcome = (outcome_of(moment.event) if of_step else None) or str(
            state.undo if lane == "compensation" else state.outcome
        )
    return msgspec.structs.replace(interval, end=moment.entry.at, outcome=outcome)
