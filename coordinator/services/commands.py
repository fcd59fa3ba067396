"""The commands that a saga has issued: which, when, and what came of each."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import IssueCommand
from coordinator.saga.events import CompensationCompleted, DeadlinePassed, Reply, StepCompleted
from coordinator.saga.model import Direction, command_id
from coordinator.services.history import History, Moment
from coordinator.wire.rfc3339 import format_ms


class CommandView(msgspec.Struct, frozen=True):
    """One attempt of a command. `outcome` is null while nothing is known; `unsent` while Kafka is not known to have it.

    `outcome` is what the participant said of this attempt (completed, failed, undone, nothing_to_undo) or timed_out.
    """

    step: str
    participant: str
    type: str
    direction: str
    command_id: str
    attempt: int
    issued_at: str
    deadline: str | None
    answered_at: str | None
    outcome: str | None
    unsent: bool


_Key = tuple[str, str, int]  # step, direction, attempt


def commands_of(history: History, definition: SagaDefinition, unsent: Collection[tuple[int, int]]) -> list[CommandView]:
    """The commands of a history, oldest first; `unsent` are (version, position) of those in the outbox."""
    found: list[CommandView] = []
    places: dict[_Key, int] = {}  # of the newest generation, which is the one that answers are for
    for moment in history.moments:
        _note_answer(moment, found, places)
        for position, effect in enumerate(moment.effects):
            if isinstance(effect, IssueCommand):
                view = _issued(moment, effect, definition, (moment.entry.version, position) in unsent)
                places[view.step, view.direction, view.attempt] = len(found)
                found.append(view)
    return found


def _issued(moment: Moment, effect: IssueCommand, definition: SagaDefinition, unsent: bool) -> CommandView:
    step, state = definition.steps[effect.step], moment.saga.steps[effect.step]
    is_action = effect.direction is Direction.ACTION
    return CommandView(
        step.name,
        step.participant,
        step.action if is_action else step.compensation or "",
        effect.direction,
        command_id(moment.saga.id, state.generation, step.name, effect.direction),
        effect.attempt,
        moment.entry.at,
        None if state.deadline_ms is None else format_ms(state.deadline_ms),
        None,
        None,
        unsent,
    )


def _note_answer(moment: Moment, found: list[CommandView], places: dict[_Key, int]) -> None:
    event = moment.event
    if not isinstance(event, Reply | DeadlinePassed):
        return
    place = places.get((event.step_name, event.direction, event.attempt))
    outcome = outcome_of(event)
    if place is None or outcome is None:
        return
    answered_at = moment.entry.at if isinstance(event, Reply) else None
    found[place] = msgspec.structs.replace(found[place], answered_at=answered_at, outcome=outcome)


def outcome_of(event: object) -> str | None:
    """What an event says of the attempt that it is about; None when it says nothing."""
    match event:
        case StepCompleted():
            return "completed"
        case CompensationCompleted():
            return event.effect
        case DeadlinePassed():
            return "timed_out"
        case Reply():
            return "failed" if hasattr(event, "error") else None
        case _:
            return None
