"""Playing a scenario: one saga, the pure machine, and a clock that only `wait` moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError

from coordinator.errors import Conflict, InvariantError
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import Moved, Stayed, Verdict
from coordinator.saga.events import DeadlinePassed, Event, PublicationDelayed, Timer
from coordinator.saga.machine import DueTimer, begin, decide, due
from coordinator.saga.model import Saga
from coordinator.scenario import words
from coordinator.scenario.parser import INDENT, Line, parse
from coordinator.scenario.saying import event_of
from coordinator.scenario.shaping import length, shaped

SAGA_ID = "5a9a0000-0000-4000-8000-000000000001"
ROLL = 0.5  # every pause is half of its ceiling


@dataclass(frozen=True)
class Happened:
    """One event and what came of it; `decision` is the sentence of a refusal where the event was refused."""

    before: Saga
    event: Event
    decision: Moved | Stayed | str

    @property
    def after(self) -> Saga:
        """The saga after the event."""
        return self.decision.saga if isinstance(self.decision, Moved) else self.before


def play(text: str, definitions: Iterable[SagaDefinition]) -> tuple[str, Player]:
    """Play a scenario; answers it as it should read, and the player with what happened. Raises ScenarioError."""
    player = Player(definitions)
    return "\n".join(written for line in parse(text) for written in player.take(line)) + "\n", player


class Player:
    """Plays line after line; `history` is what has happened to the saga since it began."""

    def __init__(self, definitions: Iterable[SagaDefinition]) -> None:
        self.history: list[Happened] = []
        self.now_ms = 0
        self._begun: Moved | None = None
        self._known = {definition.name: definition for definition in definitions}
        self._definition: SagaDefinition | None = None
        self._saga: Saga | None = None
        self._input = b"{}"
        self._held: set[str] = set()

    @property
    def definition(self) -> SagaDefinition:
        """The definition as the scenario has shaped it; there is one once the saga has begun."""
        if self._definition is None:
            raise InvariantError("the saga has not begun")
        return self._definition

    @property
    def begun(self) -> Moved:
        """How the saga began."""
        if self._begun is None:
            raise InvariantError("the saga has not begun")
        return self._begun

    @property
    def saga(self) -> Saga:
        """The saga as it is now; there is one once it has begun."""
        if self._saga is None:
            raise InvariantError("the saga has not begun")
        return self._saga

    def take(self, line: Line) -> list[str]:
        """Play one line; answers it with what follows from it below. Raises ScenarioError."""
        answers = [INDENT + answer for answer in self._obey(line)] if line.verb else []
        return [line.text, *([] if line.untold else answers)]

    def _obey(self, line: Line) -> Iterator[str]:
        if line.verb == "given" and line.words == ("input",) and line.body is not None and self._saga is None:
            self._input = line.body
        elif line.verb == "begin" and len(line.words) == 1 and self._saga is None:
            yield from self._begin(line)
        elif line.verb in ("held", "released") and line.words:
            (self._held.update if line.verb == "held" else self._held.difference_update)(line.words)
        elif self._saga is None:
            raise line.wrong("the saga has not begun: `begin NAME` comes first, and only `given input` before it")
        elif line.verb == "wait":
            yield from self._wait(line)
        elif line.verb == "show" and not line.words:
            yield from words.shown(self.definition, self.saga)
        else:
            yield from self._decide(event_of(line, self.definition, self.saga))

    def _begin(self, line: Line) -> Iterator[str]:
        known = self._known.get(line.words[0])
        if known is None:
            raise line.wrong(f"there is no definition {line.words[0]}; known are {', '.join(sorted(self._known))}")
        definition = self._definition = shaped(known, line)
        if line.body is not None:
            self._input = line.body
        _check_input(line, definition, self._input)
        start_in = length(line, "start_in")
        start_at_ms = None if start_in is None else self.now_ms + start_in // timedelta(milliseconds=1)
        begun = self._begun = begin(
            definition, SAGA_ID, now_ms=self.now_ms, input_=self._input, start_at_ms=start_at_ms, held=self._held
        )
        self._saga = begun.saga
        yield from words.began(definition, self.saga, self.now_ms)
        yield from self._effects(begun)

    def _wait(self, line: Line) -> Iterator[str]:
        delayed = "delayed" in line.words
        lengths = [word for word in line.words if word != "delayed"]
        until_ms = self._until_ms(line, lengths)
        asked = set[Event]()
        while (found := self._next_timer(until_ms, asked)) is not None:
            moment_ms, timer = found
            asked.add(timer)
            self.now_ms = max(self.now_ms, moment_ms)
            event: Event = timer
            if delayed and isinstance(timer, DeadlinePassed):
                event = PublicationDelayed(timer.step_name, timer.direction, timer.attempt)
            yield words.timer(event)
            yield from self._decide(event)
        self.now_ms = until_ms

    def _until_ms(self, line: Line, lengths: list[str]) -> int:
        if not lengths:
            if self.saga.deadline_ms is None:
                raise line.wrong("nothing is awaited: say how long to wait")
            return max(self.now_ms, self.saga.deadline_ms)
        length_ms = words.read_length(lengths[0])
        if len(lengths) > 1 or length_ms is None:
            raise line.wrong(f"{' '.join(lengths)!r} is no length of time like 1m30s")
        return self.now_ms + length_ms

    def _next_timer(self, until_ms: int, asked: set[Event]) -> tuple[int, DueTimer] | None:
        """The timer that comes due first, unless it has come due in this wait already; None when none does."""
        timers = [timer for timer in due(self.definition, self.saga, now_ms=until_ms) if timer not in asked]
        return min(((self._moment_ms(timer), timer) for timer in timers), key=lambda found: found[0], default=None)

    def _moment_ms(self, timer: DueTimer) -> int:
        if isinstance(timer, Timer):
            moment_ms = self.saga.steps[self.definition.index[timer.step_name]].deadline_ms
        else:
            moment_ms = self.saga.expires_ms if self.saga.starts_ms is None else self.saga.starts_ms
        if moment_ms is None:
            raise InvariantError("a timer came due without a moment")
        return moment_ms

    def _decide(self, event: Event) -> Iterator[str]:
        before = self.saga
        try:
            decision = decide(self.definition, before, event, now_ms=self.now_ms, roll=ROLL, held=frozenset(self._held))
        except Conflict as refusal:
            self.history.append(Happened(before, event, f"{refusal}"))
            yield f"refused: {refusal}"
            return
        self.history.append(Happened(before, event, decision))
        if isinstance(decision, Stayed):
            yield f"{decision.verdict}: {decision.reason}"
            return
        self._saga = decision.saga
        changes = words.moved(self.definition, before, decision.saga, self.now_ms)
        noted = f" but noted ({decision.reason})" if decision.verdict is not Verdict.APPLIED else ""
        yield f"{decision.verdict}{noted}: {next(changes)}"
        yield from changes
        yield from self._effects(decision)

    def _effects(self, moved: Moved) -> Iterator[str]:
        return (words.effect(self.definition, moved.saga, wanted) for wanted in moved.effects)


def _check_input(line: Line, definition: SagaDefinition, raw: bytes) -> None:
    """An input that is written out must fit the definition's model."""
    if raw == b"{}":
        return
    try:
        definition.input.__pydantic_validator__.validate_json(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise line.wrong(f"input/{'/'.join(map(str, first['loc']))}: {first['msg']}") from None
