"""The routes under /v1/participants."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api.access import Permission
from coordinator.api.documents import participants as documents
from coordinator.api.parameters import Query
from coordinator.api.routes import Routes
from coordinator.services.participants import ParticipantService


def add_participant_routes(routes: Routes, participants: ParticipantService) -> None:
    """Add the routes."""

    async def listed(request: Request) -> Response:
        """All of them."""
        Query(request)
        return _json(await participants.list())

    async def one(request: Request) -> Response:
        """One of them, with what each process knows."""
        Query(request)
        return _json(await participants.get(request.path_params["name"]))

    routes.get("/v1/participants", documents.LIST, Permission.INSPECT, listed)
    routes.get("/v1/participants/{name}", documents.GET, Permission.INSPECT, one)


def _json(value: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
