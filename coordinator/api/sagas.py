"""The routes that start sagas and steer them: each reads a request strictly, calls the service, writes the answer."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api import parameters
from coordinator.api.access import Permission, Principal, principal_of
from coordinator.api.bodies import Limits, fit, read_object
from coordinator.api.documents import sagas as documents
from coordinator.api.documents.sagas import BulkBody, CompleteStepBody, FailStepBody, StartBody
from coordinator.api.middleware import request_id_of
from coordinator.api.parameters import Query
from coordinator.api.problems import Fault, RequestRefused, body_of, problem_of
from coordinator.api.routes import Routes
from coordinator.api.scoping import check_known, check_startable
from coordinator.engine.registry import RESULT_BYTES_MAX
from coordinator.errors import SagaError
from coordinator.saga.events import ExternalCompleted, ExternalFailed, Failure
from coordinator.services.sagas import SagaService, Started, StartRequest
from coordinator.store.reads import SagaReads
from coordinator.wire.strict_json import encode

_ENCODER = msgspec.json.Encoder()


def add_saga_routes(routes: Routes, service: SagaService, reads: SagaReads, limits: Limits) -> None:
    """Add the routes."""
    sagas = _SagaRoutes(service, reads, limits)
    one = "/v1/sagas/{saga_id}"
    routes.post("/v1/sagas", documents.START, Permission.START, sagas.start)
    routes.post("/v1/sagas/bulk", documents.START_MANY, Permission.START, sagas.start_many)
    routes.post(f"{one}/steps/{{step}}/complete", documents.COMPLETE_STEP, Permission.ANSWER, sagas.complete_step)
    routes.post(f"{one}/steps/{{step}}/fail", documents.FAIL_STEP, Permission.ANSWER, sagas.fail_step)


class _SagaRoutes:
    def __init__(self, service: SagaService, reads: SagaReads, limits: Limits) -> None:
        self._service = service
        self._reads = reads
        self._limits = limits

    async def start(self, request: Request) -> Response:
        """Start a saga; the same business key with the same input gives the same saga."""
        Query(request)
        parameters.check_idempotency_key(request)
        body = fit(StartBody, await self._body(request))
        check_startable(principal_of(request), body.definition)
        wanted = _request(body, parameters.traceparent(request))
        started = await self._service.start(wanted)
        headers = {"location": f"/v1/sagas/{started.saga.id}", "etag": _etag(started.saga.version)}
        if not started.created:
            headers["idempotency-replayed"] = "true"
        return _json(started.saga, 201 if started.created else 200, headers)

    async def start_many(self, request: Request) -> Response:
        """Start many sagas with one statement; each has an outcome of its own."""
        Query(request)
        parameters.check_idempotency_key(request)
        limits = self._limits
        body = fit(BulkBody, await read_object(request, limits.bulk_bytes_max, limits.body_timeout_seconds))
        if not 1 <= len(body.sagas) <= limits.bulk_max:
            detail = f"a call starts 1 to {limits.bulk_max} sagas"
            raise RequestRefused(422, "invalid-input", detail, [Fault(detail, "/sagas")])
        context = parameters.traceparent(request)
        principal = principal_of(request)
        wanted = [_wanted(item, place, context, principal) for place, item in enumerate(body.sagas)]
        answers = await self._service.start_many(wanted)
        request_id = request_id_of(request.scope)
        items = [_item(answer, place, request_id) for place, answer in enumerate(answers)]
        counts = dict.fromkeys(documents.OUTCOMES, 0)
        for item in items:
            counts[item["outcome"]] += 1
        return _json({"counts": counts, "items": items})

    async def complete_step(self, request: Request) -> Response:
        """Complete an external step: somebody outside has done it."""
        saga_id, step = parameters.saga_id(request), parameters.step_name(request)
        Query(request)
        parameters.check_idempotency_key(request)
        await check_known(self._reads, principal_of(request), saga_id)
        body = fit(CompleteStepBody, await self._body(request))
        raw = encode(body.result)
        if len(raw) > RESULT_BYTES_MAX:
            detail = f"the result has {len(raw)} bytes as JSON; at most {RESULT_BYTES_MAX} are taken"
            raise RequestRefused(422, "invalid-input", detail, [Fault(detail, "/result")])
        answer = ExternalCompleted(step, principal_of(request).actor, msgspec.Raw(raw))
        saga = await self._service.answer(saga_id, answer, request_id_of(request.scope))
        return _json(saga, 202, {"etag": _etag(saga.version)})

    async def fail_step(self, request: Request) -> Response:
        """Refuse an external step: somebody outside says no, and that is final."""
        saga_id, step = parameters.saga_id(request), parameters.step_name(request)
        Query(request)
        parameters.check_idempotency_key(request)
        await check_known(self._reads, principal_of(request), saga_id)
        body = fit(FailStepBody, await self._body(request))
        answer = ExternalFailed(step, principal_of(request).actor, Failure(body.code, body.message))
        saga = await self._service.answer(saga_id, answer, request_id_of(request.scope))
        return _json(saga, 202, {"etag": _etag(saga.version)})

    async def _body(self, request: Request) -> dict[str, Any]:
        return await read_object(request, self._limits.body_bytes_max, self._limits.body_timeout_seconds)


def _wanted(item: Any, place: int, traceparent: str | None, principal: Principal) -> StartRequest | SagaError:
    prefix = f"/sagas/{place}"
    if not isinstance(item, dict):
        detail = "each saga is an object"
        return RequestRefused(422, "invalid-input", detail, [Fault(detail, prefix)])
    try:
        body = fit(StartBody, item, prefix)
    except RequestRefused as refused:
        return refused
    try:
        check_startable(principal, body.definition)
        return _request(body, traceparent, prefix)
    except RequestRefused as refused:
        return refused


def _request(body: StartBody, traceparent: str | None, prefix: str = "") -> StartRequest:
    start_at_ms = None if body.start_at is None else parameters.moment_ms(body.start_at, f"{prefix}/start_at")
    return StartRequest(body.definition, body.version, body.input, traceparent, start_at_ms, body.labels)


def _item(answer: Started | SagaError, place: int, request_id: str) -> dict[str, Any]:
    if isinstance(answer, Started):
        return {"index": place, "outcome": "created" if answer.created else "existing", "saga": answer.saga}
    problem, members = problem_of(answer, request_id)
    if problem.errors and not isinstance(answer, RequestRefused):
        faults = [msgspec.structs.replace(fault, pointer=f"/sagas/{place}{fault.pointer}") for fault in problem.errors]
        problem = msgspec.structs.replace(problem, errors=faults)
    outcome = {409: "conflict", 500: "failed"}.get(problem.status, "invalid")
    return {"index": place, "outcome": outcome, "problem": msgspec.Raw(body_of(problem, members))}


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(_ENCODER.encode(value), status, headers, "application/json")


def _etag(version: int) -> str:
    return f'"{version}"'
