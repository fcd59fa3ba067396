"""Access tokens: which are taken, for whom, and the many that are not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from coordinator.errors import Unavailable
from coordinator.services.oidc import Issuer, TokenRefused
from tests.unit.services import issuers
from tests.unit.services.issuers import forged, token
from tests.unit.services.test_keyring import Hands

NOW = int(time.time())


def _issuer(keys: Any = issuers.KEYS, **changes: Any) -> Issuer:
    issuer = Issuer(issuers.settings(**changes), Hands())

    async def fetch() -> Any:
        if isinstance(keys, Exception):
            raise keys
        return keys

    issuer._keys._fetch = fetch
    return issuer


TAKEN = {
    "RS256": token(),
    "RS384": token(algorithm="RS384"),
    "RS512": token(algorithm="RS512"),
    "PS256": token(algorithm="PS256"),
    "PS384": token(algorithm="PS384"),
    "PS512": token(algorithm="PS512"),
    "ES256": token(issuers.EC256, "ES256", "ec256"),
    "ES384": token(issuers.EC384, "ES384", "ec384"),
    "ES512": token(issuers.EC521, "ES512", "ec521"),
    "EdDSA": token(issuers.ED, "EdDSA", "ed"),
    "a key for one algorithm": token(algorithm="PS256", kid="ps-only"),
    "several audiences": token(aud=["other", "saga"]),
    "no nbf and no iat": token(nbf=None, iat=None),
}

REFUSED = {
    "alg none": forged({"alg": "none", "kid": "rsa"}),
    "alg None": forged({"alg": "None", "kid": "rsa"}, signature=b"x"),
    "no alg": forged({"kid": "rsa"}, signature=b"x"),
    "alg that is no text": forged({"alg": ["RS256"], "kid": "rsa"}, signature=b"x"),
    "HS256 with the public key": issuers.signed_with_the_public_key(),
    "HS256 with a shared key": token("s" * 32, "HS256", "shared"),
    "another's signature": token(issuers.OTHER),
    "another's key under a kid of ours": token(issuers.EC384, "ES384", "ec256"),
    "an algorithm that is not the key's": token(issuers.EC256, "ES256", "rsa"),
    "an algorithm that the issuer does not use with the key": token(algorithm="RS256", kid="ps-only"),
    "a key that is for encryption": token(kid="for-encryption"),
    "a key that is too small": token(issuers.SMALL, "RS256", "small"),
    "wrong issuer": token(iss="https://sso.example.com/realms/other"),
    "issuer with a slash": token(iss=f"{issuers.ISSUER}/"),
    "no issuer": token(iss=None),
    "wrong audience": token(aud="somebody-else"),
    "no audience": token(aud=None),
    "expired": token(exp=NOW - 120),
    "never expires": token(exp=None),
    "expiry that is no number": token(exp="never"),
    "expiry beyond all time": token(exp=1e400),
    "not valid yet": token(nbf=NOW + 7200),
    "nbf that is no number": token(nbf="soon"),
    "made in the future": token(iat=NOW + 7200),
    "no kid": token(kid=None),
    "an empty kid": token(kid=""),
    "an unknown kid": token(kid="nobody"),
    "kid as a path": token(kid="../../../../dev/null"),
    "kid as a URL": token(kid="https://evil.example/keys.json"),
    "kid as SQL": token(kid="rsa' OR '1'='1"),
    "kid that is a number": forged({"alg": "RS256", "kid": 7}, signature=b"x"),
    "a long kid": token(kid="k" * 10_000),
    "a header that says where the key is": forged({"alg": "RS256", "jku": "https://evil.example"}, signature=b"x"),
    "a critical header": forged({"alg": "RS256", "kid": "rsa", "crit": ["exp"], "exp": 1}, signature=b"x"),
    "nobody": token(sub=None),
    "a name that is no text": token(sub=7),
    "a name with a line break": token(sub="ann\nadmin"),
    "a name that is blank": token(sub=" "),
    "a long name": token(sub="a" * 500),
    "claims that are a list": forged({"alg": "RS256", "kid": "rsa"}, b"[]", b"x"),
    "claims that are no JSON": forged({"alg": "RS256", "kid": "rsa"}, b"{", b"x"),
    "deep claims": forged({"alg": "RS256", "kid": "rsa"}, b"[" * 100_000, b"x"),
    "a header that is a list": "W10.e30.eA",
    "a deep header": f"{'W1tb' * 1500}.e30.eA",
    "two parts": token().rpartition(".")[0],
    "four parts": f"{token()}.x",
    "no base64": "a.b.c",
    "a cut signature": token()[:-20],
    "changed claims": ".".join((token().split(".")[0], forged({}).split(".")[1], token().split(".")[2])),
}


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
async def test_a_token_of_the_issuer_is_taken(text: str) -> None:
    """Every signature with a public key is taken."""
    person = await _issuer().verify(text)
    assert (person.actor, person.role, person.definitions) == ("oidc:ann", "operator", None)


async def test_clocks_may_differ_a_little() -> None:
    """An issuer whose clock is some seconds ahead or behind is believed."""
    now = int(time.time())
    for text in (token(nbf=now + 20, iat=now + 20), token(exp=now - 10)):
        assert (await _issuer().verify(text)).actor == "oidc:ann"


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
async def test_any_other_token_is_refused(text: str) -> None:
    """Whatever else a token is, it lets nobody in, and is no fault of ours."""
    with pytest.raises(TokenRefused):
        await _issuer().verify(text)


@pytest.mark.parametrize(
    ("claimed", "settings", "role"),
    [
        ({"roles": ["on-call", "boss", "unheard-of"]}, {}, "admin"),
        ({"roles": ["staff", "robot"]}, {}, "service"),
        ({"roles": "staff on-call"}, {}, "operator"),
        ({"roles": []}, {}, None),
        ({"roles": None}, {}, None),
        ({"roles": {"boss": True}}, {}, None),
        ({"roles": [["boss"], 7, None]}, {}, None),
        ({"roles": ["Boss"]}, {}, None),
        ({"realm_access": {"roles": ["boss"]}}, {"role_claim": "realm_access.roles"}, "admin"),
        ({"realm_access": "boss"}, {"role_claim": "realm_access.roles"}, None),
        ({"https://example.com/roles": ["boss"]}, {"role_claim": "https://example.com/roles"}, "admin"),
    ],
)
async def test_the_strongest_role_counts(claimed: dict[str, Any], settings: dict[str, Any], role: str | None) -> None:
    """A claim's words are mapped to roles, wherever the claim is; no word that is mapped means no role."""
    assert (await _issuer(**settings).verify(token(**{"roles": None, **claimed}))).role == role


