"""A process of the run: it can be killed at any await, and stopped for a while with everything in its hands.

A killed process is not cancelled: no `finally` runs and nothing is given back. Whatever it waits for never comes, and
what it already asked of others happens or not. All that it does to the world goes through `Life.reach` and comes back
through `Life.hear`.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

T = TypeVar("T")


class Life:
    """Whether a process lives and goes on; `name` is its identity and never comes back."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.paused_until = 0.0
        self.tasks: list[asyncio.Task[Any]] = []

    def kill(self) -> None:
        """End it, as SIGKILL does."""
        self.dead = True

    def pause(self, until_s: float) -> None:
        """Stop it until a moment, as SIGSTOP does."""
        self.paused_until = max(self.paused_until, until_s)

    @property
    def is_paused(self) -> bool:
        """Whether it is stopped now."""
        return asyncio.get_running_loop().time() < self.paused_until

    async def cross(self) -> None:
        """Pass between the process and the world: never, once it is dead; later, while it is stopped."""
        loop = asyncio.get_running_loop()
        while not self.dead and loop.time() < self.paused_until:
            await asyncio.sleep(self.paused_until - loop.time())
        if self.dead:
            await loop.create_future()

    async def hear(self, answer: asyncio.Future[T]) -> T:
        """Wait for an answer of the world; asyncio's timeouts may cut it short, as in production."""
        try:
            result = await asyncio.shield(answer)
        except Exception:
            await self.cross()
            raise
        await self.cross()
        return result
