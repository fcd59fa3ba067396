"""What every act of an operator says: why, and which version of the saga was looked at."""

from __future__ import annotations

import msgspec
from fastapi import Request
from starlette.responses import Response

from coordinator.api import parameters
from coordinator.api.bodies import Limits, fit, read_object
from coordinator.api.documents.verbs import RetryBody
from coordinator.api.parameters import Query
from coordinator.api.problems import Fault, RequestRefused
from coordinator.services.words import says_something
from coordinator.store.reads import SagaSummary


async def read_act(request: Request, limits: Limits) -> tuple[int, str]:
    """Read an act's expected version and reason; raises RequestRefused."""
    Query(request)
    parameters.check_idempotency_key(request)
    condition = parameters.version_condition(request)
    body = fit(RetryBody, await read_object(request, limits.body_bytes_max, limits.body_timeout_seconds))
    if not says_something(body.reason):
        detail = "a reason is printable text that says something"
        raise RequestRefused(422, "invalid-input", detail, [Fault(detail, "/reason")])
    expected = body.expected_version if body.expected_version is not None else condition
    if expected is None or (condition is not None and condition != expected):
        detail = "say once which version you looked at: here, or in If-Match"
        raise RequestRefused(422, "invalid-input", detail, [Fault(detail, "/expected_version")])
    return expected, body.reason.strip()


def accepted(saga: SagaSummary) -> Response:
    """Answer an act that was taken with how the saga stands."""
    return Response(msgspec.json.encode(saga), 202, {"etag": f'"{saga.version}"'}, "application/json")
