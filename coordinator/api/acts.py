"""What every act of an operator says: why, which version of the saga was looked at, and if it is only a preview."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
from fastapi import Request
from starlette.responses import Response

from coordinator.api import parameters
from coordinator.api.bodies import Limits, fit, read_object
from coordinator.api.documents.verbs import VerbBody
from coordinator.api.parameters import Query
from coordinator.api.problems import Fault, RequestRefused, invalid
from coordinator.services.verbs import Preview, VerbStale
from coordinator.services.words import says_something
from coordinator.store.reads import SagaSummary

BodyT = TypeVar("BodyT", bound=VerbBody)

PREVIEW = "preview"


class Act(msgspec.Struct, Generic[BodyT], frozen=True):
    """An act as it was asked for; a preview has no `reason`, and `expected` only where one was given."""

    body: BodyT
    reason: str
    expected: int | None
    preview: bool

    @property
    def version(self) -> int:
        """The version that was looked at; raises RequestRefused (428) when nobody said which."""
        if self.expected is None:
            detail = "say which version of the saga you looked at: in expected_version, or as its ETag in If-Match"
            raise RequestRefused(428, "precondition-required", detail, [Fault(detail, "/expected_version")])
        return self.expected

    def check_preview(self, preview: Preview, saga_id: str) -> None:
        """Refuse a preview of another version than the one that was named; raises VerbStale."""
        if self.expected is not None and preview.version != self.expected:
            standing = {"saga_id": saga_id, "saga_status": preview.status, "version": preview.version}
            raise VerbStale(self.expected, standing)


async def read_act(request: Request, limits: Limits, model: type[BodyT]) -> Act[BodyT]:
    """Read an act; raises RequestRefused."""
    preview = Query(request, (PREVIEW,)).flag(PREVIEW)
    parameters.check_idempotency_key(request)
    condition = parameters.version_condition(request)
    body = fit(model, await read_object(request, limits.body_bytes_max, limits.body_timeout_seconds))
    expected = body.expected_version if body.expected_version is not None else condition
    if condition is not None and condition != expected:
        raise invalid(Fault("say once which version you looked at: here, or in If-Match", "/expected_version"))
    reason = "" if preview and body.reason is None else read_reason(body.reason)
    return Act(body, reason, expected, preview)


def read_reason(reason: str | None) -> str:
    """Why somebody does something; raises RequestRefused."""
    if reason is None or not says_something(reason):
        raise invalid(Fault("a reason is printable text that says something", "/reason"))
    return reason.strip()


def accepted(saga: SagaSummary) -> Response:
    """Answer an act that was taken with how the saga stands."""
    return _answer(saga, 202, saga.version)


def previewed(preview: Preview) -> Response:
    """Answer with what an act would do; the ETag is the version for which that holds."""
    return _answer(preview, 200, preview.version)


def _answer(value: Any, status: int, version: int) -> Response:
    return Response(msgspec.json.encode(value), status, {"etag": f'"{version}"'}, "application/json")
