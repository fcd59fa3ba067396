"""The W3C trace context as text: `00-<trace>-<span>-<flags>`; only what is well-formed comes here."""

from __future__ import annotations

from hashlib import blake2b

LENGTH = 55
_SAMPLED = frozenset("13579bdf")


def is_sampled(traceparent: str | None) -> bool:
    """Whether whoever began the trace wants it to be recorded."""
    return traceparent is not None and traceparent[-1] in _SAMPLED


def trace_id(traceparent: str) -> str:
    """The trace."""
    return traceparent[3:35]


def span_id(traceparent: str) -> str:
    """The span that is the parent of whatever the bearer of this context does."""
    return traceparent[36:52]


def child(traceparent: str, span: int) -> str:
    """The context of a span of the same trace."""
    return f"00-{traceparent[3:35]}-{span:016x}-{traceparent[53:]}"


def root(trace: int, span: int, *, sampled: bool) -> str:
    """The context of the first span of a new trace."""
    return f"00-{trace:032x}-{span:016x}-{'01' if sampled else '00'}"


def named_child(traceparent: str, name: str) -> str:
    """The context of a span whose id follows from the trace and a name: the same, whoever works it out and when."""
    digest = blake2b(name.encode(), digest_size=8, key=traceparent[3:35].encode()).digest()
    return child(traceparent, int.from_bytes(digest) or 1)
