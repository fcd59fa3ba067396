"""How to reach Kafka, and the one start-up check that decides whether this client is fast or useless."""

from __future__ import annotations

import importlib
import ssl
from typing import Any, Literal

import msgspec

from coordinator.errors import ConfigurationError

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

REQUEST_TIMEOUT_MS = 10_000  # one lock guards all connects: a black-holed broker blocks the others this long
METADATA_MAX_AGE_MS = 30_000  # most fetch errors refresh nothing, so a moved leader is found by age alone
RETRY_BACKOFF_MS = 100


class Security(msgspec.Struct, frozen=True, kw_only=True):
    """How the broker wants to be spoken to; the defaults are an open broker on a trusted network."""

    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def __repr__(self) -> str:
        """Leave the password out: settings end up in logs."""
        return f"Security(protocol={self.protocol!r}, mechanism={self.mechanism!r}, username={self.username!r})"


def require_extensions() -> None:
    """Raise ConfigurationError when aiokafka runs without its C extensions.

    Without them a message costs 28 times as much CPU: better to refuse to start than to fall behind at noon.
    """
    try:
        importlib.import_module("aiokafka.record._crecords")
        record_util = importlib.import_module("aiokafka.record.util")
    except ImportError as error:
        raise ConfigurationError(
            "aiokafka has no C extensions here (aiokafka.record._crecords): install its binary wheel, or build it"
            " with a C compiler and zlib headers"
        ) from error
    if record_util.calc_crc32c is record_util.calc_crc32c_py:
        raise ConfigurationError("aiokafka's C extensions are switched off: unset the variable AIOKAFKA_NO_EXTENSIONS")


def client_options(
    bootstrap_servers: str,
    client_id: str,
    security: Security | None,
    request_timeout_ms: int = REQUEST_TIMEOUT_MS,
) -> dict[str, Any]:
    """Keyword arguments that aiokafka's producer, consumer and admin client have in common."""
    options: dict[str, Any] = {
        "bootstrap_servers": bootstrap_servers,
        "client_id": client_id,
        "request_timeout_ms": request_timeout_ms,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        "retry_backoff_ms": RETRY_BACKOFF_MS,
    }
    return options | _security_options(security or Security())


def _security_options(security: Security) -> dict[str, Any]:
    options: dict[str, Any] = {"security_protocol": security.protocol}
    if security.protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(security)
    if security.protocol.startswith("SASL"):
        if security.username is None or security.password is None:
            raise ConfigurationError(f"Kafka's {security.protocol} needs a username and a password")
        options |= {
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": security.username,
            "sasl_plain_password": security.password,
        }
    return options


def _ssl_context(security: Security) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
        if security.cert_file is not None:
            context.load_cert_chain(security.cert_file, security.key_file)
    except OSError as error:
        raise ConfigurationError(f"Kafka's certificate files cannot be used: {error}") from error
    return context
