"""The way out: bounded, in the background, whether anybody takes the spans or not."""

from __future__ import annotations

import asyncio
import time

from coordinator.observability import exporting
from coordinator.observability.exporting import OtlpExporter
from coordinator.observability.tracing import Span, SpanKind
from deploy.local.processes import free_port
from tests.e2e.collecting import collecting

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def span(number: int = 1, error: str | None = None) -> Span:
    """Make a span."""
    context = f"{GIVEN[:36]}{number:016x}-01"
    attributes: dict[str, str | int] = {"saga.step": "pay", "saga.attempt": number}
    return Span("send", SpanKind.PRODUCER, context, GIVEN, 1_000, attributes, [GIVEN], 2_000, error)


async def test_a_span_arrives_as_it_was_made() -> None:
    """Ids, parent, times, attributes, links and the error come through."""
    with collecting() as collector:
        exporter = OtlpExporter(collector.url, "payment", "one")
        exporter.export([span(error="declined")])
        await exporter.stop()
    [arrived] = collector.spans
    assert (arrived.service, arrived.name, arrived.kind) == ("payment", "send", "producer")
    assert (arrived.trace_id, arrived.span_id, arrived.parent_id) == (GIVEN[3:35], f"{1:016x}", GIVEN[36:52])
    assert (arrived.begin_ns, arrived.end_ns, arrived.links) == (1_000, 2_000, (GIVEN[3:35],))
    assert arrived.attributes == {"saga.step": "pay", "saga.attempt": "1", "error.type": "declined"}


async def test_nobody_takes_them_and_nobody_waits() -> None:
    """Without a collector spans are taken at once, no more are kept than fit, and stopping ends in time."""
    exporter = OtlpExporter(f"http://127.0.0.1:{free_port()}/v1/traces", "payment", "one")
    began = time.monotonic()
    exporter.export([span(number) for number in range(1, 3 * exporting.QUEUE_MAX)])
    assert time.monotonic() - began < 5
    assert len(exporter._processor._batch_processor._queue) <= exporting.QUEUE_MAX
    async with asyncio.timeout(exporting.STOP_S + 2):
        await exporter.stop()
