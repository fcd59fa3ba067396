"""The route of the verb `replay`, which is for choreographed sagas what `retry` is for commanded ones."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from coordinator.api import parameters
from coordinator.api.access import Permission, principal_of
from coordinator.api.acts import accepted, read_act
from coordinator.api.bodies import Limits
from coordinator.api.documents import verbs
from coordinator.api.middleware import request_id_of
from coordinator.api.routes import Routes
from coordinator.api.scoping import check_known
from coordinator.choreography.replaying import Replays
from coordinator.store.reads import SagaReads


def add_replay_route(routes: Routes, replays: Replays, reads: SagaReads, limits: Limits) -> None:
    """Add the route."""

    async def replay(request: Request) -> Response:
        """Publish a suspended saga's last good event again; needs a reason and the version that was looked at."""
        saga_id = parameters.saga_id(request)
        await check_known(reads, principal_of(request), saga_id)
        expected, reason = await read_act(request, limits)
        actor, request_id = principal_of(request).actor, request_id_of(request.scope)
        return accepted(await replays.replay(saga_id, expected, actor, reason, request_id))

    routes.post("/v1/sagas/{saga_id}/replay", verbs.REPLAY, Permission.ACT, replay)
