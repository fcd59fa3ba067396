"""How each participant does, over all processes: flow control, what came of its actions of late, and its backlog."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from coordinator.engine.breaker import BreakerState
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.flow import Flow, ParticipantState
from coordinator.engine.ports import Clock
from coordinator.engine.pulse import WINDOW_S, Recent, added, quantile_ms
from coordinator.engine.topology import Topology
from coordinator.errors import NotFound, Unavailable
from coordinator.kafka.lags import Lag
from coordinator.services.pulses import LIVE_S, Seen, seen_by
from coordinator.store.reads import SagaReads
from coordinator.wire.rfc3339 import format_ms

LAG_KEPT_S: Final = 5.0  # Kafka is not asked more often, however many people look

AskLags = Callable[[Mapping[str, str]], Awaitable[dict[str, Lag]]]  # by topic -> the group that reads it

_WORST: Final = (BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED)


class RecentView(msgspec.Struct, frozen=True):
    """What came of actions within the last `seconds`: latencies from the issue of an attempt to its reply.

    `failure_rate` is the share of failures and timeouts in all replies and timeouts; it and the quantiles are null
    where there were none.
    """

    seconds: int
    replies: int
    failures: int
    timeouts: int
    failure_rate: float | None
    p50_ms: int | None
    p99_ms: int | None


class ParticipantView(msgspec.Struct, frozen=True):
    """One participant, as all engine processes see it together.

    `limit` is how many actions may be in flight, null for any number; `held` how many sagas wait until it takes new
    ones; `breaker` the worst that any process has, `since` when and `why`. These, `in_flight` and `recent` are null
    while no process owns a partition, and may be some seconds old. `lag` is what its consumer `group` has not committed
    of its commands yet; null, with `lag_unknown` saying why, where Kafka does not say.
    """

    name: str
    limit: int | None
    held: int
    in_flight: int | None
    breaker: str | None
    since: str | None
    why: str | None
    last_reply_at: str | None
    recent: RecentView | None
    group: str
    lag: int | None
    lag_unknown: str | None


class ParticipantList(msgspec.Struct, frozen=True):
    """The participants of all known definitions, and the partitions of the reply topic that this process owns."""

    partitions: list[int]
    participants: list[ParticipantView]


class ProcessView(msgspec.Struct, frozen=True):
    """What one engine process knows of a participant, of the so many `partitions` that it owns."""

    process: str
    partitions: int
    in_flight: int
    breaker: str
    since: str | None
    why: str | None
    last_reply_at: str | None


class ParticipantDetail(ParticipantView, frozen=True):
    """One participant, with what each process knows of it."""

    processes: list[ProcessView]


class ParticipantService:
    """Puts it together; `group` is what a participant's consumer group is called, with {prefix} and {participant}."""

    def __init__(
        self,
        reads: SagaReads,
        flow: Flow,
        topology: Topology,
        clock: Clock,
        now: DatabaseClock,
        process: str,
        group: str,
        ask_lags: AskLags,
    ) -> None:
        self._reads = reads
        self._flow = flow
        self._topology = topology
        self._clock = clock
        self._now = now
        self._process = process
        self._group = group
        self._ask_lags = ask_lags
        self._lags: dict[str, Lag] = {}
        self._asked_at = -LAG_KEPT_S
        self._asking = asyncio.Lock()

    async def list(self) -> ParticipantList:
        """All participants; raises Unavailable."""
        held, lags, seen = await self._reads.held(), await self._known_lags(), await self._seen()
        views = [self._view(state, held, lags, seen.get(state.name, {})) for state in self._flow.states()]
        return ParticipantList(sorted(self._flow.parts), views)

    async def get(self, name: str) -> ParticipantDetail:
        """One participant; raises NotFound, Unavailable."""
        state = next((state for state in self._flow.states() if state.name == name), None)
        if state is None:
            raise NotFound("there is no participant of this name")
        held, lags, seen = await self._reads.held(), await self._known_lags(), await self._seen()
        of_processes = seen.get(name, {})
        view = self._view(state, held, lags, of_processes)
        processes = [_of_process(process, one) for process, one in sorted(of_processes.items())]
        return ParticipantDetail(**msgspec.structs.asdict(view), processes=processes)

    async def _seen(self) -> dict[str, dict[str, Seen]]:
        """What processes know, by participant; of this process as it is now."""
        found: dict[str, dict[str, Seen]] = {}
        for row in await self._reads.fetch("read_participant_states", LIVE_S):
            if row["process"] != self._process:
                seen = msgspec.json.decode(row["state"], type=Seen)
                found.setdefault(row["participant"], {})[row["process"]] = seen
        for name, seen in seen_by(self._flow, self._now.now_ms()).items():
            found.setdefault(name, {})[self._process] = seen
        return found

    async def _known_lags(self) -> dict[str, Lag]:
        """The lags by topic, some seconds old at most; people that ask at once wait for one answer."""
        async with self._asking:
            if self._clock.monotonic() - self._asked_at >= LAG_KEPT_S:
                topics = {
                    self._topology.commands(state.name): self._group_of(state.name) for state in self._flow.states()
                }
                try:
                    self._lags = await self._ask_lags(topics)
                except Unavailable:
                    self._lags = dict.fromkeys(topics, Lag(None, "Kafka does not answer for now"))
                self._asked_at = self._clock.monotonic()
        return self._lags

    def _group_of(self, name: str) -> str:
        return self._group.format(prefix=self._topology.prefix, participant=name)

    def _view(
        self, state: ParticipantState, held: Mapping[str, int], lags: Mapping[str, Lag], seen: Mapping[str, Seen]
    ) -> ParticipantView:
        lag = lags.get(self._topology.commands(state.name), Lag(None, "nobody has asked yet"))
        worst = min(seen.values(), key=lambda one: _WORST.index(BreakerState(one.breaker)), default=None)
        heard = [one.heard_ms for one in seen.values() if one.heard_ms is not None]
        return ParticipantView(
            state.name,
            state.limit,
            held.get(state.name, 0),
            sum(one.in_flight for one in seen.values()) if seen else None,
            None if worst is None else worst.breaker,
            None if worst is None else _moment(worst.since_ms),
            None if worst is None else worst.why,
            _moment(max(heard, default=None)),
            _recent(added(one.recent for one in seen.values())) if seen else None,
            self._group_of(state.name),
            lag.records,
            lag.unknown,
        )


def _recent(recent: Recent) -> RecentView:
    tried = recent.replies + recent.timeouts
    return RecentView(
        WINDOW_S,
        recent.replies,
        recent.failures,
        recent.timeouts,
        round((recent.failures + recent.timeouts) / tried, 4) if tried else None,
        quantile_ms(recent.latencies, 0.5),
        quantile_ms(recent.latencies, 0.99),
    )


def _of_process(process: str, seen: Seen) -> ProcessView:
    return ProcessView(
        process,
        seen.partitions,
        seen.in_flight,
        seen.breaker,
        _moment(seen.since_ms),
        seen.why,
        _moment(seen.heard_ms),
    )


def _moment(at_ms: int | None) -> str | None:
    return None if at_ms is None else format_ms(at_ms)
