"""A small HTTP client over kept connections, because its cost is part of what it times."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

_DONE = ("http/1.1 200", "http/1.1 201", "http/1.1 202")


class HttpClient:
    """Posts to a coordinator on this machine, over as many connections as there are requests at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, target: str, value: object, headers: Mapping[str, str] | None = None) -> Any:
        """Post a value as JSON; answers what the JSON of the answer says. Raises RuntimeError when it is refused."""
        body = json.dumps(value).encode()
        while self._idle and self._idle[-1][0].at_eof():  # the server ends connections that have rested for long
            self._idle.pop()
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        more = "".join(f"{name}: {text}\r\n" for name, text in (headers or {}).items())
        head = f"POST {target} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{more}"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        said = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(said.partition("content-length:")[2].partition("\r\n")[0])
        answer = await reader.readexactly(length)
        if not said.startswith(_DONE):
            raise RuntimeError(f"POST {target} answered {said.partition(chr(13))[0]}: {answer.decode()[:500]}")
        self._idle.append((reader, writer))
        return json.loads(answer)

    def close(self) -> None:
        """Let the connections go."""
        for _, writer in self._idle:
            writer.close()
