"""The keys that an OIDC issuer signs with: fetched with limits, and remembered for a bounded time.

An issuer that is down, slow or answers nonsense keeps nobody out whose token is signed with a key that is known, for up
to `STALE_S`. However many tokens name keys that are not known, the issuer is asked once in `PAUSE_S` at most.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx2
import jwt
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from coordinator.engine.ports import Clock
from coordinator.errors import Unavailable

log = structlog.get_logger()

FETCH_S: Final = 3.0
BYTES_MAX: Final = 256 * 1024
KEYS_MAX: Final = 100
KID_MAX: Final = 200
RSA_BITS: Final = (2048, 8192)
FRESH_S: Final = 300.0
STALE_S: Final = 3_600.0
PAUSE_S: Final = 10.0

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS: Final = _RSA | frozenset(_CURVES.values()) | {"EdDSA"}
"""What tokens may be signed with: nothing that knows a shared secret, or none."""

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
FetchKeys = Callable[[], Awaitable[Any]]


class SigningKey(msgspec.Struct, frozen=True):
    """A public key, and the algorithms that it may be used with."""

    key: PublicKey
    algorithms: frozenset[str]


class SigningKeys:
    """Finds an issuer's keys by their kid, which is compared and nothing else."""

    def __init__(self, fetch: FetchKeys, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self._fetched_at = -math.inf
        self._asked_at = -math.inf
        self._asking: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> SigningKey | None:
        """The key of a kid; raises Unavailable when the issuer's keys cannot be known."""
        if self._age() > FRESH_S:
            self._ask()
        if self._age() > STALE_S or kid not in self._keys:
            await self._wait_for(self._ask())
        if self._age() > STALE_S:
            raise Unavailable("the OIDC issuer does not tell its keys")
        return self._keys.get(kid)

    def _age(self) -> float:
        return self._clock.monotonic() - self._fetched_at

    def _ask(self) -> asyncio.Task[None] | None:
        """Fetch the keys beside the requests, unless that is being done or was tried just now."""
        now = self._clock.monotonic()
        if self._asking is None and now - self._asked_at >= PAUSE_S:
            self._asked_at = now
            self._asking = asyncio.create_task(self._fetch_once())
        return self._asking

    async def _wait_for(self, asking: asyncio.Task[None] | None) -> None:
        if asking is not None:
            await asyncio.wait({asking})  # it ends within FETCH_S

    async def _fetch_once(self) -> None:
        try:
            async with asyncio.timeout(FETCH_S):
                self._keys = read_keys(await self._fetch())
            self._fetched_at = self._clock.monotonic()
        except (TimeoutError, OSError, httpx2.HTTPError, httpx2.InvalidURL, ValueError, RecursionError) as error:
            log.warning("oidc_keys_not_fetched", reason=str(error) or type(error).__name__)
        finally:
            self._asking = None


def read_keys(document: Any) -> dict[str, SigningKey]:
    """The usable keys of a JWKS document by their kid; raises ValueError for what is none, or holds none."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > KEYS_MAX:
        raise ValueError(f"the issuer's answer is no list of at most {KEYS_MAX} keys")
    keys: dict[str, SigningKey] = {}
    for each in listed:
        kid = each.get("kid") if isinstance(each, dict) else None
        key = _read_key(each) if isinstance(kid, str) and 1 <= len(kid) <= KID_MAX else None
        if key is not None:
            keys.setdefault(str(kid), key)
    if not keys:
        raise ValueError("none of the issuer's keys can be used: wanted are RSA, EC or Ed25519 keys with a kid")
    return keys


def _read_key(document: dict[str, Any]) -> SigningKey | None:
    if document.get("use", "sig") != "sig" or "d" in document or document.get("kty") == "oct":
        return None
    if document.get("alg") == "none":  # what it would be asks the library to do what it never does
        return None
    try:
        key = jwt.PyJWK(document).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    algorithms = _algorithms(key)
    if "alg" in document:
        algorithms = frozenset(name for name in algorithms if name == document["alg"])
    return SigningKey(key, algorithms) if algorithms else None


def _algorithms(key: object) -> frozenset[str]:
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA if RSA_BITS[0] <= key.key_size <= RSA_BITS[1] else frozenset()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return frozenset({_CURVES[key.curve.name]}) if key.curve.name in _CURVES else frozenset()
    return frozenset({"EdDSA"}) if isinstance(key, ed25519.Ed25519PublicKey) else frozenset()


async def fetch_json(url: str, *, trust_env: bool) -> Any:
    """Get a small JSON document, following nothing; raises ValueError, httpx2.HTTPError."""
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    async with (
        httpx2.AsyncClient(follow_redirects=False, trust_env=trust_env, timeout=FETCH_S) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        if answer.status_code != 200 or answer.headers.get("content-encoding", "identity") != "identity":
            raise ValueError(f"{url} answers {answer.status_code}, or encoded")
        body = bytearray()
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > BYTES_MAX:
                raise ValueError(f"{url} answers with more than {BYTES_MAX} bytes")
    return json.loads(body)
