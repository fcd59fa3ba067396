"""A response without an end: pieces as they come, to a client that is let go when it does not take them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from coordinator.api.listening import CUT
from coordinator.api.openapi import EVENT_STREAM
from coordinator.services.tail import Subscription

PIECE: Final = 64 * 1024  # bytes handed to the connection at a time
TAKE_S: Final = 10.0  # for a client to make room for the next piece


class EventStream(Response):
    """Server-sent events from `pieces`; `leave` is called when it is over, however it ends."""

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], listening: Subscription, leave: Callable[[Subscription], None]
    ) -> None:
        super().__init__(media_type=EVENT_STREAM, headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self.headers["content-type"] = EVENT_STREAM
        self._pieces = pieces
        self._listening = listening
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until there is no more, or nobody to take it."""
        scope["state"]["streaming"] = True
        cut: Callable[[], None] = scope["state"].get(CUT, _nothing)
        watching = asyncio.create_task(_watch(receive, self._listening))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with contextlib.aclosing(self._pieces):
                async for data in self._pieces:
                    for first in range(0, len(data), PIECE):
                        if not await self._take(send, data[first : first + PIECE], cut):
                            return
            with contextlib.suppress(ClientDisconnect):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            watching.cancel()
            self._leave(self._listening)

    async def _take(self, send: Send, piece: bytes, cut: Callable[[], None]) -> bool:
        """Hand over a piece; a client that makes no room for it, or is let go meanwhile, is cut off."""
        self._listening.on_close = cut
        try:
            async with asyncio.timeout(TAKE_S):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except (TimeoutError, ClientDisconnect):
            cut()
            return False
        finally:
            self._listening.on_close = None
        return True


async def _watch(receive: Receive, listening: Subscription) -> None:
    """Let go of a client that has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    listening.close()


def _nothing() -> None:
    """Where the server gives no way to cut a connection, it ends with the response."""
