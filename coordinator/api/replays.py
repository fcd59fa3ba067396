"""The route of the verb `replay`, which is for choreographed sagas what `retry` is for commanded ones."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.responses import Response

from coordinator.api import documents, parameters
from coordinator.api.acts import ACTOR, accepted, read_act
from coordinator.api.bodies import Limits
from coordinator.choreography.replaying import Replays


def add_replay_route(app: FastAPI, replays: Replays, limits: Limits) -> None:
    """Add the route to an app."""

    async def replay(request: Request) -> Response:
        """Publish a suspended saga's last good event again; needs a reason and the version that was looked at."""
        saga_id = parameters.saga_id(request)
        expected, reason = await read_act(request, limits)
        return accepted(await replays.replay(saga_id, expected, ACTOR, reason))

    app.post("/v1/sagas/{saga_id}/replay", **documents.REPLAY)(replay)
