"""Spans of a participant's work, for traces that are to be recorded; off unless an endpoint is set.

A span has its context before the work is committed, because the reply carries it; it is handed over afterwards, so
that only what happened is told.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from typing import TYPE_CHECKING, Final

from coordinator.wire.inbound import InboundCommand
from coordinator.wire.messages import Reply

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

QUEUE_MAX: Final = 8_192
BATCH_MAX: Final = 512
DELAY_MS: Final = 500
TIMEOUT_S: Final = 5.0
STOP_S: Final = 3.0
_SAMPLED: Final = frozenset("13579bdf")


class Traces:
    """Makes a span of each command and sends it to an OpenTelemetry collector, from a thread of its own."""

    def __init__(self, endpoint: str, participant: str, topic: str) -> None:
        # Here, because importing it costs time and memory that nobody pays who does not trace.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        self._participant = participant
        self._topic = topic
        self._random = random.Random(secrets.randbits(128))  # noqa: S311 (ids, not secrets)
        self._resource = Resource.create({"service.name": participant})
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(endpoint, timeout=TIMEOUT_S),
            max_queue_size=QUEUE_MAX,
            schedule_delay_millis=DELAY_MS,
            max_export_batch_size=BATCH_MAX,
        )

    def context(self, inbound: InboundCommand) -> str | None:
        """Make the context of the work on a command, for its reply; None when the trace is not recorded."""
        parent = inbound.traceparent
        if parent is None or parent[-1] not in _SAMPLED:
            return None
        return f"00-{parent[3:35]}-{self._random.getrandbits(64) or 1:016x}-{parent[53:]}"

    def finish(self, inbound: InboundCommand, context: str, reply: Reply | None, began_ns: int) -> None:
        """Hand over the span of committed work; never waits."""
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415

        error = getattr(reply, "error", None)
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": self._topic,
            "messaging.message.id": inbound.ce_id,
            "messaging.message.conversation_id": inbound.command.saga_id,
            "saga.id": inbound.command.saga_id,
            "saga.definition": inbound.command.saga_type,
            "saga.step": inbound.command.step_name,
            "saga.command": inbound.name,
            "saga.direction": inbound.command.direction,
            "saga.attempt": inbound.command.attempt,
        }
        if error is not None:
            attributes["error.type"] = str(error.code)
        span = ReadableSpan(
            f"process {self._topic}",
            _span_context(context, is_remote=False),
            None if inbound.traceparent is None else _span_context(inbound.traceparent, is_remote=True),
            self._resource,
            attributes,
            kind=SpanKind.CONSUMER,
            status=Status(StatusCode.UNSET if error is None else StatusCode.ERROR),
            start_time=began_ns,
            end_time=time.time_ns(),
        )
        self._processor.on_end(span)

    def stop(self) -> None:
        """Send what is left, for a few seconds at most; blocks."""
        ending = threading.Thread(target=self._processor.shutdown, daemon=True)
        ending.start()
        ending.join(STOP_S)


def _span_context(traceparent: str, *, is_remote: bool) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415

    return SpanContext(int(traceparent[3:35], 16), int(traceparent[36:52], 16), is_remote, TraceFlags(1))
