"""Spans: what they are and which context they have; how they leave the process is in `exporting`.

Off, there is no `Tracing`, and nothing here costs more than asking whether there is one. OpenTelemetry's SDK is not
even imported then.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from coordinator.observability import traceparent as contexts

Attributes = Mapping[str, str | int]


class SpanKind(StrEnum):
    """What a span is in relation to others."""

    SERVER = "server"
    PRODUCER = "producer"
    CONSUMER = "consumer"
    INTERNAL = "internal"


class Span(msgspec.Struct, gc=False):
    """A piece of work; `context` is its own, `end_ns` 0 while it goes on, `error` a word for what went wrong."""

    name: str
    kind: SpanKind
    context: str
    parent: str | None
    begin_ns: int
    attributes: Attributes
    links: Sequence[str] = ()
    end_ns: int = 0
    error: str | None = None


class Exporter(Protocol):
    """Where finished spans go; never waits and never fails."""

    def export(self, spans: Sequence[Span]) -> None:
        """Take finished spans."""
        ...

    async def stop(self) -> None:
        """Send what is left, for a short while at most."""
        ...


class Tracing:
    """Gives spans their contexts and hands them over when they are finished.

    A trace that somebody else began is recorded as they say; of those that begin here, the share `ratio` is.
    """

    def __init__(self, exporter: Exporter, ratio: float) -> None:
        self._exporter = exporter
        self._ratio = ratio
        self._random = random.Random(secrets.randbits(128))  # noqa: S311 - ids, not secrets

    def context(self, parent: str | None) -> str:
        """The context of a new span: of the parent's trace, or of a new one."""
        bits = self._random.getrandbits
        span = bits(64) or 1
        if parent is not None:
            return contexts.child(parent, span)
        return contexts.root(bits(128) or 1, span, sampled=self._random.random() < self._ratio)

    def finish(self, spans: Sequence[Span]) -> None:
        """Hand over spans, which end now unless they have ended."""
        now_ns = time.time_ns()
        for span in spans:
            span.end_ns = span.end_ns or now_ns
        self._exporter.export(spans)

    async def stop(self) -> None:
        """Send what is left."""
        await self._exporter.stop()


class TracingSettings(Protocol):
    """Where spans go, and how many."""

    @property
    def endpoint(self) -> str | None: ...  # noqa: D102
    @property
    def sample_ratio(self) -> float: ...  # noqa: D102
    @property
    def service_name(self) -> str: ...  # noqa: D102


def start_tracing(settings: TracingSettings, instance: str) -> Tracing | None:
    """Begin to trace; None when no endpoint is set."""
    if settings.endpoint is None:
        return None
    from coordinator.observability.exporting import OtlpExporter  # noqa: PLC0415 - costs time and memory when it is off

    return Tracing(OtlpExporter(settings.endpoint, settings.service_name, instance), settings.sample_ratio)
