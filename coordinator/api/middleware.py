"""Around every request: its id, its headers, its measurement, and an answer whatever happens."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from functools import cache

import structlog
from prometheus_client import CollectorRegistry
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.api.problems import MEDIA_TYPE, RequestRefused, body_of, internal, respond
from coordinator.observability.collectors import BatchHistogram
from coordinator.observability.metrics import Declared
from coordinator.observability.traceparent import is_sampled, trace_id
from coordinator.observability.tracing import Span, SpanKind, Tracing
from coordinator.wire.cloudevents import traceparent_of

log = structlog.get_logger()

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
# Where a proxy before us goes by the other length, one request would be two: the connection ends with the answer.
_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
_TWO_LENGTHS = RequestRefused(
    400, "not-http", "a request has either a Content-Length or a Transfer-Encoding", headers={"connection": "close"}
)
_SAFETY = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


MEASURED = Declared(
    "saga_http_request_seconds", "histogram", ("route", "method", "status"), "Answered requests by route."
)


class Guard:
    """The outermost layer of ours; plain ASGI, so that it costs microseconds."""

    def __init__(
        self,
        app: ASGIApp,
        registry: CollectorRegistry,
        said: Sequence[tuple[bytes, bytes]] = (),
        tracing: Tracing | None = None,
    ) -> None:
        self._app = app
        self._headers = [*_SAFETY, *said]
        self._tracing = tracing
        self._seconds = _histogram(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)  # the server gives each request a task
        span = None if self._tracing is None else _begin_span(self._tracing, scope)
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *self._headers]
            await send(message)

        try:
            app = respond(_TWO_LENGTHS, request_id) if _has_two_lengths(scope) else self._app
            await app(scope, receive, send_marked)
        except ClientDisconnect:
            return
        except Exception:
            log.exception("request_failed", method=scope["method"], route=_route(scope))
            if status:
                raise  # half an answer is out: the connection must be cut
            await _answer_internal(request_id, send_marked)
        finally:
            if span is not None and self._tracing is not None:
                self._tracing.finish([_end_span(span, scope, status)])
            if status and not scope["state"].get("streaming"):  # a stream lasts until somebody has enough of it
                method = scope["method"] if scope["method"] in METHODS else "other"
                took_ms = 1000 * (time.perf_counter() - began)
                self._seconds.observe((_route(scope), method, str(status)), (took_ms,))


def request_id_of(scope: Scope) -> str:
    """The id of a request."""
    found: str = scope["state"]["request_id"]
    return found


@cache
def _histogram(registry: CollectorRegistry) -> BatchHistogram:
    """The one histogram of a process: the app that waits and the app that serves share it."""
    return BatchHistogram(MEASURED.name, MEASURED.meaning, MEASURED.labels, _SECONDS, registry)


def _begin_span(tracing: Tracing, scope: Scope) -> Span | None:
    """Give a request of the API its place in a trace; None when that is not recorded."""
    if not scope["path"].startswith("/v1/"):
        return None
    given = [value for name, value in scope["headers"] if name == b"traceparent"]
    parent = traceparent_of({"traceparent": given[0]}) if len(given) == 1 else None
    context = scope["state"]["traceparent"] = tracing.context(parent)
    if not is_sampled(context):
        return None
    structlog.contextvars.bind_contextvars(trace_id=trace_id(context))
    return Span("", SpanKind.SERVER, context, parent, time.time_ns(), {})


def _end_span(span: Span, scope: Scope, status: int) -> Span:
    method = scope["method"] if scope["method"] in METHODS else "_OTHER"
    span.name = f"{method} {_route(scope)}"
    span.attributes = {
        "http.request.method": method,
        "http.route": _route(scope),
        "http.response.status_code": status,
        "saga.request_id": request_id_of(scope),
    }
    span.error = str(status) if status >= 500 or not status else None
    return span


def _request_id(scope: Scope) -> str:
    given: list[bytes] = [value for name, value in scope["headers"] if name == b"x-request-id"]
    if len(given) == 1 and _SANE_ID.fullmatch(given[0]):
        return given[0].decode()
    return secrets.token_hex(8)


def _has_two_lengths(scope: Scope) -> bool:
    return len({name for name, _ in scope["headers"]} & _LENGTHS) > 1


def _route(scope: Scope) -> str:
    """The route's template: what stands in a URL must never become a label."""
    path: str = getattr(scope.get("route"), "path", "unmatched")
    return path


async def _answer_internal(request_id: str, send: Send) -> None:
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body_of(internal(request_id), {})})
