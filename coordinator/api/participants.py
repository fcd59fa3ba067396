"""The route /v1/participants: how flow control stands towards each of them."""

from __future__ import annotations

import msgspec
from fastapi import FastAPI, Request
from starlette.responses import Response

from coordinator.api import documents
from coordinator.api.parameters import Query
from coordinator.engine.flow import Flow
from coordinator.services.participants import list_participants
from coordinator.store.reads import SagaReads


def add_participant_routes(app: FastAPI, flow: Flow, reads: SagaReads) -> None:
    """Add the route to an app."""

    async def participants(request: Request) -> Response:
        Query(request)
        found = await list_participants(flow, reads)
        return Response(msgspec.json.encode(found), media_type="application/json")

    app.get("/v1/participants", **documents.PARTICIPANTS)(participants)
