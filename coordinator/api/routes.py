"""Adds routes to the app, each with the permission that it needs and the document that describes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api.access import Authenticator, Permission, demand
from coordinator.api.openapi import Document

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class Declared(msgspec.Struct, frozen=True):
    """A route as it was declared."""

    method: str
    path: str
    needs: Permission
    document: Document


class Routes:
    """The routes of /v1; there is no other way to add one, so none goes without a permission.

    `keep` wraps the endpoints whose answers are kept under Idempotency-Keys.
    """

    def __init__(
        self, app: FastAPI, authenticator: Authenticator, keep: Callable[[Endpoint], Endpoint] | None = None
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._keep = keep
        self.declared: list[Declared] = []

    def get(self, path: str, document: Document, needs: Permission, endpoint: Endpoint) -> None:
        """Add a route that only looks."""
        self._add("GET", path, document, needs, endpoint)

    def post(self, path: str, document: Document, needs: Permission, endpoint: Endpoint, *, kept: bool = True) -> None:
        """Add a route that does something; its answers are kept under Idempotency-Keys unless they hold a secret."""
        if kept and self._keep is not None:
            endpoint = self._keep(endpoint)
        self._add("POST", path, document, needs, endpoint)

    def delete(self, path: str, document: Document, needs: Permission, endpoint: Endpoint) -> None:
        """Add a route that takes something away."""
        self._add("DELETE", path, document, needs, endpoint)

    def _add(self, method: str, path: str, document: Document, needs: Permission, endpoint: Endpoint) -> None:
        async def guarded(request: Request) -> Response:
            request.scope.setdefault("state", {})["principal"] = await self._authenticator.authenticate(request.scope)
            demand(request, needs)
            return await endpoint(request)

        self._app.add_api_route(
            path, guarded, methods=[method], include_in_schema=False, response_model=None, name=document.operation_id
        )
        self.declared.append(Declared(method, path, needs, document))
