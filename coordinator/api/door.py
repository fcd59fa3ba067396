"""The door of /v1: who asks, may they, and what was refused is told for the record.

A refusal is told for every 401 and 403, and for an act (of operators or administrators) also when it is not possible:
409, 412 and 422. What a service's starts are refused for is its own affair, and an everyday one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api.access import Authenticator, Permission, Principal, Refusals, Unauthenticated, demand
from coordinator.api.authentication import peer_of
from coordinator.api.middleware import METHODS, request_id_of
from coordinator.api.parameters import SAGA_ID
from coordinator.errors import CallerError
from coordinator.services.auditing import NOBODY

log = structlog.get_logger()

Endpoint = Callable[[Request], Awaitable[Response]]

ACTS: Final = frozenset({Permission.ACT, Permission.DECIDE, Permission.ADMINISTER})
TELL_S: Final = 2.0
TELLING_MAX: Final = 100
REASON_MAX: Final = 500
_ALWAYS = frozenset({401, 403})
_OF_ACTS = frozenset({409, 412, 422})
_BEHIND_V1 = "/v1/"


class Door:
    """Lets requests in; what comes in masses is for whoever keeps the refusals to tell together."""

    def __init__(self, authenticator: Authenticator, refusals: Refusals) -> None:
        self._authenticator = authenticator
        self._refusals = refusals
        self._telling: set[asyncio.Task[None]] = set()

    async def enter(self, request: Request, path: str, needs: Permission, endpoint: Endpoint) -> Response:
        """Serve a request for a route; raises what refuses it."""
        try:
            await self.identify(request, needs)
            return await endpoint(request)
        except CallerError as refusal:
            if refusal.status_code in _ALWAYS or (needs in ACTS and _is_refused_act(request, refusal)):
                await self._tell(request, path, refusal)
            raise

    async def identify(self, request: Request, needs: Permission) -> None:
        """Find out who asks, and whether they may; raises what refuses them."""
        request.scope["state"]["principal"] = await self._authenticator.authenticate(request.scope)
        demand(request, needs)

    async def turn_away(self, request: Request) -> None:
        """Refuse strangers who ask for what is not there, as if it were; raises what refuses them."""
        if not f"{request.scope['path']}/".startswith(_BEHIND_V1):
            return
        try:
            await self._authenticator.authenticate(request.scope)
        except CallerError as refusal:
            if refusal.status_code in _ALWAYS:
                await self._tell(request, "unmatched", refusal)
            raise

    async def _tell(self, request: Request, path: str, refusal: CallerError) -> None:
        """Tell of a refusal: an act's before it is answered, another one's beside the answer."""
        principal: Principal | None = request.scope["state"].get("principal")
        actor = principal.actor if principal else getattr(refusal, "actor", NOBODY)
        action = f"{request.method if request.method in METHODS else 'other'} {path}"
        reason = refusal.why if isinstance(refusal, Unauthenticated) else str(refusal)
        if actor == NOBODY:
            reason = f"{reason} (from {peer_of(request.scope)})"
        saga_id = request.path_params.get("saga_id", "")
        saga_id = saga_id if SAGA_ID.fullmatch(saga_id) else None
        request_id = request_id_of(request.scope)
        telling = self._refusals.refused(actor, action, reason[:REASON_MAX], refusal.status_code, request_id, saga_id)
        task = asyncio.create_task(_told(telling))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
        if request.method != "GET" or len(self._telling) > TELLING_MAX:
            await asyncio.shield(task)


def _is_refused_act(request: Request, refusal: CallerError) -> bool:
    is_act = request.method != "GET" and request.query_params.get("preview") != "true"
    return is_act and refusal.status_code in _OF_ACTS


async def _told(telling: Awaitable[None]) -> None:
    """Wait for the record, but not for long: what was refused is refused, whether that is recorded or not."""
    try:
        async with asyncio.timeout(TELL_S):
            await telling
    except Exception:  # whatever the record is kept in, its fault is not the client's
        log.exception("refusal_not_recorded")
