"""An app with nothing behind its routes, and somebody at its door whom a test chooses."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import MagicMock

import httpx
import msgspec
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import Scope

from coordinator.api.access import Authenticator, Mode, Principal, Role, Unauthenticated
from coordinator.api.app import ApiParts, create_app

ROLE = b"x-test-role"


class Told(msgspec.Struct, frozen=True):
    """A refusal as it was told."""

    actor: str
    action: str
    reason: str
    status: int
    request_id: str
    saga_id: str | None


class Record:
    """Keeps what was refused; `broken` makes it fail, `slow` never end."""

    def __init__(self, *, broken: bool = False, slow: bool = False) -> None:
        self.told: list[Told] = []
        self._broken = broken
        self._slow = slow

    async def refused(
        self, actor: str, action: str, reason: str, status: int, request_id: str, saga_id: str | None = None
    ) -> None:
        """Keep it."""
        if self._broken:
            raise ZeroDivisionError
        if self._slow:
            await asyncio.Event().wait()
        self.told.append(Told(actor, action, reason, status, request_id, saga_id))


class ByHeader:
    """Takes a request's word for the role of who sent it."""

    mode = Mode.REQUIRED

    def __init__(self, definitions: frozenset[str] | None = None) -> None:
        self._definitions = definitions

    async def authenticate(self, scope: Scope) -> Principal:
        """Who asks."""
        roles = [value.decode() for name, value in scope["headers"] if name == ROLE]
        if not roles:
            raise Unauthenticated("no role", tried=False)
        return Principal(f"key:{roles[0]}", Role(roles[0]), self._definitions)


def hall(authenticator: Authenticator, record: Record | None = None, **others: Any) -> FastAPI:
    """Build the app; all parts that are not given are empty shells."""
    parts = {name: MagicMock(name=name) for name in ApiParts.__struct_fields__}
    return create_app(
        ApiParts(
            **{
                **parts,
                "metrics": CollectorRegistry(),
                "checks": [],
                "authenticator": authenticator,
                "refusals": record or Record(),
                "tracing": None,
                **others,
            }
        )
    )


def client(app: FastAPI, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """Give a client that comes from an address."""
    transport = httpx.ASGITransport(app, client=(address, 50_000))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")
