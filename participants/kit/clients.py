"""Stopping Kafka clients, which do not stop by themselves when the broker is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, Protocol

import structlog

log = structlog.get_logger()

STOP_SECONDS: Final = 3.0


class Client(Protocol):
    """A producer or a consumer."""

    def stop(self) -> Awaitable[None]:
        """Leave the broker in good order."""
        ...


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
