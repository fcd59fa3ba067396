"""The observer of one process: it reads the topics of events, each as a member of a group of its own, and keeps time.

    per topic   poll -> read -> Recorder.take_in -> commit offsets
    beside      now and then: deadlines that have passed, replays that are owed (the reader of the first partition only)

Nothing that goes wrong here ends the engine beside it: what cannot be done now is done later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from coordinator.choreography.choreographies import Choreographies
from coordinator.choreography.deciding import Recorder
from coordinator.choreography.reading import read
from coordinator.choreography.timers import ObservedTimers, Offsets
from coordinator.engine.ports import Bus, Clock, Store
from coordinator.errors import SagaError
from coordinator.kafka.records import OffsetReset
from coordinator.kafka.subscriber import Subscriber
from coordinator.kafka.watchdog import Action, Watchdog
from coordinator.observability.metrics import Metrics
from coordinator.saga.effects import Verdict

log = structlog.get_logger()

POLL_MS = 200
BATCH_MAX = 500
KEEP_TIME_S = 0.5
WATCH_S = 5.0
PAUSE_S = 0.5
STOP_S = 5.0


class EventTopic:
    """One topic of events: whose it is, who reads it, and how many partitions it has."""

    def __init__(self, source: str, topic: str, partitions: int, subscriber: Subscriber) -> None:
        self.source = source
        self.topic = topic
        self.partitions = range(partitions)
        self.subscriber = subscriber
        self.watchdog = Watchdog()
        self.committed: dict[int, int] = {}
        self.is_joined = False
        self.is_started = False

    async def start(self) -> None:
        """Connect; only from then on is there anything to watch. Raises Unavailable, ConfigurationError."""
        await self.subscriber.start(self)
        self.is_started = True

    async def on_assigned(self, partitions: set[int]) -> None:
        """Reading goes on after the last commit: there is nothing to take over."""
        self.committed = {}
        self.is_joined = True
        log.info("events_assigned", topic=self.topic, partitions=sorted(partitions))

    async def on_revoked(self, partitions: set[int]) -> None:
        """What is in hand may be taken in by another process as well: that changes nothing."""


def warn_of_reset(reset: OffsetReset) -> None:
    """Say that events are not there any more, or that the topic is another one."""
    log.error("events_offset_reset", topic=reset.topic, asked=reset.asked, earliest=reset.earliest, alert=True)


def _problem(topic: EventTopic) -> str | None:
    why = topic.subscriber.broken
    if why is None and not topic.is_joined:
        why = "the group has not given us our partitions yet"
    return None if why is None else f"{topic.topic}: {why}"


class ChoreographyObserver:
    """Observes the choreographies that the settings name, until it is told to stop."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        topics: Sequence[EventTopic],
        choreographies: Choreographies,
        recorder: Recorder,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._store = store
        self._topics = topics
        self._choreographies = choreographies
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._timers = ObservedTimers(store, bus, choreographies, recorder, self._ends, self._read)

    async def run(self, stopping: asyncio.Event) -> None:
        """Observe until `stopping`; never raises for what Kafka or Postgres do."""
        await self._patiently(self._know_the_time, stopping)
        following = [asyncio.create_task(self._follow(topic, stopping)) for topic in self._topics]
        beside = [
            asyncio.create_task(self._every(KEEP_TIME_S, self._keep_time, stopping)),
            asyncio.create_task(self._every(WATCH_S, self._watch, stopping)),
        ]
        await stopping.wait()
        await asyncio.wait(following, timeout=STOP_S)  # what is in hand is finished; what is not comes again
        for task in (*following, *beside):
            task.cancel()
        await asyncio.gather(*following, *beside, return_exceptions=True)
        await asyncio.gather(*(topic.subscriber.stop() for topic in self._topics), return_exceptions=True)

    async def check(self) -> str | None:
        """Say which topic is not read, for readiness; None when all are."""
        problems = (_problem(topic) for topic in self._topics)
        return ", ".join(problem for problem in problems if problem is not None) or None

    async def _follow(self, topic: EventTopic, stopping: asyncio.Event) -> None:
        await self._patiently(topic.start, stopping)
        while not stopping.is_set():
            await self._patiently(lambda: self._step(topic), stopping)

    async def _step(self, topic: EventTopic) -> None:
        """Take in what has come, then say how far we are; `take_in` does not come back before it is durable."""
        subscriber = topic.subscriber
        polled = await subscriber.poll(BATCH_MAX, POLL_MS)
        if polled:
            arrivals, foreign = read(polled, topic.source, topic.topic, self._choreographies)
            self._metrics.count_verdicts({(Verdict.FOREIGN, "unexpected"): foreign})
            await self._recorder.take_in(arrivals, topic.topic)
        reached = {part: at for part in subscriber.ready if (at := subscriber.position(part)) is not None}
        if reached != topic.committed and await subscriber.commit(reached):
            topic.committed = reached

    async def _keep_time(self) -> None:
        await self._know_the_time()
        await self._recorder.settle_doubts()
        if 0 in self._topics[0].subscriber.assigned:
            await self._timers.fire()

    async def _know_the_time(self) -> None:
        self._recorder.now.observe(await self._store.now_ms())

    async def _watch(self) -> None:
        for topic in self._topics:
            if not topic.is_started:
                continue
            seen = await topic.subscriber.observe()
            verdict = topic.watchdog.observe(self._clock.monotonic(), seen)
            if verdict.action is not Action.OK:
                log.error("client_rebuilt", topic=topic.topic, reason=verdict.reason, alert=True)
                await topic.subscriber.rebuild()

    async def _ends(self) -> Offsets:
        return {
            (topic.topic, part): end
            for topic in self._topics
            for part, end in (await topic.subscriber.end_offsets(topic.partitions)).items()
        }

    async def _read(self) -> Offsets:
        return {
            (topic.topic, part): at
            for topic in self._topics
            for part, at in (await topic.subscriber.committed(topic.partitions)).items()
            if at is not None
        }

    async def _every(self, seconds: float, action: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self._patiently(action, stopping)
            await self._clock.sleep(seconds)

    async def _patiently(self, action: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
        """Do something until it works, saying why it does not."""
        while not stopping.is_set():
            try:
                await action()
            except SagaError as error:
                log.warning("observer_waits", reason=str(error))
            except Exception:
                log.exception("observer_failed", alert=True)
            else:
                return
            await self._clock.sleep(PAUSE_S)
