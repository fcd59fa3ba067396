"""The routes of operators' verbs: preview, then act, for a reason and at the version that was looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api import parameters
from coordinator.api.access import Permission, Principal, demand, principal_of
from coordinator.api.acts import accepted, previewed, read_act
from coordinator.api.bodies import Limits
from coordinator.api.documents import verbs as documents
from coordinator.api.documents.verbs import ResolveBody, RetryBody, SkipBody, VerbBody
from coordinator.api.door import Endpoint
from coordinator.api.keeping import came_before
from coordinator.api.middleware import request_id_of
from coordinator.api.problems import Fault, invalid
from coordinator.api.routes import Routes
from coordinator.api.scoping import check_known
from coordinator.choreography.replaying import Replays
from coordinator.engine.registry import RESULT_BYTES_MAX
from coordinator.saga.events import (
    AbandonRequested,
    CompensateRequested,
    Resolution,
    ResolveRequested,
    ResumeRequested,
    RetryRequested,
    SkipRequested,
    SuspendRequested,
    Verb,
)
from coordinator.services.sagas import SagaService
from coordinator.store.reads import SagaReads
from coordinator.wire.strict_json import encode

BodyT = TypeVar("BodyT", bound=VerbBody)
Make = Callable[[BodyT, Principal, str], Verb]
"""Makes the verb of a body, of who asks, and of the reason; raises RequestRefused."""


def add_verb_routes(routes: Routes, service: SagaService, replays: Replays, reads: SagaReads, limits: Limits) -> None:
    """Add the routes."""
    verbs = _VerbRoutes(service, replays, reads, limits)
    act, decide = Permission.ACT, Permission.DECIDE
    one = "/v1/sagas/{saga_id}"
    routes.post(f"{one}/retry", documents.RETRY, act, verbs.endpoint(RetryBody, _retry))
    routes.post(f"{one}/skip", documents.SKIP, decide, verbs.endpoint(SkipBody, _skip))
    routes.post(f"{one}/resolve", documents.RESOLVE, decide, verbs.endpoint(ResolveBody, _resolve))
    routes.post(f"{one}/compensate", documents.COMPENSATE, act, verbs.endpoint(VerbBody, _plain(CompensateRequested)))
    routes.post(f"{one}/suspend", documents.SUSPEND, act, verbs.endpoint(VerbBody, _plain(SuspendRequested)))
    routes.post(f"{one}/resume", documents.RESUME, act, verbs.endpoint(VerbBody, _plain(ResumeRequested)))
    routes.post(f"{one}/abandon", documents.ABANDON, decide, verbs.endpoint(VerbBody, _plain(AbandonRequested)))
    routes.post(f"{one}/replay", documents.REPLAY, act, verbs.replay)


class _VerbRoutes:
    def __init__(self, service: SagaService, replays: Replays, reads: SagaReads, limits: Limits) -> None:
        self._service = service
        self._replays = replays
        self._reads = reads
        self._limits = limits

    def endpoint(self, model: type[BodyT], make: Make[BodyT]) -> Endpoint:
        """The endpoint of a verb that has this body."""

        async def act(request: Request) -> Response:
            saga_id, principal = parameters.saga_id(request), principal_of(request)
            await check_known(self._reads, principal, saga_id)
            asked = await read_act(request, self._limits, model)
            verb = make(asked.body, principal, asked.reason)
            if asked.preview:
                preview = await self._service.preview(saga_id, verb)
                asked.check_preview(preview, saga_id)
                return previewed(preview)
            again, request_id = came_before(request), request_id_of(request.scope)
            if isinstance(verb, RetryRequested) and verb.payload is not None:
                demand(request, Permission.DECIDE)
            return accepted(await self._service.act(saga_id, asked.version, verb, request_id, again=again))

        return act

    async def replay(self, request: Request) -> Response:
        """Publish a suspended choreographed saga's last good event again."""
        saga_id, principal = parameters.saga_id(request), principal_of(request)
        await check_known(self._reads, principal, saga_id)
        asked = await read_act(request, self._limits, VerbBody)
        if asked.preview:
            preview = await self._replays.preview(saga_id, principal.actor)
            asked.check_preview(preview, saga_id)
            return previewed(preview)
        again, request_id = came_before(request), request_id_of(request.scope)
        return accepted(
            await self._replays.replay(saga_id, asked.version, principal.actor, asked.reason, request_id, again=again)
        )


def _plain(kind: Callable[[str, str], Verb]) -> Make[VerbBody]:
    return lambda _, principal, reason: kind(principal.actor, reason)


def _retry(body: RetryBody, principal: Principal, reason: str) -> Verb:
    if body.payload is not None and body.step is None:
        raise invalid(Fault("say whose payload this is", "/step"))
    payload = None if body.payload is None else _raw(body.payload, "/payload")
    return RetryRequested(principal.actor, reason, body.step, payload)


def _skip(body: SkipBody, principal: Principal, reason: str) -> Verb:
    return SkipRequested(principal.actor, reason, body.step)


def _resolve(body: ResolveBody, principal: Principal, reason: str) -> Verb:
    resolution = Resolution(body.resolution)
    if body.result is not None and resolution is not Resolution.COMPLETED:
        raise invalid(Fault("only a step that is completed has a result", "/result"))
    result = None if body.result is None else _raw(body.result, "/result")
    return ResolveRequested(principal.actor, reason, body.step, resolution, result)


def _raw(value: object, pointer: str) -> msgspec.Raw:
    raw = encode(value)
    if len(raw) > RESULT_BYTES_MAX:
        raise invalid(Fault(f"has {len(raw)} bytes as JSON; at most {RESULT_BYTES_MAX} are taken", pointer))
    return msgspec.Raw(raw)
