"""What happens to observed sagas by itself: a missing next event is noticed, an owed replay is published.

Under design section 3, rule 5: a deadline never passes while we are behind. It passes only when everything that was on
the topics after the deadline has been taken in, by whichever process reads it: the group's committed offsets say so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

import msgspec
import structlog

from coordinator.choreography.choreographies import OBSERVED_PART, Choreographies
from coordinator.choreography.deciding import Recorder
from coordinator.choreography.draft import Draft, Tracked, track
from coordinator.engine.ports import Bus, Store
from coordinator.kafka.records import Outgoing
from coordinator.saga.observing import Change, pass_deadline, refuse_replay, replayed
from coordinator.store.postgres import Contended, RowMoved, Unacceptable

log = structlog.get_logger()

DUE_MAX = 500  # sagas per pass
LEFT_OUT_MS = 60_000  # so long nobody looks again at sagas that cannot be judged here

Offsets = dict[tuple[str, int], int]


class Probe(msgspec.Struct, frozen=True):
    """Where all topics ended at a moment."""

    at_ms: int
    ends: Offsets


class ObservedTimers:
    """One pass per call of `fire`.

    `ask_ends` and `ask_read` answer, for every (topic, partition), where it ends and how far the group has come; both
    raise Unavailable.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        choreographies: Choreographies,
        recorder: Recorder,
        ask_ends: Callable[[], Awaitable[Offsets]],
        ask_read: Callable[[], Awaitable[Offsets]],
    ) -> None:
        self._store = store
        self._bus = bus
        self._choreographies = choreographies
        self._recorder = recorder
        self._ask_ends = ask_ends
        self._ask_read = ask_read
        self._probe: Probe | None = None
        self._left_out: set[str] = set()
        self._left_out_until_ms = 0

    async def fire(self) -> int:
        """Let what is due happen; answers how many sagas changed. Raises Unavailable."""
        now_ms = self._recorder.now.now_ms()
        sagas = await self._due(now_ms)
        if not sagas:
            self._probe = None
            return 0
        early = {each.id: each.written for each in sagas if not _is_due(each, now_ms)}
        if early:
            await self._store.push_wake(early)
        ready = [each for each in sagas if _is_due(each, now_ms)]
        owed = [each for each in ready if each.saga is not None and each.saga.state.replay_owed]
        changed = await self._replay(owed)
        overdue = [each for each in ready if each not in owed]
        if overdue:
            read_until_ms = await self._read_until_ms(now_ms)
            late = [each for each in overdue if _deadline_ms(each) < read_until_ms]
            changed += await self._change(late, _miss)
        return changed

    async def _due(self, now_ms: int) -> list[Tracked]:
        """Find what is due and can be judged; what cannot is looked past for a while, so that it blocks nobody."""
        if now_ms >= self._left_out_until_ms:
            self._left_out.clear()
        due = await self._store.due([OBSERVED_PART], now_ms, DUE_MAX + len(self._left_out))
        wanted = [saga_id for saga_id in due if saga_id not in self._left_out]
        rows = await self._store.load(wanted) if wanted else []
        sagas = [tracked for row in rows if (tracked := track(row, self._choreographies)) is not None]
        strange = {row.id for row in rows} - {each.id for each in sagas}
        if strange:
            self._leave_out(strange, now_ms, "their choreographies are not known here, or their states unreadable")
        return sagas

    def _leave_out(self, strange: set[str], now_ms: int, reason: str) -> None:
        if not self._left_out:
            self._left_out_until_ms = now_ms + LEFT_OUT_MS
            log.warning("observed_sagas_left_out", sagas=len(strange), example=min(strange), reason=reason, alert=True)
        self._left_out |= strange

    async def _read_until_ms(self, now_ms: int) -> int:
        """Up to which moment everything that was said has been taken in; 0 while that is not known."""
        if not self._recorder.now.steady:
            return 0
        if self._probe is None:
            self._probe = Probe(now_ms, await self._ask_ends())
        probe = self._probe
        read = await self._ask_read()
        if any(read.get(place, 0) < end for place, end in probe.ends.items()):
            return 0
        self._probe = None
        return probe.at_ms

    async def _replay(self, owed: list[Tracked]) -> int:
        """Publish last good events again, each as it was; only then note that they are."""
        if not owed:
            return 0
        result = await self._bus.publish([_record(each) for each in owed])
        refused = {cast("str", token): why for token, why in result.refused}
        for saga_id, why in refused.items():
            log.error("replay_refused", saga_id=saga_id, reason=why, alert=True)
        if result.failed:
            log.warning("replay_postponed", sagas=len(result.failed), reason=result.error)
        sent = {cast("str", token) for token in result.acknowledged}
        changed = await self._change([each for each in owed if each.id in sent], _replayed)
        return changed + await self._change(
            [each for each in owed if each.id in refused], lambda each, _: _refused(each, refused[each.id])
        )

    async def _change(self, sagas: list[Tracked], decide: Callable[[Tracked, int], Change | None]) -> int:
        """Commit one change for each saga: all at once, else one by one; a saga that has moved on is left alone."""
        draft = Draft(self._choreographies)
        now_ms = self._recorder.now.now_ms()
        before = [each.saga for each in sagas]
        for each in sagas:
            change = decide(each, now_ms)
            if change is not None:
                draft.apply(each, change, now_ms)
        if not draft.transitions:
            return 0
        try:
            await self._recorder.commit(draft)
        except (RowMoved, Contended, Unacceptable) as error:
            if len(sagas) == 1:
                log.info("observed_timer_postponed", saga_id=sagas[0].id, reason=str(error))
                if isinstance(error, Unacceptable):
                    self._leave_out({sagas[0].id}, now_ms, str(error))
                return 0
            for each, saga in zip(sagas, before, strict=True):
                each.saga = saga
            return sum([await self._change([each], decide) for each in sagas])
        return len(draft.transitions)


def _deadline_ms(tracked: Tracked) -> int:
    deadline_ms = None if tracked.saga is None else tracked.saga.state.deadline_ms
    return 0 if deadline_ms is None else deadline_ms


def _is_due(tracked: Tracked, now_ms: int) -> bool:
    return _deadline_ms(tracked) <= now_ms


def _miss(tracked: Tracked, now_ms: int) -> Change | None:
    return None if tracked.saga is None else pass_deadline(tracked.definition, tracked.saga, now_ms)


def _replayed(tracked: Tracked, now_ms: int) -> Change | None:
    return None if tracked.saga is None else replayed(tracked.definition, tracked.saga, now_ms)


def _refused(tracked: Tracked, why: str) -> Change | None:
    return None if tracked.saga is None else refuse_replay(tracked.saga, why)


def _record(tracked: Tracked) -> Outgoing:
    """The last good event, byte for byte, for the partition that it came from."""
    if tracked.saga is None:
        raise ValueError(f"nothing was seen of {tracked.id}")
    kept = tracked.saga.state.last
    # What was null stays null, although nothing else that we send is.
    key, value = cast("bytes", kept.key), cast("bytes", kept.value)
    headers = cast("list[tuple[str, bytes]]", list(kept.headers))
    return Outgoing(kept.place.topic, kept.place.partition, key, value, headers, tracked.id)
