"""An OIDC issuer in one process: keys of every kind, tokens of every kind, and a place where its keys are."""

from __future__ import annotations

import base64
import json
import time
import warnings
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from coordinator.settings import OidcSettings

ISSUER = "https://sso.example.com/realms/shop"
AUDIENCE = "saga"
ROLES: dict[str, Any] = {"boss": "admin", "on-call": "operator", "staff": "viewer", "robot": "service"}

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - it must be refused
EC256 = ec.generate_private_key(ec.SECP256R1())
EC384 = ec.generate_private_key(ec.SECP384R1())
EC521 = ec.generate_private_key(ec.SECP521R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(kid: str, key: Any, **members: Any) -> dict[str, Any]:
    """A public key as an issuer shows it."""
    public = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        shown = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        shown = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        shown = jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    return {**shown, "kid": kid, "use": "sig", **members}


KEYS = {
    "keys": [
        jwk("rsa", RSA),
        jwk("ec256", EC256),
        jwk("ec384", EC384),
        jwk("ec521", EC521),
        jwk("ed", ED),
        jwk("small", SMALL),
        jwk("ps-only", RSA, alg="PS256"),
        jwk("for-encryption", RSA, use="enc"),
        {"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(b"s" * 32).decode()},
    ]
}


def claims(**changes: Any) -> dict[str, Any]:
    """What a token that is fine says, but for `changes`; None leaves a claim out."""
    now = int(time.time())
    fine = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "iat": now,
        "nbf": now,
        "exp": now + 7200,
        "roles": ["on-call"],
        **changes,
    }
    return {name: value for name, value in fine.items() if value is not None}


def token(key: Any = RSA, algorithm: str = "RS256", kid: Any = "rsa", **changes: Any) -> str:
    """A signed token."""
    headers = {} if kid is None else {"kid": kid}
    with warnings.catch_warnings(action="ignore"):  # some are made to be refused
        return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def forged(header: dict[str, Any], payload: bytes | None = None, signature: bytes = b"") -> str:
    """A token put together by hand."""
    parts = (json.dumps(header).encode(), json.dumps(claims()).encode() if payload is None else payload, signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def signed_with_the_public_key() -> str:
    """A token whose HMAC key is the issuer's public RSA key: whoever believes its `alg` takes it for genuine."""
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    unsigned = forged({"alg": "HS256", "kid": "rsa", "typ": "JWT"}).rpartition(".")[0]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(unsigned.encode(), pem)
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def settings(**changes: Any) -> OidcSettings:
    """The settings that take the tokens of this issuer."""
    return OidcSettings(**{"issuer": ISSUER, "audience": AUDIENCE, "roles": ROLES, **changes})
