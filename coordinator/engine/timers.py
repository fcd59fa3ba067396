"""Timers under design section 3, rule 5: a timeout never fires while we are behind.

    saga_wake (Postgres) --due soon--> wheel (memory) --due--> gate --open--> DeadlinePassed / BackoffElapsed

A timer fires only when its partition was read past the end it had after the deadline, when its command is not in
the outbox, when the acknowledgement delay that the relay saw is added, and when the time during which Kafka was out
of reach is added too: participants could not answer then. While the database's clock is not steady nothing fires.
"""

from __future__ import annotations

import heapq
from collections import deque

import msgspec
import structlog

from coordinator.engine.cache import ActiveSaga, SagaCache
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.ownership import Owned
from coordinator.engine.ports import Clock, Inbox, Store
from coordinator.errors import Unavailable
from coordinator.saga.model import Outcome, Undo

log = structlog.get_logger()

_ISSUED = Outcome.ISSUED
_UNDOING = Undo.ISSUED

LOOK_AHEAD_MS = 2_000  # the wheel holds what wakes within this time; refilled each second
REFILL_S = 0.5
REFILL_MAX = 5_000
FIRE_MAX = 500  # per pass, so that a mass expiry does not starve replies
PROBE_S = 1.0  # how often Kafka's end offsets are asked when no timer waits for them
PROBE_SOON_S = 0.1  # and when one does
OUTAGE_S = 2.5  # no answer for longer than this is an outage
OUTAGES_KEPT = 64
SENT_LATE_MAX = 50_000  # commands whose lateness is remembered; about as many as the relay has on its way at most
RECOVERY_MS = 10_000  # what participants may need after an outage to find the broker and their group again


class Wheel:
    """Saga ids by the moment at which they want attention; an id counts once, at its latest setting."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._moments: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._moments)

    def __contains__(self, saga_id: str) -> bool:
        return saga_id in self._moments

    def set(self, saga_id: str, at_ms: int) -> None:
        """Remember to look at a saga at a moment."""
        if self._moments.get(saga_id) != at_ms:
            self._moments[saga_id] = at_ms
            heapq.heappush(self._heap, (at_ms, saga_id))

    @property
    def next_ms(self) -> int | None:
        """The moment of the earliest id."""
        while self._heap and self._moments.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self, now_ms: int, limit: int) -> list[str]:
        """Take the ids whose moment has come."""
        taken: list[str] = []
        while self._heap and self._heap[0][0] <= now_ms and len(taken) < limit:
            at_ms, saga_id = heapq.heappop(self._heap)
            if self._moments.get(saga_id) == at_ms:
                del self._moments[saga_id]
                taken.append(saga_id)
        return taken


class Outages:
    """The times during which Kafka was out of our reach, as (from, to) in database milliseconds."""

    def __init__(self) -> None:
        self._spans: deque[tuple[int, int]] = deque(maxlen=OUTAGES_KEPT)

    @property
    def any(self) -> bool:
        """Whether there has been an outage."""
        return bool(self._spans)

    def add(self, from_ms: int, to_ms: int) -> None:
        """Remember an outage that is over."""
        self._spans.append((from_ms, to_ms))

    def allowance_ms(self, issued_ms: int) -> int:
        """How much longer a command issued at a moment may take, because Kafka was away, or just back, since.

        For its participant the outage goes on until it has found the broker and its group again.
        """
        away_ms, counted_ms = 0, issued_ms
        for from_ms, to_ms in self._spans:
            back_ms = to_ms + RECOVERY_MS
            away_ms += max(0, back_ms - max(from_ms, counted_ms))
            counted_ms = max(counted_ms, back_ms)
        return away_ms


class Probe(msgspec.Struct, frozen=True):
    """Kafka's end offsets, asked at a moment (database milliseconds)."""

    at_ms: int
    ends: dict[int, int]


