"""The engine of one process: it wires the parts, runs their loops, and stops them in order.

    main loop      poll -> BatchWorker.handle -> BatchWorker.fire
    housekeeping   sweep the outbox, delete acknowledged rows when idle, commit offsets, feed gauges
    watchdog       rebuild a client that is stuck; give up, with a reason, when that does not help

Stopping: the group hears that we go, the batch in hand is finished, what is in flight is awaited, acknowledged rows
are deleted, offsets are committed. Nothing that was finished is delivered again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from coordinator.engine.breaker import BreakerState
from coordinator.engine.cache import SagaCache
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.flow import Flow
from coordinator.engine.lifecycle import Lifecycle
from coordinator.engine.observer import Observer
from coordinator.engine.ownership import Ownership
from coordinator.engine.ports import Bus, Chance, Clock, GroupInbox, Store
from coordinator.engine.registry import Registry
from coordinator.engine.relay import Relay, flush_quietly
from coordinator.engine.slots import open_actions
from coordinator.engine.sweeper import Sweeper
from coordinator.engine.timers import Timers
from coordinator.engine.topology import Topology
from coordinator.engine.worker import BatchWorker
from coordinator.errors import ConfigurationError, Unavailable
from coordinator.kafka.watchdog import Action, Watchdog
from coordinator.observability.metrics import Metrics
from coordinator.observability.tracing import Tracing
from coordinator.saga.definition import RECOVERY, Retry
from coordinator.store.batch import Token

log = structlog.get_logger()

POLL_MS = 50  # how long a poll waits for records; timers have about this resolution
BATCH_MAX = 1_000  # records per statement: about 50 ms of our time
HOUSEKEEPING_S = 0.5
WATCH_S = 5.0
DRAIN_S = 5.0
SURVEY_EVERY = 10  # times of housekeeping
SURVEY_MAX = 2_000  # sagas looked at before others have their turn


class EngineParts:
    """What an engine is made of besides its ports."""

    def __init__(
        self,
        *,
        owner: str,
        cluster_id: str,
        registry: Registry,
        topology: Topology,
        metrics: Metrics,
        lifecycle: Lifecycle | None,
        flow: Flow,
        log_transitions: bool,
        recovery: Retry = RECOVERY,
        tracing: Tracing | None = None,
    ) -> None:
        self.owner = owner
        self.cluster_id = cluster_id
        self.registry = registry
        self.topology = topology
        self.metrics = metrics
        self.lifecycle = lifecycle
        self.flow = flow
        self.log_transitions = log_transitions
        self.recovery = recovery
        self.tracing = tracing


class Engine:
    """Owns partitions of the reply topic and moves their sagas until it is told to stop."""

    def __init__(
        self, store: Store, bus: Bus, inbox: GroupInbox, clock: Clock, chance: Chance, parts: EngineParts
    ) -> None:
        self._store = store
        self._bus = bus
        self._inbox = inbox
        self._clock = clock
        self._metrics = parts.metrics
        self._lifecycle = parts.lifecycle
        self._flow = parts.flow
        self.now = DatabaseClock(clock)
        self.cache = SagaCache()
        self.relay = Relay(bus, store, clock, self._heard_late, parts.metrics.count_commands)
        self.sweeper = Sweeper(store, bus, self.relay, parts.topology, clock, self.now, self._heard_late)
        self.ownership = Ownership(
            store,
            inbox,
            clock,
            self.cache,
            owner=parts.owner,
            cluster_id=parts.cluster_id,
            sweep=self.sweeper.sweep_all,
            events=parts.lifecycle,
        )
        self.timers = Timers(store, inbox, clock, self.now, self.cache)
        self._observer = observer = Observer(
            parts.metrics,
            clock,
            parts.lifecycle,
            log_transitions=parts.log_transitions,
            tracing=parts.tracing,
            answered=parts.flow.answered,
        )
        self.worker = BatchWorker(
            store,
            self.ownership,
            self.relay,
            self.timers,
            self.cache,
            parts.registry,
            parts.topology,
            clock,
            self.now,
            chance,
            observer,
            parts.flow,
            parts.recovery,
        )
        self._watchdog = Watchdog()
        self._stopping = asyncio.Event()
        self._rebuilding = asyncio.Lock()
        self._moved_at = 0.0
        self._assignments_shown = 0
        self._offsets: dict[int, int] = {}
        self._surveys = 0

    async def start(self) -> None:
        """Learn the time and join the group, before `run`; raises Unavailable, and may be called again then."""
        self.now.observe(await self._store.now_ms())
        await self._inbox.start(self.ownership)

    async def run(self) -> None:
        """Work until `stop` is called; raises ConfigurationError or Unavailable when going on is pointless."""
        loops = [
            asyncio.create_task(self._main_loop(), name="main"),
            asyncio.create_task(self._every(HOUSEKEEPING_S, self._keep_house), name="housekeeping"),
            asyncio.create_task(self._every(WATCH_S, self._watch), name="watchdog"),
        ]
        try:
            done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._stopping.set()
            await self._wind_down(loops)

    def stop(self) -> None:
        """Ask the engine to end in order; `run` returns when it has."""
        self._stopping.set()

    async def _main_loop(self) -> None:
        while not self._stopping.is_set():
            await self.relay.room()
            try:
                await self.ownership.follow_resets()  # before polling: what was polled must be handled
                async with self._rebuilding:
                    polled = await self._inbox.poll(BATCH_MAX, POLL_MS)
                if polled:
                    await self.worker.handle(polled)
                    self._moved_at = self._clock.monotonic()
                await self.ownership.follow_resets()  # before firing: what was answered may have to be read again
                await self.worker.fire()
            except Unavailable as error:
                log.warning("engine_waits", reason=str(error))
                await self._clock.sleep(HOUSEKEEPING_S)

    async def _keep_house(self) -> None:
        await self.ownership.reclaim()
        owned = self.ownership.owned
        if owned and self._bus.healthy:
            await self._send_what_was_left(list(owned))
        if self._clock.monotonic() - self._moved_at > 1.0:
            await flush_quietly(self.relay)
        offsets = {part: at.next_offset for part, at in owned.items()}
        if offsets != self._offsets and await self._inbox.commit(offsets, timeout_s=2.0):
            self._offsets = offsets
        self.now.observe(await self._store.now_ms())
        await self.timers.gate.ask(list(owned), soon=False)  # the main loop asks, too, unless it is stuck
        await self._observer.settle_doubts(self._store)
        if self._surveys % SURVEY_EVERY == 0:
            await self._survey()
        self._surveys += 1
        self._show()

    async def _survey(self) -> None:
        """Count what is in flight per participant, for people, where the hot path does not."""
        if self._flow.counts_slots:
            return
        actives = self.cache.all()
        found: Counter[str] = Counter()
        for first in range(0, len(actives), SURVEY_MAX):
            for active in actives[first : first + SURVEY_MAX]:
                found.update(open_actions(active.definition, active.saga))
            await self._clock.sleep(0)
        self._flow.surveyed(found)

    async def _send_what_was_left(self, parts: list[int]) -> None:
        """Commands that nobody sent, and the lifecycle events of those same transitions or of failed batches."""
        now_ms = self.now.now_ms()
        swept_ms = await self.sweeper.sweep_now_and_then(parts, now_ms)
        if self._lifecycle is not None:
            await self._lifecycle.settle(parts, now_ms, swept_ms)

    def _show(self) -> None:
        metrics = self._metrics
        metrics.outbox_in_flight.set(self.relay.in_flight)
        metrics.outbox_published.set(self.relay.published)
        metrics.active.set(len(self.cache))
        metrics.outbox_in_flight_age.set(self.relay.oldest_in_flight_s)
        metrics.timers_held.set(self.timers.held)
        metrics.timers_held_age.set(self.timers.held_s)
        metrics.clock_steady.set(self.now.steady)
        metrics.partitions_owned.set(len(self.ownership.owned))
        metrics.rebalances.inc(self.ownership.assignments - self._assignments_shown)
        self._assignments_shown = self.ownership.assignments
        for state in self._flow.states():
            metrics.show_participant(state.name, state.in_flight, state.held, list(BreakerState).index(state.breaker))
        metrics.show_lag(self._lags())

    def _lags(self) -> dict[int, int]:
        """How many records of our partitions are not consumed; what is polled and not yet written is not."""
        gate, owned = self.timers.gate, self.ownership.owned
        ends = {} if gate.probe is None else gate.probe.ends
        busy = self.worker.busy
        reached = {part: at.next_offset if busy else gate.reached(at) for part, at in owned.items()}
        return {part: max(0, end - reached[part]) for part, end in ends.items() if part in reached}

    async def _watch(self) -> None:
        seen = await self._inbox.observe()
        now = self._clock.monotonic()
        verdict = self._watchdog.observe(now, seen)
        rebuild = self._rebuild_inbox
        if verdict.action is Action.OK:
            verdict = self._watchdog.observe_relay(now, self.relay.oldest_in_flight_s)
            rebuild = self._bus.rebuild
        if verdict.action is Action.EXIT:
            raise ConfigurationError(f"giving up on Kafka: {verdict.reason}")
        if verdict.action is Action.REBUILD:
            log.error("client_rebuilt", reason=verdict.reason, alert=True)
            await rebuild()

    async def _rebuild_inbox(self) -> None:
        async with self._rebuilding:
            await self._inbox.rebuild()

    async def _every(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            try:
                await action()
            except Unavailable as error:
                log.warning("housekeeping_postponed", reason=str(error))
            await self._clock.sleep(seconds)

    async def _wind_down(self, loops: list[asyncio.Task[None]]) -> None:
        # The main loop ends by itself between two batches: cancelling it would make a commit's outcome unknown.
        await asyncio.wait(loops[:1], timeout=DRAIN_S)
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        with contextlib.suppress(TimeoutError):  # Postgres may be away; what it has not committed comes again
            async with asyncio.timeout(DRAIN_S):
                await self.worker.land()
        await self.relay.drain(DRAIN_S)
        if self._lifecycle is not None:
            await self._lifecycle.drain(DRAIN_S)
        await flush_quietly(self.relay)
        await self._inbox.stop()
        log.info("engine_stopped")

    def _heard_late(self, token: Token, late_ms: int) -> None:
        self.timers.gate.sent_late(token.saga_id, token.saga_version, late_ms)
