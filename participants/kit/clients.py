"""What Kafka clients have in common: how they connect, and how they stop, which they do not when the broker is gone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from typing import Any, Final, Protocol

import structlog

from participants.kit.settings import KafkaSettings, SettingsWrong

log = structlog.get_logger()

STOP_SECONDS: Final = 3.0


class Client(Protocol):
    """A producer or a consumer."""

    def stop(self) -> Awaitable[None]:
        """Leave the broker in good order."""
        ...


def client_options(kafka: KafkaSettings, client_id: str) -> dict[str, Any]:
    """Give what a producer and a consumer are built with alike; raises `SettingsWrong` for an unusable CA_FILE."""
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "client_id": client_id,
        "request_timeout_ms": 10_000,
        "metadata_max_age_ms": 30_000,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.endswith("SSL"):
        try:
            options["ssl_context"] = ssl.create_default_context(cafile=kafka.ca_file)
        except OSError as error:
            raise SettingsWrong(f"SAGA_KAFKA__CA_FILE: {error}") from error
    if kafka.security_protocol.startswith("SASL") and kafka.password is not None:
        options["sasl_mechanism"] = kafka.sasl_mechanism
        options["sasl_plain_username"] = kafka.username
        options["sasl_plain_password"] = kafka.password.get_secret_value()
    return options


async def stop_client(client: Client) -> None:
    """Stop a client within three seconds, whatever comes of it; what it raises is logged."""
    # In a task of its own: aiokafka lets cancellations of its inner tasks escape, which would look like one of ours.
    task = asyncio.ensure_future(client.stop())
    await asyncio.wait({task}, timeout=STOP_SECONDS)
    if not task.done():
        task.cancel()
        log.warning("client_stopped_hard", client=type(client).__name__, error="no end within the time")
    elif task.cancelled() or task.exception() is not None:
        error = None if task.cancelled() else task.exception()
        log.warning("client_stopped_hard", client=type(client).__name__, error=repr(error))