@pytest.mark.parametrize(
    ("claimed", "known"),
    [
        ({}, frozenset()),
        ({"teams": "Order Transfer"}, frozenset({"Order", "Transfer"})),
        ({"teams": ["Order"]}, frozenset({"Order"})),
        ({"teams": ["Order", "*"]}, None),
        ({"teams": 7}, frozenset()),
    ],
)
async def test_a_claim_bounds_what_one_may_know_of(claimed: dict[str, Any], known: frozenset[str] | None) -> None:
    """Where a claim for definitions is set its words are all that there is; without it nothing is, with * all is."""
    assert (await _issuer(definitions_claim="teams").verify(token(**claimed))).definitions == known


async def test_another_claim_may_name_the_person() -> None:
    """The claim that names people is a setting."""
    assert (await _issuer(actor_claim="email").verify(token(email="ann@example.com"))).actor == "oidc:ann@example.com"


@pytest.mark.parametrize(
    "keys",
    [
        OSError("connection refused"),
        ValueError("it answers 302"),
        {},
        [],
        {"keys": {}},
        {"keys": []},
        {"keys": [issuers.jwk("rsa", issuers.RSA)] * 101},
        {"keys": [{"kid": "rsa", "kty": "RSA", "n": "AA", "e": "AQAB"}]},
        {"keys": [{"kid": "rsa", "kty": "RSA", "n": 7, "e": []}]},
        {"keys": [{"kid": 7, "kty": "OKP"}, "rsa", None]},
        {"keys": [issuers.jwk("rsa", issuers.RSA, alg=["RS256"])]},
        {"keys": [issuers.jwk("rsa", issuers.RSA, use=["sig"])]},
    ],
    ids=str,
)
async def test_without_the_issuers_keys_nobody_is_judged(keys: Any) -> None:
    """An issuer that is down, or shows no usable keys, makes its people wait: they are neither let in nor refused."""
    with pytest.raises(Unavailable):
        await _issuer(keys).verify(token())
