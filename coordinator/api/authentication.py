"""Who asks: API keys and OIDC access tokens, and how often they may (docs/adr/0022-who-may-do-what.md).

The answer to somebody unknown is the same whatever is wrong with the token; the audit says what it was.
"""

from __future__ import annotations

import ipaddress
import math
import re
from functools import lru_cache
from typing import Final, Protocol

from starlette.types import Scope

from coordinator.api.access import ANONYMOUS, Mode, Principal, Role, Unauthenticated
from coordinator.api.limiting import Buckets
from coordinator.api.problems import RequestRefused
from coordinator.services import tokens
from coordinator.services.keyring import KeyRing
from coordinator.services.oidc import Person, TokenRefused

TOKEN_MAX: Final = 8 * 1024

_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?", re.ASCII)


class Verifier(Protocol):
    """Checks access tokens."""

    async def verify(self, token: str) -> Person:
        """Whom a token names; raises TokenRefused, Unavailable."""
        ...


class Forbidden(RequestRefused):
    """Somebody known without any role here."""

    def __init__(self, actor: str) -> None:
        super().__init__(403, "forbidden", "you have no role here")
        self.actor = actor


class Tokens:
    """Lets in who shows a valid token; on loopback, everybody until the first key is made.

    `asked` limits what a principal may ask, `failed` what strangers of one address may try. Who shows a valid token is
    let in however often others of the same address have failed: behind a proxy all have one address.
    """

    def __init__(self, mode: Mode, ring: KeyRing, issuer: Verifier | None, asked: Buckets, failed: Buckets) -> None:
        self.mode = mode
        self._ring = ring
        self._issuer = issuer
        self._asked = asked
        self._failed = failed

    async def authenticate(self, scope: Scope) -> Principal:
        """Who asks; raises Unauthenticated, RequestRefused (403, 429), or Unavailable."""
        try:
            principal = await self._found(scope)
        except Unauthenticated:
            _check_rate(self._failed, peer_of(scope))
            raise
        except Forbidden as refused:
            _check_rate(self._asked, refused.actor)
            raise
        if principal is not ANONYMOUS:
            _check_rate(self._asked, principal.actor)
        return principal

    async def _found(self, scope: Scope) -> Principal:
        given: list[bytes] = [value for name, value in scope["headers"] if name == b"authorization"]
        if not given:
            return await self._without_token(scope)
        match = _BEARER.fullmatch(given[0]) if len(given) == 1 and len(given[0]) <= TOKEN_MAX else None
        if match is None:
            raise Unauthenticated("Authorization is not one Bearer token")
        token = match[1].decode()
        if token.startswith(tokens.PREFIX):
            return await self._of_key(token)
        if self._issuer is None:
            raise Unauthenticated("the token is no API key, and no OIDC issuer is set")
        return await self._of_person(self._issuer, token)

    async def _without_token(self, scope: Scope) -> Principal:
        if self.mode is not Mode.LOOPBACK or await self._ring.any_made():
            raise Unauthenticated("no token was sent", tried=False)
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if not all(map(_is_near, hosts)):
            raise Unauthenticated("without a token this machine is served under its own names only", tried=False)
        return ANONYMOUS

    async def _of_key(self, token: str) -> Principal:
        key_id = tokens.id_of(token)
        if key_id is None:
            raise Unauthenticated("the API key was cut or misspelt")
        key = await self._ring.find(key_id)
        if key is None or not tokens.matches(token, key.secret_hash):
            raise Unauthenticated(f"the API key {key_id} is unknown, revoked or expired")
        self._ring.used(key_id)
        return Principal(f"key:{key.name}", Role(key.role), key.definitions)

    async def _of_person(self, issuer: Verifier, token: str) -> Principal:
        try:
            person = await issuer.verify(token)
        except TokenRefused as refused:
            raise Unauthenticated(f"the access token was refused: {refused}") from None
        if person.role is None:
            raise Forbidden(person.actor)
        return Principal(person.actor, Role(person.role), person.definitions)


def peer_of(scope: Scope) -> str:
    """The address that a request came from."""
    client = scope.get("client")
    return client[0] if client else "unknown"


def _check_rate(buckets: Buckets, name: str) -> None:
    wait_s = buckets.take(name)
    if wait_s > 0:
        headers = {"retry-after": str(math.ceil(wait_s))}
        raise RequestRefused(429, "too-many-requests", "that is too often: ask again later", headers=headers)


@lru_cache(maxsize=64)
def _is_near(host: bytes) -> bool:
    """Whether a Host header can only mean this machine; a page of the Web that made its own name point here cannot."""
    match = _HOST.fullmatch(host.decode("latin-1"))
    if match is None:
        return False
    name = match[1].strip("[]").lower().removesuffix(".")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return "." not in name or name.endswith(".localhost")
