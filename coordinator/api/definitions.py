"""The routes under /v1/definitions: which versions there are, what each says, and how many sagas run on it."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api import parameters
from coordinator.api.access import Permission, principal_of
from coordinator.api.documents import catalogue
from coordinator.api.parameters import Query
from coordinator.api.routes import Routes
from coordinator.choreography.choreographies import Choreographies
from coordinator.describe.choreographies import choreography_document
from coordinator.describe.document import document
from coordinator.engine.registry import Registry
from coordinator.errors import NotFound
from coordinator.saga.model import TERMINAL
from coordinator.services.catalogue import DefinitionDetail, list_definitions
from coordinator.store.reads import SagaReads
from coordinator.store.replicas import LIVE_S


def add_definition_routes(routes: Routes, reads: SagaReads, registry: Registry, choreographies: Choreographies) -> None:
    """Add the routes."""

    async def listed(request: Request) -> Response:
        """List the versions."""
        Query(request)
        views = list_definitions(registry, await reads.definitions(LIVE_S), choreographies.sizes)
        known = principal_of(request).knows
        answer = catalogue.DefinitionList([view for view in views if known(view.name)])
        return Response(msgspec.json.encode(answer), media_type="application/json")

    async def one(request: Request) -> Response:
        """Show a version."""
        Query(request)
        name, version = parameters.definition_version(request)
        if not principal_of(request).knows(name):
            raise NotFound("there is no such version of a definition")
        detail = await _detail(name, version, reads, registry, choreographies)
        return Response(msgspec.json.encode(detail), media_type="application/json")

    routes.get("/v1/definitions", catalogue.DEFINITIONS, Permission.LOOK, listed)
    routes.get("/v1/definitions/{name}/versions/{version}", catalogue.DEFINITION, Permission.LOOK, one)


async def _detail(
    name: str, version: int, reads: SagaReads, registry: Registry, choreographies: Choreographies
) -> DefinitionDetail:
    """Put a version together from what is loaded here and what the database knows; raises NotFound."""
    uses = [use for use in await reads.definitions(LIVE_S) if (use.name, use.version) == (name, version)]
    present = next((use for use in uses if not use.replaced), None)
    definition = next((one for one in registry.definitions if (one.name, one.version) == (name, version)), None)
    choreography = choreographies.find(name, version)
    if definition is None and choreography is None and not uses:
        raise NotFound("there is no such version of a definition")
    said = None
    if definition is not None:
        said = document(definition)
    elif choreography is not None:
        said = choreography_document(choreography)
    counts = {
        row["status"]: row["sagas"] for row in await reads.fetch("count_sagas", name, None) if row["version"] == version
    }
    return DefinitionDetail(
        name,
        version,
        "saga" if choreography is None else "choreography",
        said is not None,
        None if present is None else present.content_hash,
        said,
        counts,
        sum(sagas for status, sagas in counts.items() if status not in TERMINAL),
        0 if present is None else present.known_by,
        0 if present is None else present.replicas,
    )
