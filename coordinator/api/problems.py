"""What goes wrong, as application/problem+json (RFC 9457); nothing of a request is echoed that cannot be written.

`errors` lists what is wrong and where: a JSON pointer into the body, or the name of a query parameter or header.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from coordinator.errors import CallerError, InvalidInput, SagaError, Unavailable

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:saga-coordinator:problem:"
TEXT_MAX = 500
ERRORS_MAX = 20
RETRY_AFTER_S = 1

_ENCODER = msgspec.json.Encoder()


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a request, and where."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every error; further members depend on the type."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[Fault] = []


class RequestRefused(CallerError):
    """A request that HTTP or our own rules refuse before it means anything."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status_code = status
        self.kind = kind
        self.errors = errors
        self.headers = dict(headers or {})


def invalid(fault: Fault, *, status: int = 422) -> RequestRefused:
    """Refuse a request for one fault."""
    return RequestRefused(status, "invalid-input", fault.detail, [fault])


def starting(what: str) -> RequestRefused:
    """Refuse a request because this process still waits for `what`; that must name no address of ours."""
    return RequestRefused(503, "unavailable", f"this process is starting and waits for {what}; ask again")


def problem_of(error: SagaError, request_id: str) -> tuple[Problem, dict[str, Any]]:
    """Describe an error of ours; the second answer are the further members."""
    if isinstance(error, CallerError):
        status, kind = error.status_code, error.kind
    elif isinstance(error, Unavailable):
        status, kind = 503, "unavailable"
    else:
        return internal(request_id), {}
    faults: Sequence[Fault] = getattr(error, "errors", ())
    if isinstance(error, InvalidInput):
        faults = [Fault(str(error), error.pointer)]
    # What Unavailable says names addresses of ours.
    is_away = isinstance(error, Unavailable)
    detail = "Kafka or Postgres is away for now; ask again with the same request" if is_away else str(error)
    return _problem(status, kind, detail, request_id, faults), getattr(error, "members", {})


def internal(request_id: str) -> Problem:
    """Describe a fault of ours, without its inside."""
    detail = "something went wrong here; the log of this process knows more under the request id"
    return _problem(500, "internal", detail, request_id, ())


def body_of(problem: Problem, members: Mapping[str, Any]) -> bytes:
    """Write a problem."""
    if not members:
        return _ENCODER.encode(problem)
    return _ENCODER.encode({**msgspec.to_builtins(problem), **members})


def respond(error: SagaError, request_id: str) -> Response:
    """Answer with the problem that an error is."""
    problem, members = problem_of(error, request_id)
    headers = dict(getattr(error, "headers", {}))
    if problem.status == 503:
        headers["retry-after"] = str(RETRY_AFTER_S)
    return Response(body_of(problem, members), problem.status, headers, MEDIA_TYPE)


def _problem(status: int, kind: str, detail: str, request_id: str, faults: Sequence[Fault]) -> Problem:
    return Problem(
        TYPE_PREFIX + kind,
        HTTPStatus(status).phrase,
        status,
        _writable(detail),
        request_id,
        [_writable_fault(fault) for fault in faults[:ERRORS_MAX]],
    )


def _writable_fault(fault: Fault) -> Fault:
    pointer = None if fault.pointer is None else _writable(fault.pointer)
    return Fault(_writable(fault.detail), pointer, fault.parameter, fault.header)


def _writable(text: str) -> str:
    return text[:TEXT_MAX].encode("utf-8", "backslashreplace").decode()