class Gate:
    """Knows how far partitions reach and when Kafka was away."""

    def __init__(self, inbox: Inbox, clock: Clock, now: DatabaseClock) -> None:
        self._inbox = inbox
        self._clock = clock
        self._now = now
        self.outages = Outages()
        self.probe: Probe | None = None
        self._answered_ms: int | None = None
        self._unanswered = False
        self._sent_late: dict[str, tuple[int, int]] = {}
        self._next_probe = 0.0

    async def ask(self, parts: list[int], *, soon: bool) -> None:
        """Ask Kafka for the ends of partitions when it is time to; never raises for Kafka's absence."""
        now = self._clock.monotonic()
        if not parts or now < self._next_probe:
            return
        self._next_probe = now + (PROBE_SOON_S if soon else PROBE_S)
        at_ms = self._now.now_ms()
        try:
            ends = await self._inbox.end_offsets(parts, timeout_s=1.0)
        except Unavailable:
            self._unanswered = True
            return
        self._unanswered = False
        answered_ms = self._now.now_ms()
        if self._answered_ms is not None and answered_ms - self._answered_ms > OUTAGE_S * 1000:
            self.outages.add(self._answered_ms, answered_ms)
            log.warning("kafka_was_away", seconds=(answered_ms - self._answered_ms) / 1000)
        self._answered_ms = answered_ms
        self.probe = Probe(at_ms, ends)

    def forget(self) -> None:
        """No partition is ours: silence from now on is no outage; one that has begun is, until Kafka answers again."""
        if not self._unanswered:
            self._answered_ms = None
        self.probe = None

    def sent_late(self, saga_id: str, saga_version: int, late_ms: int) -> None:
        """A command reached Kafka so much later than it was decided; its saga may not be in memory (yet)."""
        if len(self._sent_late) >= SENT_LATE_MAX:
            del self._sent_late[next(iter(self._sent_late))]
        self._sent_late[saga_id] = (saga_version, late_ms)

    def due_ms(self, active: ActiveSaga, deadline_ms: int) -> int:
        """The moment at which a deadline may count, all delays of ours added."""
        version, late_ms = self._sent_late.get(active.id, (0, 0))
        if version != active.saga.version and len(active.definition.stages) == len(active.definition.steps):
            late_ms = 0  # of a command that was answered; in a group another one may have been
        due_ms = deadline_ms + late_ms
        if self.outages.any:
            due_ms += self.outages.allowance_ms(deadline_ms - _awaited_ms(active, deadline_ms))
        return due_ms

    def open_for(self, owned: Owned, due_ms: int) -> bool:
        """Whether everything that had arrived by `due_ms` is processed."""
        probe = self.probe
        if probe is None or not self._now.steady or probe.at_ms < due_ms:
            return False
        end = probe.ends.get(owned.part)
        return end is not None and self.reached(owned) >= end

    def counting_ms(self, active: ActiveSaga, deadline_ms: int) -> int:
        """Up to which moment a saga's deadlines count where the gate is open for the earliest.

        What arrived after the probe may not be read yet, and a later deadline may have more delays of ours to add: such
        a one must wait for a probe of its own.
        """
        probed_ms = deadline_ms if self.probe is None else self.probe.at_ms
        moments = (*(step.deadline_ms for step in active.saga.steps), active.saga.expires_ms)
        later = (moment for moment in moments if moment is not None and moment > deadline_ms)
        early = (moment - 1 for moment in later if self.due_ms(active, moment) > probed_ms)
        return max(deadline_ms, min((*early, probed_ms)))

    def reached(self, owned: Owned) -> int:
        """How far a partition is processed, between two batches.

        The inbox passes what is invisible (a transaction's markers); the recorded offset stays before it.
        """
        return max(owned.next_offset, self._inbox.position(owned.part) or 0)


def _awaited_ms(active: ActiveSaga, deadline_ms: int) -> int:
    """For how long somebody could have answered before a deadline; a pause waits for nobody.

    The deadline of a saga as a whole counts as if its slowest command had just been out.
    """
    saga, steps = active.saga, active.definition.steps
    waits = [
        max(step.timeout_ms * (state.outcome is _ISSUED), step.compensation_timeout_ms * (state.undo is _UNDOING))
        for step, state in zip(steps, saga.steps, strict=True)
        if state.deadline_ms == deadline_ms
    ]
    if deadline_ms == saga.expires_ms:
        waits += [max(step.timeout_ms, step.compensation_timeout_ms) for step in steps]
    return max(waits, default=0)


