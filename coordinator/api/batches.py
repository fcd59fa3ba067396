"""The routes under /v1/batch-operations: a verb for many sagas, first dry, then confirmed."""

from __future__ import annotations

from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api import parameters
from coordinator.api.access import Permission, Principal, demand, principal_of
from coordinator.api.acts import read_reason
from coordinator.api.bodies import Limits, fit, read_object
from coordinator.api.cursors import Cursors
from coordinator.api.documents import batches as documents
from coordinator.api.documents.batches import BatchBody, ChangeBody
from coordinator.api.door import Endpoint
from coordinator.api.filters import read_filter_of_body
from coordinator.api.middleware import request_id_of
from coordinator.api.parameters import Query
from coordinator.api.problems import Fault, RequestRefused, invalid
from coordinator.api.routes import Routes
from coordinator.saga.masking import MASK
from coordinator.services.batch_operations import FITTING, Asked, BatchOperation, BatchOperations
from coordinator.store.batches import FIRST_ID
from coordinator.store.lists import LAST_ID

LIST_MAX: Final = 200
LIST_DEFAULT: Final = 50
NEEDS: Final = {
    "retry": Permission.ACT,
    "compensate": Permission.ACT,
    "suspend": Permission.ACT,
    "resume": Permission.ACT,
    "skip": Permission.DECIDE,
    "resolve": Permission.DECIDE,
    "abandon": Permission.DECIDE,
}
"""What each verb needs in bulk, which is what it needs alone."""

OPERATIONS, ITEMS = "batch-operations", "batch-operation-items"  # kinds of cursors
_TAKES = {"skip": ("step",), "resolve": ("step", "resolution", "result")}


class BatchLimits(Limits, Protocol):
    """How fast a batch operation may be."""

    @property
    def batch_rate(self) -> int: ...  # noqa: D102
    @property
    def batch_rate_max(self) -> int: ...  # noqa: D102


def add_batch_routes(routes: Routes, batches: BatchOperations, cursors: Cursors, limits: BatchLimits) -> None:
    """Add the routes."""
    handlers = _BatchRoutes(batches, cursors, limits)
    one = "/v1/batch-operations/{operation_id}"
    routes.post("/v1/batch-operations", documents.CREATE, Permission.ACT, handlers.create)
    routes.get("/v1/batch-operations", documents.LIST, Permission.INSPECT, handlers.list)
    routes.get(one, documents.GET, Permission.INSPECT, handlers.get)
    routes.get(f"{one}/items", documents.ITEMS, Permission.INSPECT, handlers.items)
    routes.post(f"{one}/pause", documents.PAUSE, Permission.ACT, handlers.change("pause"))
    routes.post(f"{one}/resume", documents.RESUME, Permission.ACT, handlers.change("resume"))
    routes.post(f"{one}/cancel", documents.CANCEL, Permission.ACT, handlers.change("cancel"))


class _Operations(msgspec.Struct, frozen=True):
    """The list that a cursor is of."""

    state: str | None


class _Items(msgspec.Struct, frozen=True):
    operation_id: str
    outcome: str | None


