"""Flow control per participant (design section 3, rule 15): an in-flight limit and a circuit breaker.

    decided --room--> issued
       '--no room--> held --queues in Postgres, oldest first--> released as there is room

A new action is issued when its participant's breaker lets it through, a slot is free and nobody queues before it. A
step that is held waits without a timeout. Compensations and further attempts never ask: undoing has a lane of its own.

Everything here is what one process knows of the partitions it owns. A saga of another partition, begun by an API
process, is begun held where its owner could object: where the participant has a limit or a queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import structlog

from coordinator.engine.breaker import Breaker, BreakerState
from coordinator.engine.cache import ActiveSaga
from coordinator.engine.pulse import Pulse, Recent
from coordinator.engine.slots import Slots
from coordinator.saga.effects import IssueCommand, Moved
from coordinator.saga.model import Direction
from coordinator.settings import FlowSettings

log = structlog.get_logger()

RELEASE_MAX = 200  # sagas of one participant per pass, so that a release does not hold up replies
CHECK_MAX = 500

_ACTION = Direction.ACTION


class ParticipantState(msgspec.Struct, frozen=True):
    """How flow control stands towards one participant; `limit` is that of the whole installation."""

    name: str
    limit: int | None
    in_flight: int
    held: int
    breaker: BreakerState
    since_ms: int | None
    why: str | None
    heard_ms: int | None


class Taken(NamedTuple):
    """Room that a decision took at a participant's breaker; it goes back when the decision is not written."""

    breaker: Breaker
    turn: int


class _Line:
    """What stands between us and one participant."""

    __slots__ = ("breaker", "heard_ms", "held", "limit", "name", "pulse", "share")

    def __init__(self, name: str, limit: int, breaker: Breaker) -> None:
        self.name = name
        self.limit = limit
        self.share = limit
        self.breaker = breaker
        self.pulse = Pulse()
        self.held = 0
        self.heard_ms: int | None = None


