"""A batch in the making: decisions become rows of one statement and records for Kafka.

Several transitions of one saga fold into one row update (version v to v+k, k log entries). Nothing here touches
the cache or Kafka; whoever commits the draft does both afterwards, or throws it away.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from coordinator.engine.cache import ActiveSaga
from coordinator.engine.flow import Taken
from coordinator.engine.journal import BEGAN, began, entry
from coordinator.engine.messages import CommandBuilder
from coordinator.engine.tracing import command_span
from coordinator.kafka.records import Outgoing
from coordinator.observability.tracing import Span
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import (
    CloseLetter,
    DeadLetterCommand,
    Effect,
    IssueCommand,
    Moved,
    OpenIncident,
    ResolveIncidents,
)
from coordinator.saga.events import Event
from coordinator.saga.model import RESTING, Direction, Saga, SagaStatus, command_id, dump_state
from coordinator.store.batch import Batch, Token


class Transitioned(msgspec.Struct, gc=False):
    """One transition of a draft: what metrics, logs and lifecycle events want to know of it; `before` it the saga."""

    active: ActiveSaga
    before: Saga | None
    saga: Saga
    event: str
    step_name: str | None


class Written(msgspec.Struct, gc=False):
    """A saga as the draft leaves it; `waking_ms` is when to look at it again by itself."""

    active: ActiveSaga
    saga: Saga
    waking_ms: int | None = None


class Draft:
    """Collects what one statement will write and what will be published after it.

    `taken` is the room that it took of participants: whoever throws the draft away gives it back. `spans` are those of
    traces that are recorded.
    """

    def __init__(self, commands: CommandBuilder, *, unless_unsent: bool = False) -> None:
        self._commands = commands
        self._unless_unsent = unless_unsent
        self.batch = Batch()
        self.records: list[Outgoing] = []
        self.transitions: list[Transitioned] = []
        self.taken: list[Taken] = []
        self.spans: list[Span] = []
        self._begun: dict[str, Written] = {}
        self._moved: dict[str, Written] = {}

    @property
    def saga_ids(self) -> list[str]:
        """The sagas that the draft writes."""
        return [*self._moved, *self._begun]

    def current(self, active: ActiveSaga) -> Saga:
        """The saga as the draft leaves it so far."""
        moved = self._moved.get(active.id)
        return active.saga if moved is None else moved.saga

    def begin(self, active: ActiveSaga, moved: Moved, input_hash: bytes, now_ms: int, *, holding: bool = False) -> None:
        """Add a new saga with its key, first log entry and first command; `holding`: flow control may hold steps."""
        saga = moved.saga
        data = began(now_ms, saga.starts_ms, _held_steps(active, saga) if holding else ())
        waking_ms, letters = saga.waits  # a new saga does not rest
        self.batch.start(
            saga.definition,
            active.business_key,
            saga.id,
            input_hash,
            active.part,
            active.definition_id,
            active.traceparent,
            active.input,
            saga.version,
            waking_ms,
            saga.status,
            dump_state(saga),
            letters,
            _first_wake_ms(active.definition, saga.status, waking_ms, now_ms),
        )
        self.batch.tally(active.definition_id, None, saga.status)
        self.batch.log(saga.id, saga.version, active.part, BEGAN, None, saga.status, data)
        self._begun[saga.id] = Written(active, saga, waking_ms)
        self._obey(active, saga, moved.effects, now_ms)
        self.transitions.append(Transitioned(active, None, saga, BEGAN, None))

    def move(
        self,
        active: ActiveSaga,
        before: Saga,
        event: Event,
        moved: Moved,
        now_ms: int,
        roll: float,
        *,
        holding: bool = False,
    ) -> None:
        """Add one transition of a saga, built on `before`, which is `current(active)`; `holding` as in `begin`."""
        saga = moved.saga
        name, step_name, data = entry(event, now_ms, roll, _held_steps(active, saga) if holding else ())
        self.batch.log(saga.id, saga.version, active.part, name, step_name, saga.status, data)
        self._moved[saga.id] = Written(active, saga)
        if moved.effects:
            self._obey(active, saga, moved.effects, now_ms)
        self.transitions.append(Transitioned(active, before, saga, name, step_name))

    def finish(self) -> Batch:
        """Write one row update per moved saga; call once, when every decision is in."""
        move, tally = self.batch.move, self.batch.tally
        guarded = self._unless_unsent
        for written in self._moved.values():
            saga, before = written.saga, written.active.saga
            status = saga.status
            waking_ms, letters = saga.waits
            if status in RESTING:
                waking_ms = None
            written.waking_ms = waking_ms
            move(saga.id, before.version, saga.version, status, dump_state(saga), waking_ms, guarded, letters)
            if status is not before.status:
                tally(written.active.definition_id, before.status, status)
        return self.batch

    def settle(self) -> list[Written]:
        """After the commit: let the active sagas be what was written; answers all that was."""
        moved = list(self._moved.values())
        for written in moved:
            written.active.saga = written.saga
        return [*moved, *self._begun.values()]

    def _obey(self, active: ActiveSaga, saga: Saga, effects: tuple[Effect, ...], now_ms: int) -> None:
        for position, effect in enumerate(effects):
            match effect:
                case IssueCommand():
                    self._issue(active, saga, effect, Token(saga.id, saga.version, position), now_ms)
                case OpenIncident():
                    step = None if effect.step is None else active.definition.steps[effect.step].name
                    self.batch.open_incident(saga.id, saga.version, effect.reason, step, effect.detail)
                case ResolveIncidents():
                    self.batch.resolve_incidents(saga.id, effect.by)
                case DeadLetterCommand():
                    self._set_aside(active, saga, effect, now_ms)
                case CloseLetter():
                    self._close_letter(active, saga, effect)
                case _:
                    assert_never(effect)

    def _issue(self, active: ActiveSaga, saga: Saga, effect: IssueCommand, token: Token, now_ms: int) -> None:
        command = self._commands.build(active, saga, effect, now_ms)
        context = active.traceparent
        if self._commands.tracing is not None:
            name = active.definition.steps[effect.step].name
            span = command_span(active, command, name, effect.direction)
            if span is not None:
                self.spans.append(span)
                context = span.context
        self.batch.send(
            token,
            active.part,
            command.destination,
            command.partition,
            command.type,
            context,
            command.payload,
        )
        self.records.append(self._commands.record(command, active, token, now_ms, context))

    def _close_letter(self, active: ActiveSaga, saga: Saga, effect: CloseLetter) -> None:
        name = active.definition.steps[effect.step].name
        generation = saga.steps[effect.step].generation
        self.batch.close_letter(saga.id, command_id(saga.id, generation, name, effect.direction))

    def _set_aside(self, active: ActiveSaga, saga: Saga, effect: DeadLetterCommand, now_ms: int) -> None:
        state = saga.steps[effect.step]
        undo = effect.direction is Direction.COMPENSATION
        again = IssueCommand(effect.step, effect.direction, state.undo_attempt if undo else state.attempt)
        command = self._commands.build(active, saga, again, now_ms)
        self.batch.set_aside_command(
            effect.direction,
            saga.id,
            saga.version,
            command.command_id,
            command.destination,
            command.partition,
            f"{effect.direction}_dead_lettered",
            effect.reason,
            command.payload,
        )


def _held_steps(active: ActiveSaga, saga: Saga) -> list[str]:
    return [step.name for step, state in zip(active.definition.steps, saga.steps, strict=True) if state.held]


def _first_wake_ms(definition: SagaDefinition, status: SagaStatus, waking_ms: int | None, now_ms: int) -> int | None:
    """When the row of a new saga wakes: no later than any step's deadline can be, so that no step moves it forward.

    A saga that is still at its first step then is looked at a little too early, once.
    """
    if waking_ms is None or status is SagaStatus.SCHEDULED:
        return waking_ms
    return min(waking_ms, now_ms + definition.shortest_ms)
