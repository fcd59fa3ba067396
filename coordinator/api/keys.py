"""The routes under /v1/keys, and /v1/whoami. A secret leaves this process once: in the answer that made it."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api import parameters
from coordinator.api.access import GRANTS, Mode, Permission, Role, principal_of
from coordinator.api.acts import read_reason
from coordinator.api.bodies import Limits, fit, read_object
from coordinator.api.cursors import Cursors
from coordinator.api.documents import keys as documents
from coordinator.api.documents.keys import CreatedKey, KeyBody, KeyPage, RevokeKeyBody, Whoami
from coordinator.api.middleware import request_id_of
from coordinator.api.parameters import Query
from coordinator.api.problems import Fault, invalid
from coordinator.api.routes import Routes
from coordinator.errors import NotFound
from coordinator.services import tokens
from coordinator.services.keyring import KeyRing
from coordinator.services.keys import Keys

LIST_MAX = 200
LIST_DEFAULT = 50


def add_key_routes(routes: Routes, keys: Keys, ring: KeyRing, mode: Mode, cursors: Cursors, limits: Limits) -> None:
    """Add the routes; `ring` is told of what is changed here."""
    found = _KeyRoutes(keys, ring, mode, cursors, limits)
    routes.get("/v1/whoami", documents.WHOAMI, Permission.LOOK, found.whoami)
    routes.get("/v1/keys", documents.LIST_KEYS, Permission.ADMINISTER, found.list)
    routes.post("/v1/keys", documents.CREATE_KEY, Permission.ADMINISTER, found.create, kept=False)
    routes.post("/v1/keys/{key_id}/revoke", documents.REVOKE_KEY, Permission.ADMINISTER, found.revoke)


class _All(msgspec.Struct, frozen=True):
    """The list that a cursor is of: there are no filters."""


_ALL = _All()


class _KeyRoutes:
    def __init__(self, keys: Keys, ring: KeyRing, mode: Mode, cursors: Cursors, limits: Limits) -> None:
        self._keys = keys
        self._ring = ring
        self._mode = mode
        self._cursors = cursors
        self._limits = limits

    async def whoami(self, request: Request) -> Response:
        """Who asks."""
        Query(request)
        principal = principal_of(request)
        definitions = None if principal.definitions is None else sorted(principal.definitions)
        permissions = sorted(each for each in GRANTS[principal.role] if principal.may(each))
        return _json(Whoami(principal.actor, principal.role, definitions, list(permissions), self._mode))

    async def list(self, request: Request) -> Response:
        """Keys by id, page by page."""
        query = Query(request, ("limit", "cursor"))
        limit = query.number("limit", default=LIST_DEFAULT, lowest=1, highest=LIST_MAX)
        cursor = query.text("cursor")
        after = "" if cursor is None else self._cursors.read("keys", _ALL, cursor).decode()
        keys = await self._keys.page(after, limit + 1)
        following = self._cursors.write("keys", _ALL, keys[limit - 1].id.encode()) if len(keys) > limit else None
        return _json(KeyPage(keys[:limit], following))

    async def create(self, request: Request) -> Response:
        """Make a key."""
        Query(request)
        parameters.check_idempotency_key(request)
        body = fit(KeyBody, await self._body(request))
        if Role(body.role) is Role.ADMIN and body.definitions is not None:
            raise invalid(Fault("an administrator knows all definitions: leave this out", "/definitions"))
        made = await self._keys.create(
            body.name,
            body.role,
            principal_of(request).actor,
            read_reason(body.reason),
            request_id_of(request.scope),
            body.definitions,
            None if body.expires_at is None else _future_ms(body.expires_at),
        )
        self._ring.forget()
        return _json(CreatedKey(**msgspec.structs.asdict(made.key), secret=made.token), 201)

    async def revoke(self, request: Request) -> Response:
        """End a key; to do it twice is to do it once."""
        key_id: str = request.path_params["key_id"]
        Query(request)
        parameters.check_idempotency_key(request)
        if not tokens.ID.fullmatch(key_id):
            raise NotFound("there is no key with this id")
        body = fit(RevokeKeyBody, await self._body(request))
        actor, request_id = principal_of(request).actor, request_id_of(request.scope)
        key = await self._keys.revoke(key_id, actor, read_reason(body.reason), request_id)
        self._ring.forget()
        return _json(key)

    async def _body(self, request: Request) -> dict[str, Any]:
        return await read_object(request, self._limits.body_bytes_max, self._limits.body_timeout_seconds)


def _future_ms(text: str) -> int:
    moment_ms = parameters.moment_ms(text, "/expires_at")
    if moment_ms <= time.time() * 1000:
        raise invalid(Fault("must lie in the future", "/expires_at"))
    return moment_ms


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
