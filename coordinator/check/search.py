"""The search: from the beginnings of a saga through everything that can happen, and what must hold of all of it.

A world is the state of a saga and what is known of its participants. Worlds are visited nearest first, so that the
first way on which a promise breaks is a shortest one. Messages are not kept: whatever was sent can be answered at any
moment, again and again, in any order, or never.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from coordinator.check import graph, promises
from coordinator.check.machine import Change, Machine, Refuted, Sent
from coordinator.check.participants import DUTIFUL, Duties, Fate, Participant, Said
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.events import Resolution, ResolveRequested
from coordinator.saga.model import Direction, Facing, Outcome, Saga, SagaStatus, Undo

World = tuple[int, tuple[int, ...]]  # the number of the saga's state, and for each step that of its participant's
TELL_EVERY = 500  # worlds between two reports of progress


class Refutation(NamedTuple):
    """A promise that does not hold, and the way that shows it; `Change`s of one saga, the last one breaks it."""

    sentence: str
    way: list[Change]


class Search:
    """One search through one definition; `worlds` and `transitions` say how far it came."""

    def __init__(self, definition: SagaDefinition, duties: Duties = DUTIFUL) -> None:
        self.machine = Machine(definition, duties)
        self._definition = self.machine.definition
        self._duties = duties
        self._participants: list[Participant] = []
        self._participant_numbers: dict[Participant, int] = {}
        self._answers: list[list[tuple[Said, int]]] = []
        self._worlds: list[World] = []
        self._numbers: dict[World, int] = {}
        self._came_from: list[tuple[int, Change]] = []
        self._waiting: deque[int] = deque()
        self._leads_back: dict[int, list[int]] = {}  # where an operator did it
        self._leads_back_alone: dict[int, list[int]] = {}
        self.transitions = 0

    @property
    def worlds(self) -> int:
        """How many worlds were found."""
        return len(self._worlds)

    def run(self, tell: Callable[[int, int], None] = lambda _worlds, _transitions: None) -> Refutation | None:
        """Search everything; `tell` hears of worlds and transitions on the way. None when every promise holds."""
        world = -1
        try:
            quiet = (self._number_of(Participant()),) * len(self._definition.steps)
            for change in self.machine.beginnings():
                self._arrive(-1, change, self._sent(change, quiet))
            while self._waiting:
                world = self._waiting.popleft()
                for change, everyone in self._following(self._worlds[world]):
                    self._arrive(world, change, everyone)
                if world % TELL_EVERY == 0:
                    tell(self.worlds, self.transitions)
        except Refuted as broken:
            return Refutation(broken.sentence, self._way(world, broken.change))
        return self._broken_by_all_ways()

    # ------------------------------------------------------------ from world to world

    def _following(self, world: World) -> Iterator[tuple[Change, tuple[int, ...]]]:
        number, everyone = world
        for change in self.machine.by_itself(number):
            told = self._told_by_operator(change, everyone)
            if told is not None:
                yield change, self._sent(change, told)
        saga = self.machine.sagas.met[number]
        if saga.status is SagaStatus.ABANDONED:
            return  # anything may be left, and what comes late was tried for each state of a step
        for position, participant in enumerate(everyone):
            if self._speaks_later(saga, position):
                continue
            for said, afterwards in self._answers[participant]:
                for change in self.machine.on_reply(number, position, said):
                    yield change, self._sent(change, _with(everyone, position, afterwards))

    def _speaks_later(self, saga: Saga, position: int) -> bool:
        """What a step to be undone still says comes as late, and means the same, when its own undo is open."""
        if saga.facing is Facing.FORWARD:
            return False
        state = saga.steps[position]
        if state.undo is not Undo.NONE:
            return state.undo is Undo.OWED
        return state.outcome is Outcome.UNKNOWN and self._definition.steps[position].compensation is not None

    def _told_by_operator(self, change: Change, everyone: tuple[int, ...]) -> tuple[int, ...] | None:
        """Operators say the truth: what is known afterwards, None where the word contradicts what is known already."""
        event, position = change.happening.event, change.happening.about
        if not isinstance(event, ResolveRequested) or self._definition.steps[position].external:
            return everyone
        one = self._participants[everyone[position]]
        match event.resolution, one.fate:
            case (Resolution.FAILED, Fate.DONE | Fate.UNDONE):
                return None
            case (Resolution.COMPLETED, _):
                fate = Fate.DONE
            case (Resolution.UNDONE, Fate.OPEN | Fate.DONE | Fate.UNDONE):
                fate = Fate.UNDONE
            case _:
                fate = Fate.REFUSED
        return _with(everyone, position, self._number_of(one._replace(fate=fate)))

    def _sent(self, change: Change, everyone: tuple[int, ...]) -> tuple[int, ...]:
        """What is known when the commands of a change are on their way; raises Refuted when they must not be."""
        for position in change.anew:
            sentence = promises.may_ask_anew(self._definition, self._known(everyone), position)
            if sentence is not None:
                raise Refuted(sentence, change)
            everyone = _with(everyone, position, self._number_of(Participant()))
        for sent in change.sent:
            self._check_sent(change, everyone, sent)
            one = self._participants[everyone[sent.position]]
            undo = sent.direction is Direction.COMPENSATION
            after = one._replace(undo_asked=True) if undo else one._replace(asked=True)
            if after != one:
                everyone = _with(everyone, sent.position, self._number_of(after))
        return everyone

    def _arrive(self, world: int, change: Change, everyone: tuple[int, ...]) -> None:
        self.transitions += 1
        following = change.after, everyone
        number = self._numbers.get(following)
        if number is None:
            number = self._numbers[following] = len(self._worlds)
            self._worlds.append(following)
            self._came_from.append((world, change))
            self._waiting.append(number)
            self._check_left_behind(change, everyone)
        if world >= 0 and number != world:
            leads_back = self._leads_back if change.happening.by_operator else self._leads_back_alone
            leads_back.setdefault(number, []).append(world)

    def _number_of(self, participant: Participant) -> int:
        number = self._participant_numbers.get(participant)
        if number is None:
            number = self._participant_numbers[participant] = len(self._participants)
            self._participants.append(participant)
            self._answers.append([])
            self._answers[number] = [
                (said, self._number_of(afterwards)) for said, afterwards in participant.answers(self._duties)
            ]
        return number

    # ------------------------------------------------------------ what must hold

    def _check_sent(self, change: Change, everyone: tuple[int, ...], sent: Sent) -> None:
        known = self._known(everyone)
        if sent.direction is Direction.COMPENSATION:
            sentence = promises.may_undo(self._definition, known, sent.position)
        else:
            sentence = promises.may_act(self._definition, self.machine.sagas.met[change.after], known, sent.position)
        if sentence is not None:
            raise Refuted(sentence, change)

    def _check_left_behind(self, change: Change, everyone: tuple[int, ...]) -> None:
        saga = self.machine.sagas.met[change.after]
        if saga.status in (SagaStatus.FAILED, SagaStatus.COMPLETED):
            sentence = promises.left_behind(self._definition, saga, self._known(everyone))
            if sentence is not None:
                raise Refuted(sentence, change)

    def _broken_by_all_ways(self) -> Refutation | None:
        sagas = self.machine.sagas.met
        hanging = graph.hangs(sagas, self.machine.timers)
        if hanging is not None:
            world = next(number for number, (saga, _) in enumerate(self._worlds) if saga == hanging)
            return Refutation("the saga hangs when nobody answers", self._way(world))
        statuses = [sagas[saga].status for saga, _ in self._worlds]
        completed = [world for world, status in enumerate(statuses) if status is SagaStatus.COMPLETED]
        hopeful = graph.reaching(completed, self._leads_back_alone)
        ends = [*completed, *(world for world, status in enumerate(statuses) if status is SagaStatus.FAILED)]
        ending = graph.reaching(ends, self._leads_back_alone, self._leads_back)
        for world, (saga, _) in enumerate(self._worlds):
            if world not in hopeful and graph.is_hopeful(sagas[saga]):
                return Refutation("the saga goes forward, and can never be completed", self._way(world))
            if world not in ending and statuses[world] is not SagaStatus.ABANDONED:
                return Refutation("no end but abandonment can be reached from here", self._way(world))
        return None

    def _way(self, world: int, last: Change | None = None) -> list[Change]:
        way = [] if last is None else [last]
        while world >= 0:
            world, change = self._came_from[world]
            way.append(change)
        return way[::-1]

    def _known(self, everyone: tuple[int, ...]) -> promises.Everyone:
        return tuple(self._participants[number] for number in everyone)


def _with(everyone: tuple[int, ...], position: int, participant: int) -> tuple[int, ...]:
    if everyone[position] == participant:
        return everyone
    return (*everyone[:position], participant, *everyone[position + 1 :])
