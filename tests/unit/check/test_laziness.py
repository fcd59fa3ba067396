"""Participants that are decided lazily, and messages that are not kept, lead to the same sagas as the naive model.

The naive model keeps every message that was ever sent, and lets each participant act when a command reaches it:
whatever was sent is delivered now, later, again, or never. It knows neither operators nor flow control.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import pytest

from coordinator.check import happenings
from coordinator.check.choices import Held, Oracle
from coordinator.check.essence import Sagas
from coordinator.check.happenings import LATER_MS, SAGA_ID
from coordinator.check.participants import Said
from coordinator.check.search import Search
from coordinator.check.shrink import INPUT, shrink
from coordinator.saga.definition import Retry, SagaDefinition, parallel
from coordinator.saga.effects import IssueCommand, Moved
from coordinator.saga.events import Event
from coordinator.saga.machine import begin, decide, due
from coordinator.saga.model import Direction, Kind, Saga
from tests.unit.check.samples import define, plain, step


class Message(NamedTuple):
    """A command (`said` is None) or a reply."""

    position: int
    direction: Direction
    attempt: int
    said: Said | None = None


class Memory(NamedTuple):
    """What a participant remembers of its action and of its compensation: its answers."""

    action: Said | None = None
    undo: Said | None = None

    def receive(self, direction: Direction) -> Iterator[tuple[Memory, Said]]:
        if direction is Direction.ACTION:
            if self.action is not None:
                yield self, self.action
            elif self.undo is not None:
                yield self._replace(action=Said.FAILED), Said.FAILED
            else:
                for said in (Said.COMPLETED, Said.PROBLEM, Said.FAILED):
                    yield self._replace(action=said), said
                yield self, Said.RETRYABLE
        elif self.undo is not None:
            yield self, self.undo
        else:
            undo = Said.UNDONE if self.action in (Said.COMPLETED, Said.PROBLEM) else Said.NOTHING
            yield self._replace(undo=undo), undo
            yield self, Said.UNDO_FAILED


World = tuple[int, frozenset[Message], tuple[Memory, ...]]


class Naive:
    """Everything that can happen to one definition's sagas, message by message."""

    def __init__(self, definition: SagaDefinition) -> None:
        self._definition = shrink(definition, Oracle())
        self.sagas = Sagas()

    def run(self) -> set[bytes]:
        """Every saga that can be reached, in its essence."""
        seen: set[World] = set()
        waiting = [self._arrive(self._begin(at), frozenset(), (Memory(),) * self._size) for at in (None, 1)]
        while waiting:
            world = waiting.pop()
            if world not in seen:
                seen.add(world)
                waiting += self._following(world)
        return {msgspec.json.encode(saga) for saga in self.sagas.met}

    @property
    def _size(self) -> int:
        return len(self._definition.steps)

    def _begin(self, start_at_ms: int | None) -> Moved:
        return begin(self._definition, SAGA_ID, now_ms=0, input_=INPUT, start_at_ms=start_at_ms)

    def _following(self, world: World) -> Iterator[World]:
        number, network, memories = world
        saga = self.sagas.met[number]
        for message in network:
            if message.said is not None:
                yield from self._decide(saga, self._event(saga, message, message.said), network, memories)
                continue
            place = message.position
            for after, said in memories[place].receive(message.direction):
                known = (*memories[:place], after, *memories[place + 1 :])
                yield number, network | {message._replace(said=said)}, known
        for timer in due(self._definition, saga, now_ms=LATER_MS):
            yield from self._decide(saga, timer, network, memories)

    def _event(self, saga: Saga, message: Message, said: Said) -> Event:
        return happenings.make_reply(
            self._definition.steps[message.position], said, saga.steps[message.position].generation, message.attempt
        )

    def _decide(
        self, saga: Saga, event: Event, network: frozenset[Message], memories: tuple[Memory, ...]
    ) -> Iterator[World]:
        decision = decide(self._definition, saga, event, now_ms=0, roll=0)
        if isinstance(decision, Moved):
            yield self._arrive(decision, network, memories)

    def _arrive(self, moved: Moved, network: frozenset[Message], memories: tuple[Memory, ...]) -> World:
        sent = {Message(e.step, e.direction, e.attempt) for e in moved.effects if isinstance(e, IssueCommand)}
        return self.sagas.number(moved.saga), network | sent, memories


@pytest.mark.parametrize(
    "definition",
    [
        plain(1, 2, 2),
        plain(2),
        define(*parallel("g", step("a"), step("b"))),
        define(step("a"), step("p", kind=Kind.PIVOT), step("z", kind=Kind.RETRIABLE)),
        define(step("a", 1, 1), recovery=Retry(attempts=1)),
    ],
    ids=["one", "two", "a group", "a pivot", "recovery"],
)
def test_lazy_participants_lead_to_the_same_sagas(definition: SagaDefinition, monkeypatch: pytest.MonkeyPatch) -> None:
    """No saga is missed because a participant was decided late, and none is invented.

    Only the late answers about steps that are still to be undone are put off, and only that makes fewer sagas.
    """
    monkeypatch.setattr(happenings.Verbs, "of", lambda _self, _saga: ())
    monkeypatch.setattr(Held, "__contains__", lambda _self, _participant: False)
    naive = Naive(definition).run()
    assert sagas_of(Search(definition)) <= naive
    monkeypatch.setattr(Search, "_speaks_later", lambda _self, _saga, _position: False)
    assert sagas_of(Search(definition)) == naive


def sagas_of(search: Search) -> set[bytes]:
    found = search.run()
    assert found is not None, "a suspended saga needs an operator"
    assert found.sentence == "no end but abandonment can be reached from here"
    return {msgspec.json.encode(saga) for saga in search.machine.sagas.met}
