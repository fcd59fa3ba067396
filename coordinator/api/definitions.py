"""The route under /v1/definitions: which versions there are, and how many sagas run on each."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api.access import Permission, principal_of
from coordinator.api.documents import catalogue
from coordinator.api.parameters import Query
from coordinator.api.routes import Routes
from coordinator.choreography.choreographies import Choreographies
from coordinator.engine.registry import Registry
from coordinator.services.catalogue import list_definitions
from coordinator.store.reads import SagaReads
from coordinator.store.replicas import LIVE_S


def add_definition_routes(routes: Routes, reads: SagaReads, registry: Registry, choreographies: Choreographies) -> None:
    """Add the route."""

    async def listed(request: Request) -> Response:
        """List the versions."""
        Query(request)
        views = list_definitions(registry, await reads.definitions(LIVE_S), choreographies.sizes)
        principal = principal_of(request)
        answer = catalogue.DefinitionList([view for view in views if principal.knows(view.name)])
        return Response(msgspec.json.encode(answer), media_type="application/json")

    routes.get("/v1/definitions", catalogue.DEFINITIONS, Permission.LOOK, listed)