class _BatchRoutes:
    def __init__(self, batches: BatchOperations, cursors: Cursors, limits: BatchLimits) -> None:
        self._batches = batches
        self._cursors = cursors
        self._limits = limits

    async def create(self, request: Request) -> Response:
        """Say what would be done, or begin what was confirmed."""
        Query(request)
        parameters.check_idempotency_key(request)
        body = fit(BatchBody, await self._body(request))
        principal = demand(request, NEEDS[body.verb])
        asked = _asked(body, principal)
        rate = self._rate(body.rate)
        if body.reason is not None or not body.dry_run:
            read_reason(body.reason)
        if body.dry_run:
            if body.confirmation is not None:
                raise invalid(
                    Fault("a dry run makes a confirmation, it takes none: say dry_run false", "/confirmation")
                )
            return _json(await self._batches.dry_run(asked))
        reason = read_reason(body.reason)
        if body.confirmation is None:
            detail = "make a dry run first, and say its confirmation"
            raise RequestRefused(428, "precondition-required", detail, [Fault(detail, "/confirmation")])
        begun = await self._batches.create(asked, body.confirmation, reason, rate, request_id_of(request.scope))
        return _json(_masked(principal, begun), 202, {"location": f"/v1/batch-operations/{begun.id}"})

    async def list(self, request: Request) -> Response:
        """Batch operations, newest first."""
        query = Query(request, ("state", "limit", "cursor"))
        limit = query.number("limit", default=LIST_DEFAULT, lowest=1, highest=LIST_MAX)
        chosen = _Operations(query.choice("state", documents.STATES))
        cursor = query.text("cursor")
        before = LAST_ID if cursor is None else _id(self._cursors.read(OPERATIONS, chosen, cursor))
        principal = principal_of(request)
        found = await self._batches.page(before, chosen.state, principal.definitions, limit + 1)
        following = (
            self._cursors.write(OPERATIONS, chosen, UUID(found[limit - 1].id).bytes) if len(found) > limit else None
        )
        shown = [_masked(principal, each) for each in found[:limit]]
        return _json({"batch_operations": shown, "next_cursor": following})

    async def get(self, request: Request) -> Response:
        """One batch operation, and how far it is."""
        Query(request)
        operation_id, principal = parameters.operation_id(request), principal_of(request)
        return _json(_masked(principal, await self._batches.get(operation_id, principal.definitions)))

    async def items(self, request: Request) -> Response:
        """What came of each saga, oldest first."""
        operation_id = parameters.operation_id(request)
        query = Query(request, ("outcome", "limit", "cursor"))
        limit = query.number("limit", default=LIST_DEFAULT, lowest=1, highest=LIST_MAX)
        chosen = _Items(operation_id, query.choice("outcome", documents.OUTCOMES))
        cursor = query.text("cursor")
        after = FIRST_ID if cursor is None else _id(self._cursors.read(ITEMS, chosen, cursor))
        scope = principal_of(request).definitions
        found = await self._batches.items(operation_id, scope, after, chosen.outcome, limit + 1)
        following = (
            self._cursors.write(ITEMS, chosen, UUID(found[limit - 1].saga_id).bytes) if len(found) > limit else None
        )
        return _json({"items": found[:limit], "next_cursor": following})

    def change(self, what: str) -> Endpoint:
        """The endpoint that pauses, resumes or cancels; to go on needs what to begin needed."""

        async def change(request: Request) -> Response:
            Query(request)
            parameters.check_idempotency_key(request)
            operation_id, principal = parameters.operation_id(request), principal_of(request)
            body = fit(ChangeBody, await self._body(request))
            reason, request_id = read_reason(body.reason), request_id_of(request.scope)
            scope = principal.definitions
            if what == "resume":
                demand(request, NEEDS[(await self._batches.get(operation_id, scope)).verb])
            changed = await self._batches.change(operation_id, scope, what, principal.actor, reason, request_id)
            return _json(_masked(principal, changed), 202)

        return change

    def _rate(self, rate: int | None) -> int:
        if rate is None:
            return min(self._limits.batch_rate, self._limits.batch_rate_max)
        if rate > self._limits.batch_rate_max:
            raise invalid(Fault(f"at most {self._limits.batch_rate_max} sagas per second are allowed here", "/rate"))
        return rate

    async def _body(self, request: Request) -> dict[str, Any]:
        return await read_object(request, self._limits.body_bytes_max, self._limits.body_timeout_seconds)


def _masked(principal: Principal, operation: BatchOperation) -> BatchOperation:
    """An operation without the result that it states, for who may not see sensitive fields.

    It may be of sagas of several definitions, or versions of one: all of it is hidden.
    """
    if "result" not in operation.members or principal.may(Permission.REVEAL):
        return operation
    return msgspec.structs.replace(operation, members={**operation.members, "result": MASK})


def _id(place: bytes) -> str:
    return str(UUID(bytes=place))


def _asked(body: BatchBody, principal: Principal) -> Asked:
    """What somebody wants, if it makes sense; raises RequestRefused."""
    members = {
        name: value
        for name, value in (("step", body.step), ("resolution", body.resolution), ("result", body.result))
        if value is not None
    }
    for name in members:
        if name not in _TAKES.get(body.verb, ()):
            raise invalid(Fault(f"{body.verb} takes no {name} in bulk", f"/{name}"))
    for name in _TAKES.get(body.verb, ()):
        if name not in members and name != "result":
            raise invalid(Fault(f"{body.verb} needs it", f"/{name}"))
    if body.result is not None and body.resolution != "completed":
        raise invalid(Fault("only a step that is completed has a result", "/result"))
    chosen = read_filter_of_body(body.filter, "/filter", principal.definitions)
    fitting = FITTING[body.verb]
    if chosen.statuses is None or not fitting.issuperset(chosen.statuses):
        detail = f"say which statuses; {body.verb} may be possible in: {', '.join(sorted(fitting))}"
        raise invalid(Fault(detail, "/filter/status"))
    return Asked(principal.actor, body.verb, members, body.filter, chosen, principal.definitions)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")
