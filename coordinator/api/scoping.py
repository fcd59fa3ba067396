"""What a principal who knows only some definitions may know of; what is foreign is as if it were not there."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from coordinator.api.access import Principal, principal_of
from coordinator.api.door import Endpoint
from coordinator.api.problems import RequestRefused
from coordinator.errors import NotFound
from coordinator.store.reads import SagaReads


async def check_known(reads: SagaReads, principal: Principal, saga_id: str) -> None:
    """Raise NotFound for the saga of a definition that the principal may not know of."""
    if principal.definitions is None:
        return
    saga = (await reads.summaries([saga_id])).get(saga_id)
    if saga is None or not principal.knows(saga.definition):
        raise NotFound("there is no saga with this id")


def check_startable(principal: Principal, definition: str) -> None:
    """Refuse (403) to start a saga of a definition that the principal may not know of, whether there is one or not."""
    if not principal.knows(definition):
        raise RequestRefused(403, "forbidden", "you may not start sagas of this definition")


def unbound(endpoint: Endpoint) -> Endpoint:
    """The endpoint of what belongs to no single definition: forbidden (403) to who is bound to some."""

    async def guarded(request: Request) -> Response:
        if principal_of(request).definitions is not None:
            raise RequestRefused(403, "forbidden", "who may know of some definitions only may not see this")
        return await endpoint(request)

    return guarded