class Flow:
    """Says which participants take no new actions at present; it is itself the container of their names.

    `refusals` counts how often it has said so. `parts` are the partitions that are ours, `queued` the participants for
    whom sagas queue anywhere.
    """

    def __init__(self, settings: FlowSettings, participants: Iterable[str]) -> None:
        pause_ms = int(settings.breaker_pause_seconds * 1000)
        self._lines = {
            name: _Line(
                name,
                settings.participants.get(name, settings.in_flight_max),
                Breaker(settings.breaker_timeouts, pause_ms, settings.ramp_per_second),
            )
            for name in participants
        }
        self._limited = frozenset(name for name, line in self._lines.items() if line.limit)
        self._slots = Slots()
        self._now_ms = 0
        self._released = _Released(self)
        self._seen: Counter[str] = Counter()
        self.refusals = 0
        self.parts: frozenset[int] = frozenset()
        self.queued: frozenset[str] = frozenset()

    # ------------------------------------------------------------ asked by whoever decides

    def holding(self, now_ms: int) -> Container[str]:
        """The participants that take no new actions; empty, not only in effect, when nothing is to be looked at."""
        self._now_ms = now_ms
        return self if self._limited or any(_restricts(line) for line in self._lines.values()) else ()

    def holding_at_start(self, part: int, now_ms: int) -> Container[str]:
        """The same for a saga that begins in any process: its owner decides where it could object."""
        return self.holding(now_ms) if part in self.parts else self._limited | self.queued

    @property
    def released(self) -> Container[str]:
        """The participants that take no new actions of those who are next in their queues."""
        return self._released

    def __contains__(self, name: object) -> bool:
        """Whether a new action must wait: there is no room, or others were there before."""
        line = self._lines.get(name) if isinstance(name, str) else None
        if line is None or (not line.held and self.room(line.name) > 0):
            return False
        self.refusals += 1
        return True

    def room(self, name: str) -> int:
        """How many new actions a participant may be asked for now."""
        line = self._lines[name]
        room = line.breaker.room(self._now_ms)
        return min(room, line.share - self._slots.taken[name]) if line.limit else room

    # ------------------------------------------------------------ told by whoever decides

    def moved(self, active: ActiveSaga, decision: Moved) -> list[Taken]:
        """A saga moves: count what it issues, and what it has in flight where that is limited.

        Answers the room that was taken: `give_back` it when the decision is not written.
        """
        taken: list[Taken] = []
        for effect in decision.effects:
            if isinstance(effect, IssueCommand) and effect.direction is _ACTION and effect.attempt == 1:
                breaker = self._lines[active.definition.steps[effect.step].participant].breaker
                turn = breaker.take()
                if turn is not None:
                    taken.append(Taken(breaker, turn))
        if self._limited:
            self._slots.note(active.definition, decision.saga, active.part, self._now_ms)
        return taken

    def give_back(self, taken: Iterable[Taken]) -> None:
        """Decisions were thrown away: nobody was asked for anything. Slots are put right by the next look at a saga."""
        for breaker, turn in taken:
            breaker.give_back(turn)

    def look(self, active: ActiveSaga) -> None:
        """A saga was read: count what it has in flight where that is limited."""
        if self._limited and active.part in self.parts:
            self._slots.note(active.definition, active.saga, active.part, self._now_ms)

    def forget(self, saga_id: str) -> None:
        """There is no such saga in progress."""
        self._slots.forget(saga_id)

    def doubtful(self, now_ms: int) -> list[str]:
        """Sagas whose slots are worth a look at their rows: then call `look` or `forget`."""
        return self._slots.doubtful(now_ms, CHECK_MAX)

    def surveyed(self, in_flight: Counter[str]) -> None:
        """What the sagas in memory have in flight, for those participants whose slots are not counted."""
        self._seen = in_flight

    def heard(self, sources: Sequence[str], now_ms: int) -> None:
        """Participants have answered, each as often as it is named."""
        for name, replies in Counter(sources).items():
            line = self._lines.get(name)
            if line is not None:
                line.heard_ms = now_ms
                if line.breaker.heard(replies, now_ms):
                    log.info("breaker_closed", participant=name, held=line.held)

    def answered(self, name: str, at_ms: int, latencies_ms: Sequence[int | None], failed: bool) -> None:
        """Actions of a participant have come to something, and that is written."""
        line = self._lines.get(name)
        if line is not None:
            line.pulse.answered(at_ms, latencies_ms, failed=failed)

    def timed_out(self, names: Iterable[str], now_ms: int) -> None:
        """Actions came to nothing, one for each name."""
        for name in names:
            line = self._lines.get(name)
            if line is None:
                continue
            line.pulse.timed_out(now_ms)
            if line.breaker.timed_out(now_ms):
                log.error("breaker_opened", participant=name, reason=line.breaker.why, alert=True)

    # ------------------------------------------------------------ the queues

    def next_in_line(self, now_ms: int) -> list[tuple[str, int]]:
        """How many of whose queue may be released now."""
        self._now_ms = now_ms
        waited_for = [line.name for line in self._lines.values() if line.held]
        rooms = [(name, min(self.room(name), RELEASE_MAX)) for name in waited_for]
        return [(name, room) for name, room in rooms if room > 0]

    def queue(self, names: Iterable[str]) -> None:
        """So many sagas have come to the queues, one for each name."""
        for name in names:
            if name in self._lines:
                self._lines[name].held += 1

    def unqueue(self, name: str, sagas: int) -> None:
        """So many have left a queue."""
        line = self._lines[name]
        line.held = max(0, line.held - sagas)
        if not line.held:
            line.breaker.level()

    def counted(self, held: Mapping[str, int], now_ms: int, *, inherited: bool) -> None:
        """The queues were counted; one that was `inherited` with its partitions is released on a ramp."""
        for name, line in self._lines.items():
            line.held = held.get(name, 0)
            if not line.held:
                line.breaker.level()
            elif inherited:
                line.breaker.climb(now_ms)

    def own(self, parts: Collection[int], of: int) -> None:
        """These partitions, of so many, are ours, and with them a share of each limit."""
        self.parts = frozenset(parts)
        self._slots.keep(self.parts)
        for line in self._lines.values():
            line.share = max(1, line.limit * len(self.parts) // of)

    # ------------------------------------------------------------ shown

    def states(self) -> list[ParticipantState]:
        """How things stand, by name."""
        return [
            ParticipantState(
                name,
                line.limit or None,
                self._slots.taken[name] if self._limited else self._seen[name],
                line.held,
                line.breaker.state,
                line.breaker.since_ms,
                line.breaker.why,
                line.heard_ms,
            )
            for name, line in sorted(self._lines.items())
        ]

    def pulses(self, now_ms: int) -> dict[str, Recent]:
        """What came of each participant's actions of late."""
        return {name: line.pulse.recent(now_ms) for name, line in self._lines.items()}

    @property
    def counts_slots(self) -> bool:
        """Whether what is in flight is counted with every decision."""
        return bool(self._limited)


class _Released:
    """The view of those who are next: nobody is before them."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._flow.room(name) < 1


def _restricts(line: _Line) -> bool:
    return line.held > 0 or line.breaker.state is not BreakerState.CLOSED or line.breaker.ramp is not None
