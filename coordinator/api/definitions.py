"""The route under /v1/definitions: which versions there are, and how many sagas run on each."""

from __future__ import annotations

import msgspec
from fastapi import FastAPI, Request
from starlette.responses import Response

from coordinator.api import documents
from coordinator.api.parameters import Query
from coordinator.choreography.choreographies import Choreographies
from coordinator.engine.registry import Registry
from coordinator.services.catalogue import list_definitions
from coordinator.store.reads import SagaReads
from coordinator.store.replicas import LIVE_S


def add_definition_routes(app: FastAPI, reads: SagaReads, registry: Registry, choreographies: Choreographies) -> None:
    """Add the route to an app."""

    async def listed(request: Request) -> Response:
        """List the versions."""
        Query(request)
        views = list_definitions(registry, await reads.definitions(LIVE_S), choreographies.sizes)
        answer = documents.DefinitionList(views)
        return Response(msgspec.json.encode(answer), media_type="application/json")

    app.get("/v1/definitions", **documents.DEFINITIONS)(listed)
