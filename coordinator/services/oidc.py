"""People who come with an access token of an OIDC issuer: is it one, is it for us, and what may they do.

Signatures are checked with the issuer's public keys only. `iss`, `aud` and `exp` must be there and right, `nbf` and
`iat` must be right where they are there; a kid is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
import msgspec

from coordinator.engine.ports import Clock
from coordinator.services.jwks import ALGORITHMS, KID_MAX, SigningKeys, fetch_json
from coordinator.services.words import says_something
from coordinator.settings import OidcSettings, is_loopback, is_safe_url

LEEWAY_S: Final = 30
ACTOR_MAX: Final = 200
CLAIMED_MAX: Final = 1_000
EVERYTHING: Final = "*"
_STRENGTH = ("admin", "operator", "service", "viewer")


class TokenRefused(Exception):
    """A token that lets nobody in; the message says why, for the log and the audit."""


class Person(msgspec.Struct, frozen=True):
    """Whom a token names; `role` None: the issuer knows them, but they have no role here."""

    actor: str
    role: str | None
    definitions: frozenset[str] | None


class Issuer:
    """Checks the tokens of one issuer."""

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        self._settings = settings
        self._keys = SigningKeys(self._fetch, clock)

    async def verify(self, token: str) -> Person:
        """Whom a token names; raises TokenRefused, or Unavailable when the issuer's keys cannot be known."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise TokenRefused("this is no JWT") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or "crit" in header:
            raise TokenRefused("it is not signed in a way that is taken here")
        if not isinstance(kid, str) or not 1 <= len(kid) <= KID_MAX:
            raise TokenRefused("it does not say which key it is signed with (kid)")
        found = await self._keys.find(kid)
        if found is None or algorithm not in found.algorithms:
            raise TokenRefused("the issuer has no such key for this algorithm")
        return self._person(self._claims(token, found.key, algorithm))

    def _claims(self, token: str, key: Any, algorithm: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise TokenRefused(f"{type(error).__name__}: {error}") from None
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenRefused(f"its claims cannot be read: {type(error).__name__}") from None

    def _person(self, claims: Mapping[str, Any]) -> Person:
        settings = self._settings
        name = _claim(claims, settings.actor_claim)
        if not isinstance(name, str) or not says_something(name) or len(name) > ACTOR_MAX:
            raise TokenRefused(f"its claim {settings.actor_claim} names nobody")
        roles = {settings.roles[word] for word in _words(_claim(claims, settings.role_claim)) if word in settings.roles}
        role = next((role for role in _STRENGTH if role in roles), None)
        definitions = None
        if settings.definitions_claim is not None:
            words = _words(_claim(claims, settings.definitions_claim))
            definitions = None if EVERYTHING in words else frozenset(words)
        return Person(f"oidc:{name}", role, definitions)

    async def _fetch(self) -> Any:
        url = self._settings.jwks_url or await self._discovered()
        return await fetch_json(url, trust_env=not is_loopback(str(urlsplit(url).hostname)))

    async def _discovered(self) -> str:
        issuer = str(self._settings.issuer)
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        found = await fetch_json(url, trust_env=not is_loopback(str(urlsplit(url).hostname)))
        if not isinstance(found, dict) or found.get("issuer") != issuer:
            raise ValueError(f"{url} is not of the issuer {issuer}")
        jwks_url = found.get("jwks_uri")
        if not isinstance(jwks_url, str) or not is_safe_url(jwks_url):
            raise ValueError(f"{url} names no place for keys that can be trusted")
        return jwks_url


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim of this name, or else what lies at its dotted path."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _words(claimed: Any) -> list[str]:
    """A claim's words: a list of them, or text with spaces between."""
    words = claimed.split() if isinstance(claimed, str) else claimed
    if not isinstance(words, list):
        return []
    return [word for word in words[:CLAIMED_MAX] if isinstance(word, str)]