class Timers:
    """Finds the sagas whose time has come; the batch worker fires them."""

    def __init__(self, store: Store, inbox: Inbox, clock: Clock, now: DatabaseClock, cache: SagaCache) -> None:
        self._store = store
        self._clock = clock
        self._now = now
        self._cache = cache
        self.gate = Gate(inbox, clock, now)
        self._wheel = Wheel()
        self._waiting: dict[str, int] = {}  # and when each was due
        self._next_refill = 0.0
        self.counting_ms: dict[str, int] = {}  # up to which moment deadlines count, of each saga that is ready
        self.fired = 0

    @property
    def pending(self) -> int:
        """Sagas that wake soon or wait for the gate."""
        return len(self._wheel) + len(self._waiting)

    @property
    def held(self) -> int:
        """Timers that are due and wait for the gate."""
        return len(self._waiting)

    @property
    def held_s(self) -> float:
        """For how long the timer that was due first has been: it waits for the gate, or nobody has looked.

        Counted from when it was due: a partition that is given up and taken anew has its timers wait no less.
        """
        dues_ms = list(self._waiting.values())
        if self._wheel.next_ms is not None:
            dues_ms.append(self._wheel.next_ms)
        return max(0.0, (self._now.now_ms() - min(dues_ms)) / 1000) if dues_ms else 0.0

    @property
    def horizon_ms(self) -> int:
        """Up to when the wheel looks ahead; later moments are found in Postgres when they near."""
        return self._now.now_ms() + LOOK_AHEAD_MS

    def arm(self, active: ActiveSaga, waking_ms: int | None) -> None:
        """Remember a saga that wakes before the horizon."""
        if waking_ms is not None and waking_ms < self.horizon_ms:
            self._wheel.set(active.id, self.gate.due_ms(active, waking_ms))

    async def refill(self, parts: list[int]) -> list[str]:
        """Ids of sagas that wake soon and are not in the wheel: load them and call `take_up`."""
        if not parts or self._clock.monotonic() < self._next_refill:
            return []
        self._next_refill = self._clock.monotonic() + REFILL_S
        before_ms = self.horizon_ms
        due = await self._store.due(parts, before_ms, REFILL_MAX)
        return [saga_id for saga_id in due if saga_id not in self._wheel and saga_id not in self._waiting]

    async def take_up(self, saga_ids: list[str]) -> None:
        """Arm sagas that `refill` found; those whose deadline has moved on wake later.

        Or somebody else has written the row and we have not heard of it: what memory has is forgotten, and read anew.
        """
        early: dict[str, int] = {}
        before_ms = self.horizon_ms
        for saga_id in saga_ids:
            active = self._cache.get(saga_id)
            if active is None:
                continue
            deadline_ms = active.saga.waking_ms
            if deadline_ms is None or deadline_ms > before_ms:
                early[saga_id] = active.saga.version
            else:
                self.arm(active, deadline_ms)
        for saga_id in await self._store.push_wake(early) if early else ():
            self._cache.evict(saga_id)

    def due(self, owned: dict[int, Owned]) -> list[ActiveSaga]:
        """Take the sagas whose timers may fire now; those that the gate holds stay.

        The gate has looked at the earliest deadline of each: `counting_ms` says which others it lets through.
        """
        self.counting_ms = {}
        for saga_id in self._wheel.pop(self._now.now_ms(), FIRE_MAX):
            self._waiting[saga_id] = self._now.now_ms()
        ready: list[ActiveSaga] = []
        for saga_id in list(self._waiting):
            active = self._cache.get(saga_id)
            partition = owned.get(active.part) if active is not None else None
            deadline_ms = active.saga.waking_ms if active is not None else None
            if active is None or partition is None or deadline_ms is None:
                del self._waiting[saga_id]
                continue
            due_ms = self.gate.due_ms(active, deadline_ms)
            if due_ms > self._now.now_ms():
                del self._waiting[saga_id]
                self._wheel.set(saga_id, due_ms)
            elif self.gate.open_for(partition, due_ms):
                del self._waiting[saga_id]
                self.counting_ms[saga_id] = self.gate.counting_ms(active, deadline_ms)
                ready.append(active)
                if len(ready) >= FIRE_MAX:
                    break
            else:
                self._waiting[saga_id] = due_ms
        return ready
