"""Arrivals into one committed statement, whatever it takes: nothing is lost, and one bad record blocks nobody.

Unlike the engine, an observer owns nothing and needs no fence: what was seen is remembered in each saga's row, so
taking the same record in twice, by whomever, changes nothing; the row's version keeps two writers apart.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import structlog

from coordinator.choreography.choreographies import Choreographies
from coordinator.choreography.draft import Draft, Tracked, Transitioned, track
from coordinator.choreography.reading import Arrival, EventArrival, unreadable
from coordinator.engine.clock import DatabaseClock, new_saga_id
from coordinator.engine.counting import is_counted
from coordinator.engine.doubts import Doubts
from coordinator.engine.letters import Crowds, dead_record
from coordinator.engine.ports import Chance, Clock, Store
from coordinator.engine.reading import BadArrival
from coordinator.errors import Unavailable
from coordinator.observability.metrics import Metrics
from coordinator.saga.definition import Retry
from coordinator.saga.effects import Verdict
from coordinator.saga.model import TERMINAL
from coordinator.store.postgres import Committed, KeyTaken, RowMoved, Unacceptable

log = structlog.get_logger()

PAUSE_S = 0.1
PAUSE_MAX_S = 2.0
ARCHIVED = "archived"
NO_RECOVERY = Retry(attempts=0)  # the recovery worker drives records of the reply topic only

Verdicts = Counter[tuple[str, str]]


class Recorder:
    """Commits what was observed; one statement at a time."""

    def __init__(
        self,
        store: Store,
        choreographies: Choreographies,
        metrics: Metrics,
        clock: Clock,
        now: DatabaseClock,
        chance: Chance,
        cluster_id: str,
        *,
        log_transitions: bool = False,
    ) -> None:
        self.now = now
        self._log_transitions = log_transitions
        self._store = store
        self._choreographies = choreographies
        self._metrics = metrics
        self._clock = clock
        self._chance = chance
        self._cluster_id = cluster_id
        self._turn = asyncio.Lock()
        self._doubts = Doubts(clock)

    async def take_in(self, arrivals: Sequence[Arrival], topic: str) -> None:
        """Commit arrivals of a topic; comes back when they are durable, and not before."""
        async with self._turn:
            await self._settle(arrivals, topic)

    async def commit(self, draft: Draft) -> None:
        """Commit changes that no record caused. Raises RowMoved, Unacceptable, Unavailable."""
        committed = await self._commit(draft)
        self._count(draft, Counter(), committed.now_ms)

    async def settle_doubts(self) -> None:
        """Count what was committed unheard of. Raises Unavailable."""
        await self._doubts.settle(self._store)

    async def _commit(self, draft: Draft) -> Committed:
        batch = draft.finish()
        try:
            committed = await self._store.commit(batch)
        except Unavailable:
            now_ms = self.now.now_ms()
            self._doubts.add(batch, lambda: self._count(draft, Counter(), now_ms))
            raise
        self.now.observe(committed.now_ms)
        return committed

    async def _settle(self, arrivals: Sequence[Arrival], topic: str) -> None:
        pause_s = PAUSE_S
        while arrivals:
            try:
                await self._try(arrivals, topic)
            except (RowMoved, KeyTaken) as error:
                log.info("events_retried", topic=topic, records=len(arrivals), reason=str(error))
                continue  # somebody else has moved these sagas on: whoever loses a race has nothing to wait for
            except Unavailable as error:
                # Whether it was committed is not known; the rows say so when they are read again.
                log.warning("events_wait", topic=topic, records=len(arrivals), reason=str(error))
            except Exception as error:
                if len(arrivals) > 1:
                    middle = len(arrivals) // 2
                    await self._settle(arrivals[:middle], topic)
                    arrivals = arrivals[middle:]
                    continue
                log.exception("event_not_settled", topic=topic, offset=arrivals[0].offset, alert=True)
                arrivals = [_given_up(arrivals[0], error)]
            else:
                return
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _try(self, arrivals: Sequence[Arrival], topic: str) -> None:
        events = [arrival for arrival in arrivals if isinstance(arrival, EventArrival)]
        known, archived, strange = await self._known({event.key for event in events})
        draft = Draft(self._choreographies)
        crowds = Crowds()
        verdicts: Verdicts = Counter()
        now_ms = self.now.now_ms()
        for arrival in arrivals:
            if isinstance(arrival, BadArrival):
                verdicts[Verdict.QUARANTINED, arrival.reason] += 1
                if not crowds.take(arrival, arrival.reason):
                    self._set_aside(draft, arrival, topic)
            elif arrival.key in archived:
                verdicts[Verdict.STALE, ARCHIVED] += 1
            elif arrival.key in strange:
                detail = "this coordinator knows nothing of what this saga began with"
                verdicts[Verdict.QUARANTINED, "definition_unknown"] += 1
                self._set_aside(draft, unreadable(arrival.record, "definition_unknown", detail), topic)
            else:
                tracked = known.setdefault(arrival.key, self._new(arrival, now_ms))
                if arrival.sighting.type in tracked.definition.by_type:
                    verdicts[draft.see(tracked, arrival, now_ms), arrival.sighting.type] += 1
                else:  # a later version of the choreography expects it, the one this saga began with does not
                    verdicts[Verdict.FOREIGN, arrival.sighting.type] += 1
        for crowd in crowds.rows():
            self._set_aside(draft, crowd, topic)
        if draft.transitions or draft.batch.dead:
            now_ms = (await self._commit(draft)).now_ms
        self._count(draft, verdicts, now_ms)

    async def _known(
        self, keys: set[tuple[str, str]]
    ) -> tuple[dict[tuple[str, str], Tracked], set[tuple[str, str]], set[tuple[str, str]]]:
        """Find the sagas of keys: those that can be moved, keys of archived ones, and keys of unknown definitions."""
        taken = await self._store.taken_keys(sorted(keys)) if keys else []
        key_of = {each.saga_id: (each.definition, each.business_key) for each in taken}
        rows = await self._store.load(sorted(key_of)) if key_of else []
        tracked = {key_of[row.id]: track(row, self._choreographies) for row in rows}
        archived = set(key_of.values()) - tracked.keys()
        strange = {key for key, found in tracked.items() if found is None}
        return {key: found for key, found in tracked.items() if found is not None}, archived, strange

    def _new(self, arrival: EventArrival, now_ms: int) -> Tracked:
        return Tracked(new_saga_id(now_ms, self._chance), arrival.definition, arrival.business_key, now_ms)

    def _set_aside(self, draft: Draft, arrival: BadArrival, topic: str) -> None:
        log.warning("event_set_aside", topic=topic, offset=arrival.offset, reason=arrival.reason, detail=arrival.detail)
        record = dead_record(arrival, arrival.reason, arrival.detail, self._cluster_id, topic, NO_RECOVERY, 0.0)
        draft.batch.set_aside_record(record)

    def _count(self, draft: Draft, verdicts: Verdicts, now_ms: int) -> None:
        """Count what is durable."""
        started: Counter[str] = Counter()
        moved: Counter[tuple[str, str]] = Counter()
        durations: dict[tuple[str, ...], list[int]] = {}
        for transition in draft.transitions:
            name, new, before = transition.tracked.definition.name, transition.change.saga.status, transition.before
            if self._log_transitions:
                _log(transition)
            if before is None:
                started[name] += 1
            elif not is_counted(before.status, new, before.state.facing):
                continue
            moved[name, new] += 1
            if new in TERMINAL:
                durations.setdefault((name, new), []).append(now_ms - transition.tracked.created_ms)
        self._metrics.count_verdicts(dict(verdicts))
        self._metrics.count_sagas(dict(started), dict(moved), durations)


def _log(transition: Transitioned) -> None:
    """Write the line of a transition, as the engine does."""
    tracked, change = transition.tracked, transition.change
    log.info(
        "saga_moved",
        saga_id=tracked.id,
        definition=tracked.definition.name,
        step_name=change.type,
        old_status=None if transition.before is None else transition.before.status,
        status=change.saga.status,
        version=change.saga.version,
        cause=change.event,
        verdict=change.verdict,
    )


def _given_up(arrival: Arrival, error: Exception) -> Arrival:
    """What cannot be written, however small the statement, is set aside."""
    if isinstance(arrival, EventArrival):
        reason = "schema" if isinstance(error, Unacceptable) else "internal"
        return unreadable(arrival.record, reason, repr(error))
    return arrival
