"""An exhaustive search: one saga, its participants and the network, every order of everything that can happen.

The network is the set of every message ever sent, so that loss, delay, duplication and reordering need no rules
of their own: any message may be delivered at any moment, again and again, or never. Timers fire at any moment.
The coordinator is the real begin, decide and due; only the participants are a model. Each has one action and one
compensation, remembers what it answered, and leaves a tombstone where there was nothing to undo.

Every world that can be reached is checked for what must always hold (`_check_world`, `_check_move`). From every
world an end must be reachable, and timers alone must bring every saga to rest: ended, or suspended for a person.
A broken promise raises Broken with the way that led there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import IncidentReason, IssueCommand, Moved, OpenIncident
from coordinator.saga.events import (
    CompensationCompleted,
    CompensationFailed,
    Event,
    Failure,
    RetryRequested,
    StepCompleted,
    StepFailed,
)
from coordinator.saga.machine import begin, decide, due
from coordinator.saga.model import (
    TERMINAL,
    Direction,
    Facing,
    Outcome,
    Saga,
    SagaStatus,
    Undo,
    UndoEffect,
    command_id,
    dump_state,
)

SAGA_ID = "5a9a0000-0000-4000-8000-000000000001"
LATER_MS = 10**15
RETRY = RetryRequested("operator", "again")
OPEN_OUTCOMES = (Outcome.ISSUED, Outcome.BACKING_OFF)
OPEN_UNDOS = (Undo.ISSUED, Undo.BACKING_OFF)
RESTING = TERMINAL | {SagaStatus.SUSPENDED}
PATIENCE = 100  # more timers than the budgets of a small definition allow


class Broken(AssertionError):
    """A promise that does not hold, with the way that leads to it."""


class Message(NamedTuple):
    """A command (`said` is empty) or a reply."""

    step: int
    direction: Direction
    attempt: int
    said: str = ""


class Duties(NamedTuple):
    """How the participants behave: whether they leave tombstones, and whether they sometimes fail for now."""

    tombstones: bool = True
    hiccups: bool = True


DUTIFUL = Duties()


class Participant(NamedTuple):
    """What one step's participant remembers of its action and of its compensation."""

    action: str = ""  # "" | completed | failed
    undo: str = ""  # "" | undone | nothing_to_undo

    @property
    def has_effect(self) -> bool:
        """Say whether the action's effect is there."""
        return self.action == "completed" and self.undo != "undone"

    def receive(self, command: Message, duties: Duties) -> Iterator[tuple[Participant, str]]:
        """Say what it may do with a command: what it remembers afterwards, and its answer."""
        if command.direction is Direction.ACTION:
            if self.action:
                yield self, self.action
            elif self.undo and duties.tombstones:
                yield Participant("failed", self.undo), "failed"
            else:
                yield Participant("completed", self.undo), "completed"
                yield Participant("failed", self.undo), "failed"
                if duties.hiccups:
                    yield self, "retryable"
        elif self.undo:
            yield self, self.undo
        else:
            undo = "undone" if self.action == "completed" else "nothing_to_undo"
            yield Participant(self.action, undo), undo
            if duties.hiccups:
                yield self, "undo_failed"


class World(NamedTuple):
    """Everything there is; `state` and `status` stand for the saga, whose version does not matter."""

    status: SagaStatus
    state: bytes
    network: frozenset[Message]
    participants: tuple[Participant, ...]
    retries: int


