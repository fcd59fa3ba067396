"""The app: routes, error handlers and the guard, put together from what bootstrap gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any

import msgspec
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from coordinator.api import openapi
from coordinator.api.access import Authenticator, Mode, Permission, Refusals
from coordinator.api.audit import add_audit_route
from coordinator.api.batches import BatchLimits, add_batch_routes
from coordinator.api.cursors import Cursors
from coordinator.api.definitions import add_definition_routes
from coordinator.api.documents import catalogue
from coordinator.api.documents.common import TAGS
from coordinator.api.documents.examples import EXAMPLES
from coordinator.api.door import Door
from coordinator.api.health import Check, ReadinessProbe
from coordinator.api.incidents import add_incident_routes
from coordinator.api.keeping import Keeper
from coordinator.api.keys import add_key_routes
from coordinator.api.letters import add_letter_routes
from coordinator.api.looking import add_looking_routes
from coordinator.api.masking import Known
from coordinator.api.middleware import Guard, request_id_of
from coordinator.api.parameters import Query
from coordinator.api.participants import add_participant_routes
from coordinator.api.problems import RequestRefused, respond, starting
from coordinator.api.routes import Routes
from coordinator.api.sagas import add_saga_routes
from coordinator.api.starts import start_shapes
from coordinator.api.streams import StreamLimits, add_stream_routes
from coordinator.api.verbs import add_verb_routes
from coordinator.choreography.choreographies import Choreographies
from coordinator.choreography.replaying import Replays
from coordinator.engine.registry import Registry
from coordinator.errors import SagaError
from coordinator.observability.tracing import Tracing
from coordinator.services.batch_operations import BatchOperations
from coordinator.services.incidents import IncidentService
from coordinator.services.keyring import KeyRing
from coordinator.services.keys import Keys
from coordinator.services.letters import LetterService
from coordinator.services.participants import ParticipantService
from coordinator.services.sagas import SagaService
from coordinator.services.tail import Tail
from coordinator.store.answers import KeptAnswers
from coordinator.store.audit import AuditReads
from coordinator.store.reads import SagaReads

_DESCRIPTION = "Starts sagas, shows them, and lets suspended ones go on. Every error is application/problem+json."
_KINDS = {404: "not-found", 405: "method-not-allowed"}
_ANY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class ApiParts(msgspec.Struct, frozen=True):
    """What the API is made of."""

    service: SagaService
    replays: Replays
    choreographies: Choreographies
    incidents: IncidentService
    letters: LetterService
    reads: SagaReads
    registry: Registry
    participants: ParticipantService
    metrics: CollectorRegistry
    checks: Sequence[Check]
    limits: BatchLimits
    cursors: Cursors
    authenticator: Authenticator
    refusals: Refusals
    keys: Keys
    ring: KeyRing
    tail: Tail
    streams: StreamLimits
    answers: KeptAnswers
    batches: BatchOperations
    tracing: Tracing | None = None


def create_app(parts: ApiParts) -> FastAPI:
    """Build the app of a process that serves clients."""
    app = create_health_app(parts.metrics, parts.checks, parts.authenticator.mode, parts.tracing)
    app.state.door = Door(parts.authenticator, parts.refusals)
    app.state.routes = routes = Routes(app, app.state.door, Keeper(parts.answers, parts.limits).keep)
    add_definition_routes(routes, parts.reads, parts.registry, parts.choreographies)
    add_looking_routes(routes, parts.reads, parts.registry, parts.choreographies, parts.cursors)
    add_saga_routes(routes, parts.service, parts.reads, parts.limits)
    known = Known(parts.registry, parts.choreographies)
    add_verb_routes(routes, parts.service, parts.replays, parts.reads, parts.limits)
    add_batch_routes(routes, parts.batches, parts.cursors, parts.limits)
    add_participant_routes(routes, parts.participants)
    add_key_routes(routes, parts.keys, parts.ring, parts.authenticator.mode, parts.cursors, parts.limits)
    add_incident_routes(routes, parts.incidents, parts.reads, known, parts.cursors, parts.limits)
    add_letter_routes(routes, parts.letters, parts.reads, known, parts.cursors, parts.limits)
    add_stream_routes(routes, parts.tail, parts.reads, parts.streams)
    add_audit_route(routes, AuditReads(parts.reads), parts.cursors)
    routes.get("/v1/openapi.json", catalogue.OPENAPI, Permission.LOOK, _openapi(routes, parts.registry))
    return app


def create_waiting_app(
    metrics: CollectorRegistry, checks: Sequence[Check], waited_for: Callable[[], str], mode: Mode | None = None
) -> FastAPI:
    """Build the app of a process that will serve clients: until then /v1 is 503, and says what is waited for."""
    app = create_health_app(metrics, checks, mode)

    async def not_yet(request: Request) -> Response:
        return respond(starting(waited_for()), request_id_of(request.scope))

    app.add_route("/v1/{rest:path}", not_yet, methods=_ANY_METHOD, include_in_schema=False)
    return app


def create_health_app(
    metrics: CollectorRegistry, checks: Sequence[Check], mode: Mode | None = None, tracing: Tracing | None = None
) -> FastAPI:
    """Build the app of a process that only tells how it is, and whom it serves: /livez, /readyz."""
    app = FastAPI(
        title="Saga coordinator",
        description=_DESCRIPTION,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours tell of sagas, too
    )
    said = [(b"x-saga-authentication", mode.encode())] if mode is Mode.INSECURE else []
    app.add_middleware(Guard, registry=metrics, said=said, tracing=tracing)
    app.add_exception_handler(SagaError, _on_saga_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    probe = ReadinessProbe(checks, authentication=mode)
    for path, endpoint in {"/livez": _alive, "/readyz": _ready(probe)}.items():
        app.add_api_route(path, endpoint, include_in_schema=False, response_model=None)
    return app


def _openapi(routes: Routes, registry: Registry) -> Callable[[Request], Awaitable[Response]]:
    @cache
    def written() -> bytes:
        info = openapi.Info("Saga coordinator", _DESCRIPTION, TAGS, EXAMPLES)
        return msgspec.json.encode(openapi.write(info, routes.declared, start_shapes([*registry.definitions])))

    async def described(request: Request) -> Response:
        Query(request)
        return Response(written(), media_type="application/json")

    return described


async def _alive(request: Request) -> Response:  # noqa: ARG001 - a route gets its request
    return Response(b'{"alive":true}', media_type="application/json")


def _ready(probe: ReadinessProbe) -> Callable[[Request], Awaitable[Response]]:
    async def ready(request: Request) -> Response:  # noqa: ARG001 - a route gets its request
        found = await probe.ask()
        headers = None if found.ready else {"retry-after": "1"}
        return Response(msgspec.json.encode(found), 200 if found.ready else 503, headers, "application/json")

    return ready


async def _on_saga_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, SagaError):
        raise error
    answer = respond(error, request_id_of(request.scope))
    if answer.status_code == 500:
        raise error  # the guard logs it and answers
    return answer


async def _on_http_exception(request: Request, error: Exception) -> Response:
    door: Door | None = getattr(request.app.state, "door", None)
    if door is not None:
        try:
            await door.turn_away(request)
        except SagaError as refusal:
            return respond(refusal, request_id_of(request.scope))
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers: dict[str, str] = {}
    detail = {404: "there is nothing here", 405: "this resource does not take that method"}.get(status, "not possible")
    if status == 405:
        headers["allow"] = ", ".join(_allowed(request))
    refused = RequestRefused(status, _KINDS.get(status, "bad-request"), detail, headers=headers)
    return respond(refused, request_id_of(request.scope))


def _allowed(request: Request) -> list[str]:
    """The methods of a path over all its routes; the framework looks at the first only."""
    path: str = request.scope["path"]
    app: Any = request.scope["app"]
    fitting = [route for route in app.routes if isinstance(route, Route) and route.path_regex.match(path)]
    whole = [route for route in fitting if route.path == path]
    return sorted({method for route in whole or fitting for method in route.methods or ()})
