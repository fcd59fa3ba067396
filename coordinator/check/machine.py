"""The real machine as the search sees it: from a numbered state of a saga, everything that can follow.

Each decision is made once and remembered, and the promises about decisions are checked when it is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from coordinator.check import happenings
from coordinator.check.choices import Held, Oracle
from coordinator.check.essence import Sagas
from coordinator.check.happenings import SAGA_ID, Happening
from coordinator.check.participants import Duties, Said
from coordinator.check.promises import MOVES, OF_THE_DUTIFUL, Move, kept_by, nothing_follows
from coordinator.check.shrink import INPUT, shrink
from coordinator.errors import Conflict
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import Effect, IssueCommand, Moved
from coordinator.saga.events import StartDue
from coordinator.saga.machine import begin, decide
from coordinator.saga.model import Direction, Saga, SagaStatus


class Sent(NamedTuple):
    """A command that goes out."""

    position: int
    direction: Direction


class Change(NamedTuple):
    """A saga goes from one state to another.

    `told` is what conditions and payloads said meanwhile, `anew` the positions of the steps with another generation.
    """

    before: int
    happening: Happening
    after: int
    effects: tuple[Effect, ...]
    told: tuple[str, ...]
    sent: tuple[Sent, ...]
    anew: tuple[int, ...]


class Refuted(Exception):
    """A promise does not hold after a change."""

    def __init__(self, sentence: str, change: Change) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.change = change


class Machine:
    """Everything that one definition's sagas can do; `timers` are the ways that lead on when nobody answers."""

    def __init__(self, definition: SagaDefinition, duties: Duties) -> None:
        self._oracle = Oracle()
        self._held = Held(self._oracle)
        self.definition = shrink(definition, self._oracle)
        self.sagas = Sagas()
        self.timers: dict[int, list[int]] = {}
        self.arrows: set[tuple[SagaStatus, str, SagaStatus]] = set()
        self._promises = (*MOVES, OF_THE_DUTIFUL) if duties.tombstones else MOVES
        self._replies: dict[tuple[int, int, Said], list[Change]] = {}
        self._own: dict[int, list[Change]] = {}
        self._said = happenings.Replies(self.definition)
        self._verbs = happenings.Verbs(self.definition)
        self._outside = tuple(happenings.from_outside(self.definition))
        self._futile: set[tuple[object, ...]] = set()
        self._misfits_tried: set[tuple[object, ...]] = set()

    def beginnings(self) -> list[Change]:
        """How a saga begins: at once, or scheduled for later."""
        return [*self._begin("", None), *self._begin(" start_in=1h", 1)]

    def _begin(self, line: str, start_at_ms: int | None) -> Iterator[Change]:
        happening = Happening(line, StartDue())

        def begun() -> Moved:
            return begin(self.definition, SAGA_ID, now_ms=0, input_=INPUT, start_at_ms=start_at_ms, held=self._held)

        for moved in self._oracle.runs(begun):
            yield self._change(-1, happening, moved)

    def by_itself(self, number: int) -> list[Change]:
        """What can happen to a saga without a participant: time, people outside, and operators."""
        found = self._own.get(number)
        if found is None:
            self._try_misfits(number)
            found = self._own[number] = list(self._happen_by_itself(number))
        return found

    def on_reply(self, number: int, position: int, said: Said) -> list[Change]:
        """What follows from a participant's answer; an empty list when nothing changes."""
        key = number, position, said
        found = self._replies.get(key)
        if found is None:
            saga = self.sagas.met[number]
            happening = self._said.of(saga, position, said)
            found = self._replies[key] = list(self._follow(number, saga, happening))
        return found

    def _happen_by_itself(self, number: int) -> Iterator[Change]:
        saga = self.sagas.met[number]
        timers = self.timers[number] = []
        for happening in happenings.timers(self.definition, saga):
            for change in self._follow(number, saga, happening):
                timers.append(change.after)
                yield change
        for happening in (*self._outside, *self._verbs.of(saga)):
            yield from self._follow(number, saga, happening)

    def _follow(self, number: int, saga: Saga, happening: Happening) -> Iterator[Change]:
        """Let something happen, once for each way in which conditions and payloads can turn out.

        Whether an answer or a word about one step changes anything is a matter of that step, and of the status and
        the facing of its saga: what changed nothing is not tried again where these are the same.
        """
        local = happening.about >= 0
        key = happening.line, saga.status, saga.facing, id(saga.steps[happening.about])
        if local and key in self._futile:
            return
        is_futile = local
        for decision in self._oracle.runs(lambda: self._decide(saga, happening)):
            if isinstance(decision, Moved):
                is_futile = False
                yield self._change(number, happening, decision)
        if is_futile:
            self._futile.add(key)

    def _decide(self, saga: Saga, happening: Happening) -> Moved | None:
        try:
            decision = decide(self.definition, saga, happening.event, now_ms=0, roll=0, held=self._held)
        except Conflict:
            return None
        return decision if isinstance(decision, Moved) else None

    def _change(self, number: int, happening: Happening, moved: Moved) -> Change:
        after = self.sagas.number(moved.saga)
        sent = tuple(
            Sent(effect.step, effect.direction) for effect in moved.effects if isinstance(effect, IssueCommand)
        )
        anew = self._anew(self.sagas.met[number], moved.saga) if number >= 0 and happening.by_operator else ()
        change = Change(number, happening, after, moved.effects, tuple(self._oracle.said), sent, anew)
        if number >= 0:
            before = self.sagas.met[number]
            self.arrows.add((before.status, type(happening.event).__name__, moved.saga.status))
            sentence = kept_by(Move.of(self.definition, before, happening, moved.saga, moved.effects), self._promises)
            if sentence is not None:
                raise Refuted(sentence, change)
        return change

    @staticmethod
    def _anew(before: Saga, after: Saga) -> tuple[int, ...]:
        pairs = enumerate(zip(before.steps, after.steps, strict=True))
        return tuple(position for position, (old, new) in pairs if new.generation > old.generation)

    def _try_misfits(self, number: int) -> None:
        """Try what must change nothing: once for each status and facing of the saga and each state of a step."""
        saga = self.sagas.met[number]
        for position, state in enumerate(saga.steps):
            key = (saga.status, saga.facing, position, id(state))
            if key in self._misfits_tried:
                continue
            self._misfits_tried.add(key)
            for happening in happenings.misfits(self.definition, saga, position):
                for change in self._follow(number, saga, happening):
                    sentence = nothing_follows(saga, self.sagas.met[change.after])
                    if sentence is not None:
                        raise Refuted(sentence, change)
            if saga.status is SagaStatus.ABANDONED and not self.definition.steps[position].external:
                for said in Said:
                    self.on_reply(number, position, said)
