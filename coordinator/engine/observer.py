"""What the engine tells of its work: metrics per batch, a log line, an event and spans per transition."""

from __future__ import annotations

import logging
import time

import structlog

from coordinator.engine.counting import Answered, Counting
from coordinator.engine.doubts import Doubts, LogReader
from coordinator.engine.draft import Draft, Transitioned
from coordinator.engine.lifecycle import Lifecycle
from coordinator.engine.ports import Clock
from coordinator.engine.tracing import batch_span
from coordinator.observability.metrics import Metrics
from coordinator.observability.tracing import Span, Tracing
from coordinator.store.postgres import Committed

log = structlog.get_logger()


class Observer:
    """Counts what was committed; `log_transitions` adds one structured line per transition.

    `answered` hears what participants answered to actions.
    """

    def __init__(
        self,
        metrics: Metrics,
        clock: Clock,
        lifecycle: Lifecycle | None,
        *,
        log_transitions: bool,
        tracing: Tracing | None = None,
        answered: Answered | None = None,
    ) -> None:
        self.tracing = tracing
        self._statement_s = 0.0
        self._metrics = metrics
        self._clock = clock
        self._lifecycle = lifecycle
        self._log_transitions = log_transitions
        self._counting = Counting(metrics, answered)
        self._doubts = Doubts(clock)
        self._committed_ms = 0

    @property
    def events_through_ms(self) -> int:
        """Up to when every lifecycle event is on Kafka, for the durable mark; with events off, none is missing."""
        return self._committed_ms if self._lifecycle is None else self._lifecycle.through_ms

    def statement_begins(self) -> float:
        """Start the clock of a batch statement."""
        return self._clock.monotonic()

    def statement_ended(self, began: float) -> None:
        """Stop it."""
        self._statement_s = self._clock.monotonic() - began
        self._metrics.statement_seconds.observe(self._statement_s)

    def odd(self, oddities: dict[str, int]) -> None:
        """Count what was odd about records that were taken all the same."""
        for kind, count in oddities.items():
            self._metrics.oddities.labels(kind).inc(count)

    def committed(
        self,
        transitions: list[Transitioned],
        verdicts: dict[tuple[str, str], int],
        committed: Committed,
        spans: list[Span],
    ) -> None:
        """A batch is durable: count it, publish its events, log it, and hand over its spans."""
        self._committed_ms = committed.at_ms
        self._count(transitions, committed.now_ms)
        self._metrics.last_batch.set(committed.at_ms / 1000)
        self._metrics.count_verdicts(verdicts)
        if self._lifecycle is not None:
            self._lifecycle.publish(transitions, committed.at_ms)
        if spans and self.tracing is not None:
            began_ns = time.time_ns() - int(self._statement_s * 1e9)
            self.tracing.finish([*spans, batch_span(self.tracing, spans, began_ns, len(transitions))])
        if self._log_transitions and log.is_enabled_for(logging.INFO):
            for transition in transitions:
                _log(transition)

    def unheard(self, draft: Draft, now_ms: int) -> None:
        """It is not known whether a draft was committed: it is counted when the log says so."""
        transitions = draft.transitions
        self._metrics.batches_unknown.inc()
        self._doubts.add(draft.batch, lambda: self._count(transitions, now_ms))

    async def settle_doubts(self, reader: LogReader) -> None:
        """Count what was committed unheard of. Raises Unavailable."""
        await self._doubts.settle(reader)

    def _count(self, transitions: list[Transitioned], now_ms: int) -> None:
        self._counting.count(transitions, now_ms)
        if transitions:
            self._metrics.batch_size.observe(len(transitions))


def _log(transition: Transitioned) -> None:
    """Write the line of a transition; a request that caused it adds its id by itself."""
    saga, active, old = transition.saga, transition.active, transition.before
    more: dict[str, str] = {}
    position = None if transition.step_name is None else active.definition.index.get(transition.step_name)
    if position is not None:
        if old is not None:
            before = old.steps[position]
            more["old_step_outcome"], more["old_step_undo"] = before.outcome, before.undo
        after = saga.steps[position]
        more["step_outcome"], more["step_undo"] = after.outcome, after.undo
    if active.traceparent is not None:
        more["trace_id"] = active.traceparent[3:35]
    log.info(
        "saga_moved",
        saga_id=saga.id,
        definition=saga.definition,
        step_name=transition.step_name,
        old_status=None if old is None else old.status,
        status=saga.status,
        version=saga.version,
        cause=transition.event,
        **more,
    )
