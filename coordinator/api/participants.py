"""The route /v1/participants: how flow control stands towards each of them."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api.access import Permission
from coordinator.api.documents import catalogue
from coordinator.api.parameters import Query
from coordinator.api.routes import Routes
from coordinator.engine.flow import Flow
from coordinator.services.participants import list_participants
from coordinator.store.reads import SagaReads


def add_participant_routes(routes: Routes, flow: Flow, reads: SagaReads) -> None:
    """Add the route."""

    async def participants(request: Request) -> Response:
        Query(request)
        found = await list_participants(flow, reads)
        return Response(msgspec.json.encode(found), media_type="application/json")

    routes.get("/v1/participants", catalogue.PARTICIPANTS, Permission.INSPECT, participants)
