"""What becomes of a scenario on real servers: a definition of its own with real times, or the reason why it cannot run.

The pure player runs the file first. What it saw decides the times: a command whose deadline passes in the file gets a
short one, a pause that is waited out is short, and everything else takes so long that it cannot happen by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path

from coordinator.saga.definition import Retry, SagaDefinition, Step, hours, minutes, seconds
from coordinator.saga.effects import Moved, Stayed
from coordinator.saga.events import (
    DeadlinePassed,
    ExternalCompleted,
    SagaDeadlinePassed,
    StartDue,
    StepProgressed,
    Timer,
)
from coordinator.saga.machine import DueTimer, due
from coordinator.saga.model import Direction, Outcome, Saga, SagaStatus, Undo
from coordinator.scenario.files import read
from coordinator.scenario.parser import Line, parse
from coordinator.scenario.player import Happened, Player
from tests.scenarios.definitions import definitions as known

FOLDER = Path(__file__).parents[1] / "scenarios"
NO_COUNTERPART = {
    "held": "flow control is not set by hand",
    "released": "flow control is not set by hand",
    "timer": "a timer cannot be fired by hand",
}

AT_ONCE = seconds(1.2)  # of a deadline that nothing but itself ends; by then its command has left the outbox
STARTS = seconds(4)  # until a scheduled saga begins: later than its request is heard
SOON = seconds(8)  # of one that other lines of the file come before
LONG = minutes(5)  # of one that must not pass
PAUSE = seconds(0.05)
LONG_PAUSE = timedelta(days=1)  # drawn evenly from nothing on: it is short once in ten thousand times
FOREVER_MS = 10**15


class Unplayable(Exception):
    """A scenario that real servers cannot play; the text says why."""


@dataclass(frozen=True)
class Part:
    """One line with what happened because of it, according to the pure player."""

    line: Line
    happened: tuple[Happened, ...]


@dataclass(frozen=True)
class Plan:
    """A scenario that can be played: its own definition, how the saga begins, and what happens line by line."""

    name: str
    definition: SagaDefinition
    begun: Moved
    parts: tuple[Part, ...]
    starts_in: timedelta | None

    @property
    def waits(self) -> bool:
        """Whether time has to pass in it."""
        return self.starts_in is not None or any(fires(part) for part in self.parts)

    @property
    def end(self) -> Saga:
        """The saga as the scenario leaves it."""
        happened = [each for part in self.parts for each in part.happened]
        return happened[-1].after if happened else self.begun.saga


Clock = tuple[str, Direction | None, str]  # step name, direction, "deadline" | "pause"; or one of the saga as a whole
START: Clock = ("", None, "start")
WHOLE: Clock = ("", None, "whole")
RECOVERY: Clock = ("", None, "recovery")


@cache
def plans() -> tuple[dict[str, Plan], dict[str, str]]:
    """All scenarios that can be played by name, and why the others cannot."""
    playable, reasons = {}, {}
    for path in sorted(FOLDER.glob("*.saga")):
        try:
            playable[path.stem] = _plan(path)
        except Unplayable as reason:
            reasons[path.stem] = str(reason)
    return playable, reasons


def _plan(path: Path) -> Plan:
    lines = [line for line in parse(read(path)) if line.verb]
    for line in lines:
        _refuse(line)
    player = Player(known)
    parts = []
    for line in lines:
        before = len(player.history)
        player.take(line)
        if any(isinstance(each.event, ExternalCompleted) and each.event.problem for each in player.history[before:]):
            raise Unplayable("the API refuses an answer that does not fit")
        parts.append(Part(line, tuple(player.history[before:])))
    clocks = _clocks(player)
    name = "Scenario" + "".join(word.capitalize() for word in path.stem.split("_"))
    return Plan(
        path.stem, _timed(player.definition, name, clocks), player.begun, tuple(parts), _starts_in(player, clocks)
    )


def _refuse(line: Line) -> None:
    """Raise Unplayable for a line that has no counterpart in the world."""
    if line.verb in NO_COUNTERPART:
        raise Unplayable(NO_COUNTERPART[line.verb])
    if "delayed" in line.words:
        raise Unplayable("an outbox that does not empty has tests of its own")


# ---------------------------------------------------------------- times


def _clocks(player: Player) -> dict[Clock, set[str]]:
    """What became of each running clock: `fired` by itself, or `outlived` by something else before that."""
    found: dict[Clock, set[str]] = {}
    for happened in player.history:
        if isinstance(happened.event, StepProgressed) and _depends_on_the_moment(happened):
            raise Unplayable("how far progress moves a deadline depends on the moment")
        running = set(_running(player, happened.after))
        for timer in _running(player, happened.before):
            if timer == happened.event:
                found.setdefault(_clock(happened.before, player, timer), set()).add("fired")
            elif timer not in running or not isinstance(happened.event, Timer):
                found.setdefault(_clock(happened.before, player, timer), set()).add("outlived")
    for timer in _running(player, player.saga):
        found.setdefault(_clock(player.saga, player, timer), set()).add("outlived")
    return found


def _depends_on_the_moment(happened: Happened) -> bool:
    decision = happened.decision
    return isinstance(decision, Moved) or (isinstance(decision, Stayed) and "extended" in decision.reason)


def _running(player: Player, saga: Saga) -> list[DueTimer]:
    if saga.status is SagaStatus.SUSPENDED:
        return []
    return due(player.definition, saga, now_ms=FOREVER_MS)


def _clock(saga: Saga, player: Player, timer: DueTimer) -> Clock:
    if isinstance(timer, StartDue):
        return START
    if not isinstance(timer, Timer):
        return WHOLE
    if isinstance(timer, DeadlinePassed):
        return timer.step_name, timer.direction, "deadline"
    state = saga.steps[player.definition.index[timer.step_name]]
    recovering = state.undo is Undo.DEAD_LETTERED or (state.outcome is Outcome.BACKING_OFF and state.redrives > 0)
    return RECOVERY if recovering else (timer.step_name, timer.direction, "pause")


def _starts_in(player: Player, clocks: dict[Clock, set[str]]) -> timedelta | None:
    if player.begun.saga.starts_ms is None:
        return None
    return STARTS if "fired" in clocks[START] else LONG


def _timed(definition: SagaDefinition, name: str, clocks: dict[Clock, set[str]]) -> SagaDefinition:
    whole = clocks.get(WHOLE)
    recovery = definition.redrives
    return replace(
        definition,
        name=name,
        steps=tuple(_timed_step(step, clocks) for step in definition.steps),
        deadline=None if whole is None else (SOON if "fired" in whole else hours(1)),
        recovery=_paused(recovery, clocks.get(RECOVERY, set())),
    )


def _timed_step(step: Step, clocks: dict[Clock, set[str]]) -> Step:
    action, undo = Direction.ACTION, Direction.COMPENSATION
    return replace(
        step,
        timeout=_deadline(clocks.get((step.name, action, "deadline"), set())),
        compensation_timeout=_deadline(clocks.get((step.name, undo, "deadline"), set())),
        retry=_paused(step.retry, clocks.get((step.name, action, "pause"), set())),
        compensation_retry=_paused(step.compensation_retry, clocks.get((step.name, undo, "pause"), set())),
        progress_max=None if step.progress_max is None else hours(1),
    )


def _deadline(ends: set[str]) -> timedelta:
    if "fired" not in ends:
        return LONG
    return SOON if "outlived" in ends else AT_ONCE


def _paused(retry: Retry, ends: set[str]) -> Retry:
    if ends == {"fired", "outlived"}:
        raise Unplayable("a pause is waited out here and not there")
    pause = PAUSE if "fired" in ends else LONG_PAUSE
    return Retry(retry.attempts, base=pause, factor=1.0, cap=pause)


def fires(part: Part) -> bool:
    """Whether timers have their say in a line."""
    return any(isinstance(each.event, Timer | StartDue | SagaDeadlinePassed) for each in part.happened)


definitions = tuple(plan.definition for plan in plans()[0].values())