class Search:
    """The worlds that a definition can get into, when an operator retries at most `retries` times."""

    def __init__(self, definition: SagaDefinition, retries: int = 0, duties: Duties = DUTIFUL) -> None:
        self.definition = definition
        self.duties = duties
        self.moves: set[tuple[SagaStatus, str, SagaStatus]] = set()
        self._sagas: dict[tuple[SagaStatus, bytes], Saga] = {}
        self._decisions: dict[tuple[SagaStatus, bytes, object], Moved | None] = {}
        self._events: dict[Message, Event] = {}
        self._at_rest: set[tuple[SagaStatus, bytes]] = set()
        first = begin(definition, SAGA_ID, now_ms=0)
        quiet = tuple(Participant() for _ in definition.steps)
        self.start = self._after(World(first.saga.status, b"", frozenset(), quiet, retries), first)
        self.came_from: dict[World, tuple[World, object] | None] = {self.start: None}

    def run(self) -> int:
        """Visit every world, check it, and say how many there are."""
        leads_back: dict[World, list[World]] = {}
        waiting = [self.start]
        while waiting:
            world = waiting.pop()
            self._check_world(world)
            self._check_silence(world)
            for cause, following in self._following(world):
                if following is world:
                    continue
                leads_back.setdefault(following, []).append(world)
                if following not in self.came_from:
                    self.came_from[following] = world, cause
                    waiting.append(following)
        self._check_ends(leads_back)
        return len(self.came_from)

    def _following(self, world: World) -> Iterator[tuple[object, World]]:
        saga = self._sagas[world.status, world.state]
        for message in world.network:
            if message.said:
                yield message, self._decide(world, saga, self._event(message), message)
                continue
            place = message.step
            one = world.participants[place]
            for after, said in one.receive(message, self.duties):
                attempt = message.attempt if said in ("retryable", "undo_failed") else 0
                reply = Message(place, message.direction, attempt, said)
                if after is not one or reply not in world.network:
                    everyone = (*world.participants[:place], after, *world.participants[place + 1 :])
                    network = world.network | {reply}
                    yield message, World(world.status, world.state, network, everyone, world.retries)
        for timer in due(self.definition, saga, now_ms=LATER_MS):
            yield timer, self._decide(world, saga, timer, timer)
        if world.status is SagaStatus.SUSPENDED and world.retries:
            yield RETRY, self._decide(world._replace(retries=world.retries - 1), saga, RETRY, RETRY)

    def _decide(self, world: World, saga: Saga, event: Event, cause: object) -> World:
        key = (world.status, world.state, cause)
        if key not in self._decisions:
            decision = decide(self.definition, saga, event, now_ms=0, roll=0)
            self._decisions[key] = decision if isinstance(decision, Moved) else None
        moved = self._decisions[key]
        if moved is None:
            return world
        self.moves.add((saga.status, type(event).__name__, moved.saga.status))
        self._check_move(world, saga, moved)
        return self._after(world, moved)

    def _after(self, world: World, moved: Moved) -> World:
        saga = moved.saga
        state = dump_state(saga)
        self._sagas.setdefault((saga.status, state), saga)
        sent = {Message(e.step, e.direction, e.attempt) for e in moved.effects if isinstance(e, IssueCommand)}
        return World(saga.status, state, world.network | sent, world.participants, world.retries)

    def _event(self, reply: Message) -> Event:
        if reply not in self._events:
            step = self.definition.steps[reply.step]
            identity = command_id(SAGA_ID, 1, step.name, reply.direction)
            named = (identity, step.name, step.participant, reply.attempt)
            error = Failure("declined", "it cannot be done", retryable=reply.said == "retryable")
            events: dict[str, Event] = {
                "completed": StepCompleted(*named, msgspec.Raw(b"{}")),
                "failed": StepFailed(*named, error),
                "retryable": StepFailed(*named, error),
                "undone": CompensationCompleted(*named, UndoEffect.UNDONE),
                "nothing_to_undo": CompensationCompleted(*named, UndoEffect.NOTHING_TO_UNDO),
                "undo_failed": CompensationFailed(*named, error),
            }
            self._events[reply] = events[reply.said]
        return self._events[reply]

    def _check_world(self, world: World) -> None:
        saga = self._sagas[world.status, world.state]
        pairs = list(zip(self.definition.steps, world.participants, saga.steps, strict=True))
        left = [step.name for step, participant, _ in pairs if participant.has_effect and step.compensation]
        if world.status is SagaStatus.FAILED and left:
            self._broken(world, f"the saga failed, and {left} is still done")
        if world.status is SagaStatus.COMPLETED and not all(one.has_effect for one in world.participants):
            self._broken(world, "the saga completed, and not everything is done")
        is_open = sum((state.outcome in OPEN_OUTCOMES) + (state.undo in OPEN_UNDOS) for _, _, state in pairs)
        if is_open != (world.status not in RESTING):
            self._broken(world, f"{is_open} commands are open while the saga is {world.status}")

    def _check_move(self, world: World, saga: Saga, moved: Moved) -> None:
        for before, after in zip(saga.steps, moved.saga.steps, strict=True):
            if before.outcome in (Outcome.UNKNOWN, Outcome.FAILED) and after.outcome is not before.outcome:
                self._broken(world, "a settled outcome was revived")
        if saga.facing is Facing.BACKWARD and moved.saga.facing is Facing.FORWARD:
            self._broken(world, "a saga that had turned back went forward again")
        for effect in moved.effects:
            match effect:
                case OpenIncident(IncidentReason.CONFLICTING_UNDO) if self.duties.tombstones:
                    self._broken(world, "a participant that did its duty was accused")
                case IssueCommand(position, Direction.ACTION):
                    self._check_action(world, saga, position)
                case IssueCommand(position, Direction.COMPENSATION):
                    self._check_compensation(world, position)

    def _check_action(self, world: World, saga: Saga, position: int) -> None:
        if saga.facing is Facing.BACKWARD:
            self._broken(world, "a forward command was sent on the way back")
        if not all(one.has_effect for one in world.participants[:position]):
            self._broken(world, "a forward command was sent before the step before it was done")
        if any(message.step > position for message in world.network):
            self._broken(world, "a forward command was sent after that of a later step")

    def _check_compensation(self, world: World, position: int) -> None:
        later = list(zip(self.definition.steps, world.participants, strict=True))[position + 1 :]
        if any(step.compensation and one.has_effect for step, one in later):
            self._broken(world, "a step was undone before a later one")

    def _check_silence(self, world: World) -> None:
        """Let nothing but time happen to the saga, once for each state of it."""
        if (world.status, world.state) in self._at_rest:
            return
        saga = self._sagas[world.status, world.state]
        for _ in range(PATIENCE):
            timers = due(self.definition, saga, now_ms=LATER_MS)
            if not timers:
                break
            decision = decide(self.definition, saga, timers[0], now_ms=0, roll=0)
            saga = decision.saga if isinstance(decision, Moved) else saga
        if saga.status not in RESTING:
            self._broken(world, "the saga hangs when nobody answers")
        self._at_rest.add((world.status, world.state))

    def _check_ends(self, leads_back: dict[World, list[World]]) -> None:
        ends = [
            world
            for world in self.came_from
            if world.status in TERMINAL or (world.status is SagaStatus.SUSPENDED and not world.retries)
        ]
        reaching = set(ends)
        while ends:
            for world in leads_back.get(ends.pop(), ()):
                if world not in reaching:
                    reaching.add(world)
                    ends.append(world)
        for world in self.came_from:
            if world not in reaching:
                self._broken(world, "no end can be reached from here")

    def _broken(self, world: World, sentence: str) -> None:
        way: list[str] = []
        step = self.came_from.get(world)
        while step is not None:
            world, cause = step
            way.append(f"  {world.status}: {cause}")
            step = self.came_from[world]
        raise Broken("\n".join([sentence, *reversed(way)]))
