"""A client of server-sent events: what it has got, in the order in which it came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any

import httpx
import msgspec


class Heard(msgspec.Struct):
    """One event, or a comment."""

    event: str
    data: Any = None
    id: str | None = None


class Listener:
    """Reads one stream in the background."""

    def __init__(self, url: str, target: str, headers: Mapping[str, str] | None = None) -> None:
        self.heard: list[Heard] = []
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.ended = asyncio.Event()
        self._opened = asyncio.Event()
        self._task = asyncio.create_task(self._listen(url, target, dict(headers or {})))

    async def opened(self) -> None:
        """Wait for the answer's head."""
        async with asyncio.timeout(20):
            await self._opened.wait()

    @property
    def transitions(self) -> list[Any]:
        """The data of the transitions."""
        return [heard.data for heard in self.heard if heard.event == "transition"]

    @property
    def last_id(self) -> str:
        """The id of the last event that had one."""
        return [heard.id for heard in self.heard if heard.id is not None][-1]

    async def until(self, condition: Callable[[], bool], within_s: float = 20.0) -> None:
        """Wait until what was heard is enough."""
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - what is waited for comes from another process
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Go away."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _listen(self, url: str, target: str, headers: dict[str, str]) -> None:
        try:
            async with (
                httpx.AsyncClient(timeout=60) as client,
                client.stream("GET", f"{url}{target}", headers=headers) as answer,
            ):
                self.status, self.headers = answer.status_code, dict(answer.headers)
                self._opened.set()
                fields: dict[str, str] = {}
                async with aclosing(answer.aiter_lines()) as lines:  # type: ignore[type-var]
                    async for line in lines:
                        if line:
                            name, _, value = line.partition(":")
                            fields[name] = value.strip()
                        elif fields:
                            self._take(fields)
                            fields = {}
        except httpx.HTTPError as error:
            self.heard.append(Heard("broken", repr(error)))
        finally:
            self._opened.set()
            self.ended.set()

    def _take(self, fields: dict[str, str]) -> None:
        if "" in fields:
            self.heard.append(Heard("comment", fields[""]))
        elif "event" in fields:
            self.heard.append(Heard(fields["event"], json.loads(fields["data"]), fields.get("id")))
