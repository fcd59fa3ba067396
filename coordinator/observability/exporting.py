"""Spans to an OpenTelemetry collector over OTLP/HTTP, from a thread of its own with a bounded queue.

While the collector is away spans wait, and beyond the queue the oldest are dropped. Nobody who traces ever waits.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from coordinator.observability.traceparent import span_id, trace_id
from coordinator.observability.tracing import Span

QUEUE_MAX: Final = 8_192  # spans; about a kilobyte each
BATCH_MAX: Final = 512
DELAY_MS: Final = 500
TIMEOUT_S: Final = 5.0
STOP_S: Final = 3.0

_KINDS: Final = {kind.name.lower(): kind for kind in SpanKind}
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


class OtlpExporter:
    """Takes finished spans that are sampled."""

    def __init__(self, endpoint: str, service_name: str, instance: str) -> None:
        self._resource = Resource.create({"service.name": service_name, "service.instance.id": instance})
        self._scope = InstrumentationScope("saga-coordinator")
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(endpoint, timeout=TIMEOUT_S),
            max_queue_size=QUEUE_MAX,
            schedule_delay_millis=DELAY_MS,
            max_export_batch_size=BATCH_MAX,
        )

    def export(self, spans: Sequence[Span]) -> None:
        """Queue spans; what does not fit is dropped."""
        for span in spans:
            self._processor.on_end(self._readable(span))

    async def stop(self) -> None:
        """Send what is left, for a few seconds at most."""
        ending = threading.Thread(target=self._processor.shutdown, daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, STOP_S)

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            span.name,
            _context(span.context, is_remote=False),
            None if span.parent is None else _context(span.parent, is_remote=True),
            self._resource,
            dict(span.attributes) if span.error is None else {**span.attributes, "error.type": span.error},
            (),
            [Link(_context(link, is_remote=True)) for link in span.links],
            _KINDS[span.kind],
            status=Status(StatusCode.UNSET if span.error is None else StatusCode.ERROR),
            start_time=span.begin_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )


def _context(traceparent: str, *, is_remote: bool) -> SpanContext:
    return SpanContext(int(trace_id(traceparent), 16), int(span_id(traceparent), 16), is_remote, _SAMPLED)
