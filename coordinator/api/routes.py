"""Adds routes to the app, each with the permission that it needs and the document that describes it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api.access import Permission
from coordinator.api.door import Door, Endpoint
from coordinator.api.openapi import Document


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

    def __init__(self, app: FastAPI, door: Door, keep: Callable[[Endpoint], Endpoint]) -> None:
        self._app = app
        self._door = door
        self._keep = keep
        self._whole: set[str] = set()
        self.declared: list[Declared] = []

    def get(self, path: str, document: Document, needs: Permission, endpoint: Endpoint) -> None:
        """Add a route that only looks."""
        self._add("GET", path, document, needs, endpoint)

    def post(self, path: str, document: Document, needs: Permission, endpoint: Endpoint, *, kept: bool = True) -> None:
        """Add a route that does something; its answers are kept under Idempotency-Keys unless they hold a secret."""
        if kept:
            endpoint = self._keep(endpoint)
        self._add("POST", path, document, needs, endpoint)

    def delete(self, path: str, document: Document, needs: Permission, endpoint: Endpoint) -> None:
        """Add a route that takes something away."""
        self._add("DELETE", path, document, needs, endpoint)

    async def ask_again(self, request: Request, needs: Permission) -> None:
        """Check again whether a client that is still being answered may have the answer; raises as at first."""
        await self._door.identify(request, needs)

    def _add(self, method: str, path: str, document: Document, needs: Permission, endpoint: Endpoint) -> None:
        is_whole = "{" not in path
        if is_whole:
            self._whole.add(path)

        async def guarded(request: Request) -> Response:
            if not is_whole and request.scope["path"] in self._whole:
                raise HTTPException(405)  # `bulk` is a place of its own, and not the id of a saga
            return await self._door.enter(request, path, needs, endpoint)

        self._app.add_api_route(
            path, guarded, methods=[method], include_in_schema=False, response_model=None, name=document.operation_id
        )
        self.declared.append(Declared(method, path, needs, document))
