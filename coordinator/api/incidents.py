"""The routes under /v1/incidents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api import parameters
from coordinator.api.access import Permission, principal_of
from coordinator.api.bodies import Limits, ModelT, fit, read_object
from coordinator.api.cursors import Cursors
from coordinator.api.documents import incidents as documents
from coordinator.api.documents.incidents import STATES, AssignBody, IncidentList, NoteBody, ResolveIncidentBody
from coordinator.api.keeping import asked_since_ms
from coordinator.api.masking import Known
from coordinator.api.middleware import request_id_of
from coordinator.api.parameters import Query
from coordinator.api.problems import Fault, RequestRefused, invalid
from coordinator.api.routes import Routes
from coordinator.errors import NotFound
from coordinator.services.incidents import ASSIGNEE_MAX, PAGE_MAX, IncidentService, Seen
from coordinator.services.words import says_something
from coordinator.store.incidents import IncidentFilter, IncidentSummary
from coordinator.store.reads import SagaReads

IncidentT = TypeVar("IncidentT", bound=IncidentSummary)

PAGE_DEFAULT = 50
_REASON_LENGTH_MAX = 100
_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_ETAG = re.compile(rf'"([0-9]{{1,9}})-({"|".join(STATES)})"', re.ASCII)


def add_incident_routes(
    routes: Routes, incidents: IncidentService, reads: SagaReads, known: Known, cursors: Cursors, limits: Limits
) -> None:
    """Add the routes; an incident of a saga that somebody may not know of is not there for them."""
    made = _IncidentRoutes(incidents, reads, known, cursors, limits)
    one = "/v1/incidents/{incident_id}"
    routes.get("/v1/incidents", documents.LIST, Permission.INSPECT, made.list)
    routes.get(one, documents.GET, Permission.INSPECT, made.get)
    routes.post(f"{one}/assign", documents.ASSIGN, Permission.ACT, made.assign)
    routes.post(f"{one}/notes", documents.NOTE, Permission.ACT, made.note)
    routes.post(f"{one}/resolve", documents.RESOLVE, Permission.ACT, made.resolve)


class _IncidentRoutes:
    def __init__(
        self, incidents: IncidentService, reads: SagaReads, known: Known, cursors: Cursors, limits: Limits
    ) -> None:
        self._incidents = incidents
        self._reads = reads
        self._known = known
        self._cursors = cursors
        self._limits = limits

    async def list(self, request: Request) -> Response:
        """Incidents that fit the filters, newest first, page by page."""
        query = Query(request, ("state", "reason", "assignee", "definition", "since", "limit", "cursor"))
        limit = query.number("limit", default=PAGE_DEFAULT, lowest=1, highest=PAGE_MAX)
        state = query.choice("state", STATES)
        chosen = IncidentFilter(
            None if state is None else state == "open",
            query.printable("reason", _REASON_LENGTH_MAX),
            query.printable("assignee", ASSIGNEE_MAX),
            query.definition("definition"),
            query.moment_ms("since"),
            principal_of(request).definitions,
        )
        cursor = query.text("cursor")
        before = None if cursor is None else int.from_bytes(self._cursors.read("incidents", chosen, cursor))
        page = await self._incidents.page(chosen, before, limit)
        following = None if page.before is None else self._cursors.write("incidents", chosen, page.before.to_bytes(8))
        return _json(IncidentList([*await self._masked(request, page.incidents)], following))

    async def _masked(self, request: Request, found: Sequence[IncidentT]) -> Sequence[IncidentT]:
        """Incidents whose details hold nothing that whoever asks may not see."""
        masks = await self._known.masks_of(principal_of(request), self._reads, [one.saga_id for one in found])
        if masks is None:
            return found
        return [msgspec.structs.replace(one, detail=masks[one.saga_id].text(one.detail)) for one in found]

    async def get(self, request: Request) -> Response:
        """One incident with its saga, its notes, and what can be done."""
        Query(request)
        incident_id = _incident_id(request)
        await self._check_known(request, incident_id)
        incident = await self._incidents.get(incident_id)
        [shown] = await self._masked(request, [incident])
        return _json(shown, _etag(incident))

    async def assign(self, request: Request) -> Response:
        """Say who looks after an open incident."""
        incident_id, seen, body = await self._read(request, AssignBody)
        reason = None if body.reason is None else _said(body.reason, "reason")
        assignee = None if body.assignee is None else _said(body.assignee, "assignee")
        actor, request_id = principal_of(request).actor, request_id_of(request.scope)
        since_ms = asked_since_ms(request)
        incident = await self._incidents.assign(
            incident_id, actor, assignee, reason, seen=seen, request_id=request_id, since_ms=since_ms
        )
        return _json(incident, _etag(incident))

    async def note(self, request: Request) -> Response:
        """Write down what was found out."""
        incident_id, seen, body = await self._read(request, NoteBody)
        actor, request_id = principal_of(request).actor, request_id_of(request.scope)
        incident = await self._incidents.note(
            incident_id, actor, body.text, seen=seen, request_id=request_id, since_ms=asked_since_ms(request)
        )
        return _json(incident, _etag(incident))

    async def resolve(self, request: Request) -> Response:
        """Close an incident that no verb closes."""
        incident_id, seen, body = await self._read(request, ResolveIncidentBody)
        actor, request_id = principal_of(request).actor, request_id_of(request.scope)
        reason, since_ms = _said(body.reason, "reason"), asked_since_ms(request)
        incident = await self._incidents.resolve(
            incident_id, actor, reason, seen=seen, request_id=request_id, since_ms=since_ms
        )
        return _json(incident, _etag(incident))

    async def _check_known(self, request: Request, incident_id: int) -> None:
        """Raise NotFound for an incident of a saga that whoever asks may not know of."""
        principal = principal_of(request)
        if principal.definitions is None:
            return
        definition = (await self._incidents.summary(incident_id)).definition
        if definition is None or not principal.knows(definition):
            raise NotFound(f"there is no incident {incident_id}")

    async def _read(self, request: Request, model: type[ModelT]) -> tuple[int, Seen | None, ModelT]:
        Query(request)
        parameters.check_idempotency_key(request)
        incident_id, seen = _incident_id(request), _seen(request)
        await self._check_known(request, incident_id)
        tree = await read_object(request, self._limits.body_bytes_max, self._limits.body_timeout_seconds)
        return incident_id, seen, fit(model, tree)


def _incident_id(request: Request) -> int:
    text: str = request.path_params["incident_id"]
    if not _ID.fullmatch(text):
        raise NotFound("there is no incident with this id")
    return int(text)


def _seen(request: Request) -> Seen | None:
    """How the incident stood when it was looked at, if If-Match says."""
    values = request.headers.getlist("if-match")
    if not values:
        return None
    match = _ETAG.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        detail = 'must be one ETag of an incident, such as "2-open"'
        raise RequestRefused(422, "invalid-input", f"If-Match {detail}", [Fault(detail, header="If-Match")])
    return Seen(int(match[1]), match[2])


def _said(text: str, name: str) -> str:
    if not says_something(text):
        raise invalid(Fault(f"the {name} is printable text that says something", f"/{name}"))
    return text.strip()


def _etag(incident: IncidentSummary) -> dict[str, str]:
    return {"etag": f'"{incident.acts}-{incident.state}"'}


def _json(value: msgspec.Struct, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), 200, headers, "application/json")
