"""Who may do what: roles, the permissions that routes declare, and who asks (docs/adr/0022-who-may-do-what.md)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol

import msgspec
from starlette.requests import Request
from starlette.types import Scope

from coordinator.api.problems import RequestRefused


class Role(StrEnum):
    """What somebody is trusted with."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    SERVICE = "service"


class Permission(StrEnum):
    """What a route needs; every route declares one."""

    LOOK = "look"  # at sagas and definitions
    INSPECT = "inspect"  # what operating needs: incidents, dead letters, participants, bulk work
    REVEAL = "reveal"  # fields that definitions declare sensitive; no route needs it, answers are masked without it
    START = "start"  # sagas
    ANSWER = "answer"  # external steps
    ACT = "act"  # go on with, turn back or halt what the definition foresees
    DECIDE = "decide"  # say what is true instead of a participant: skip, resolve, abandon, edit
    ADMINISTER = "administer"  # keys, and the audit


GRANTS: Final[dict[Role, frozenset[Permission]]] = {
    Role.VIEWER: frozenset({Permission.LOOK, Permission.INSPECT}),
    Role.OPERATOR: frozenset(
        {
            Permission.LOOK,
            Permission.INSPECT,
            Permission.REVEAL,
            Permission.START,
            Permission.ANSWER,
            Permission.ACT,
        }
    ),
    Role.ADMIN: frozenset(Permission),
    Role.SERVICE: frozenset({Permission.LOOK, Permission.START, Permission.ANSWER}),
}
"""Which permissions a role has; the only place that says so."""


class Principal(msgspec.Struct, frozen=True):
    """Who asks. `definitions` are the names of those whose sagas this principal may know of; None means all."""

    actor: str
    role: Role
    definitions: frozenset[str] | None = None

    def may(self, permission: Permission) -> bool:
        """Whether this principal has a permission; who knows some definitions only administers nothing."""
        if permission is Permission.ADMINISTER and self.definitions is not None:
            return False
        return permission in GRANTS[self.role]

    def knows(self, definition: str) -> bool:
        """Whether this principal may know of the sagas of a definition."""
        return self.definitions is None or definition in self.definitions


class Mode(StrEnum):
    """How a process tells who asks; its log, /readyz and GET /v1/whoami say which it is."""

    REQUIRED = "required"  # nobody without a token
    LOOPBACK = "loopback"  # everybody on this machine, until the first key is made
    INSECURE = "insecure"  # everybody


class Unauthenticated(RequestRefused):
    """Nobody that is known here; `why` is for the audit and the log, the answer does not say it."""

    def __init__(self, why: str, *, tried: bool = True) -> None:
        detail = "who asks is not known here: send `Authorization: Bearer` with an API key or an access token"
        challenge = 'Bearer realm="saga"' + (', error="invalid_token"' if tried else "")
        super().__init__(401, "unauthenticated", detail, headers={"www-authenticate": challenge})
        self.why = why


class Authenticator(Protocol):
    """Tells who asks."""

    @property
    def mode(self) -> Mode:
        """How this process tells who asks."""
        ...

    async def authenticate(self, scope: Scope) -> Principal:
        """Who asks; raises Unauthenticated, RequestRefused (403, 429), or Unavailable."""
        ...


class Refusals(Protocol):
    """Keeps what was refused for the record."""

    async def refused(
        self, actor: str, action: str, reason: str, status: int, request_id: str, saga_id: str | None = None
    ) -> None:
        """Note a refusal; `action` is the method and the template of the path."""
        ...


class Anybody:
    """Takes everybody for an administrator: where `insecure` was asked for."""

    mode = Mode.INSECURE

    async def authenticate(self, scope: Scope) -> Principal:  # noqa: ARG002 - nothing of the request matters
        """Everybody."""
        return ANONYMOUS


ANONYMOUS: Final = Principal("anonymous", Role.ADMIN)


def principal_of(request: Request) -> Principal:
    """Who asks; every request that has come as far as a route has one."""
    found: Principal = request.scope["state"]["principal"]
    return found


def demand(request: Request, permission: Permission) -> Principal:
    """Who asks, if they have a permission; raises RequestRefused (403) that tells nothing of what was asked for."""
    principal = principal_of(request)
    if not principal.may(permission):
        detail = f"the role {principal.role} does not have the permission {permission}"
        raise RequestRefused(403, "forbidden", detail)
    return principal
