"""Spans and their contexts; and that there is nothing to pay while nothing is traced."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from coordinator.observability import traceparent
from coordinator.observability.tracing import Span, SpanKind, Tracing, start_tracing
from coordinator.settings import TracingSettings
from coordinator.wire.cloudevents import traceparent_of

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OFF = """
import sys
import coordinator.bootstrap, coordinator.cli, participants.kit.runner
from coordinator.observability.tracing import start_tracing
from coordinator.settings import TracingSettings
assert start_tracing(TracingSettings(), "me") is None
sys.exit(any(name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")) for name in sys.modules))
"""


class Kept:
    """An exporter that keeps spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def export(self, spans: Sequence[Span]) -> None:
        """Keep them."""
        self.spans += spans

    async def stop(self) -> None:
        """Nothing is left to send."""


def test_off_nothing_is_even_imported() -> None:
    """Without an endpoint neither a coordinator nor a participant loads OpenTelemetry's SDK or an exporter."""
    assert subprocess.run([sys.executable, "-c", OFF], check=False).returncode == 0
    assert start_tracing(TracingSettings(), "me") is None


def test_a_child_goes_on_with_trace_and_flag() -> None:
    """A span below another one has its trace and its flag, and an id of its own."""
    tracing = Tracing(Kept(), 1.0)
    for flag in ("00", "01"):
        parent = GIVEN[:-2] + flag
        child = tracing.context(parent)
        assert (child[:36], child[53:]) == (parent[:36], flag)
        assert child != parent
        assert traceparent_of({"traceparent": child.encode()}) == child


@pytest.mark.parametrize(("ratio", "share"), [(0.0, (0, 0)), (1.0, (1000, 1000)), (0.3, (200, 400))])
def test_of_new_traces_a_share_is_recorded(ratio: float, share: tuple[int, int]) -> None:
    """The ratio decides about traces that begin here; each is well-formed and no two are the same."""
    tracing = Tracing(Kept(), ratio)
    made = [tracing.context(None) for _ in range(1000)]
    assert share[0] <= sum(map(traceparent.is_sampled, made)) <= share[1]
    assert len(set(made)) == 1000
    assert all(traceparent_of({"traceparent": each.encode()}) == each for each in made)


def test_the_id_of_an_attempt_follows_from_it() -> None:
    """Whoever works out the context of an attempt's span gets the same; another attempt or trace has another."""
    one = traceparent.named_child(GIVEN, "saga:step#1")
    assert one == traceparent.named_child(GIVEN.replace("00f067", "11f067"), "saga:step#1")
    assert one != traceparent.named_child(GIVEN, "saga:step#2")
    other = traceparent.named_child(GIVEN.replace("4bf9", "5bf9"), "saga:step#1")
    assert traceparent.span_id(other) != traceparent.span_id(one)
    assert traceparent.trace_id(one) == traceparent.trace_id(GIVEN)


def test_a_span_ends_when_it_is_handed_over() -> None:
    """A span that has not ended ends then; one that has keeps its end."""
    kept = Kept()
    spans = [Span("a", SpanKind.INTERNAL, GIVEN, None, 1, {}), Span("b", SpanKind.INTERNAL, GIVEN, None, 1, {}, (), 2)]
    Tracing(kept, 1.0).finish(spans)
    assert kept.spans == spans
    assert spans[0].end_ns > 1
    assert spans[1].end_ns == 2


@pytest.mark.parametrize("flags", ["00", "02", "fe", "01", "03", "ff"])
def test_only_the_lowest_bit_says_that_a_trace_is_recorded(flags: str) -> None:
    """Other flags of W3C mean something else."""
    assert traceparent.is_sampled(GIVEN[:-2] + flags) == bool(int(flags, 16) & 1)
    assert not traceparent.is_sampled(None)
