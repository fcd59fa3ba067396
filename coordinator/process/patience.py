"""Waiting for what is missing, and saying so: a coordinator waits for Postgres and Kafka, it does not fail on them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from coordinator.errors import Unavailable

log = structlog.get_logger()

RETRY_S: Final = 0.5
SAY_EVERY: Final = 10  # tries between two lines that say what is waited for
T = TypeVar("T")


class Stopped(Exception):
    """The process was told to stop while it waited for something."""


class Patience:
    """Tries until it works or the process stops.

    `missing` is what is waited for, in words for everybody; `reason` says why the process is not
    ready, None when it is.
    """

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        self.missing = "its start"
        self.reason: str | None = "starting"

    def over(self) -> None:
        """Nothing is waited for any more."""
        self.reason = None

    async def until(self, what: str, action: Callable[[], Awaitable[T]]) -> T:
        """Try until it works, saying now and then what is waited for.

        Raises Stopped, or ConfigurationError where a wrong setting makes waiting pointless.
        """
        tries = 0
        self.missing = what
        while not self._stopping.is_set():
            try:
                return await action()
            except Unavailable as error:
                if tries % SAY_EVERY == 0:
                    log.warning("waiting", what=what, reason=str(error))
                tries += 1
                self.reason = f"waiting for {what}: {error}"
                await self._rest()
        raise Stopped

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), RETRY_S)
