"""A response without an end: what it does about a client that does not take what it asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from coordinator.api import streaming
from coordinator.api.listening import CUT
from coordinator.api.streaming import EventStream
from coordinator.services.tail import Subscription, Wanted
from coordinator.store.tailing import Place


class Client:
    """A client at the server's end of a connection; it takes so many messages and then no more."""

    def __init__(self, takes: int) -> None:
        self.taken: list[bytes] = []
        self.left: list[Subscription] = []
        self.listening = Subscription(Wanted(), "ann", Place(1))
        self.was_cut = asyncio.Event()
        self.goes = asyncio.Event()
        self._takes = takes

    async def receive(self) -> dict[str, Any]:
        """Hear of nothing until the client goes."""
        await self.goes.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Take a message, or make no room for it until the connection is cut."""
        if message["type"] == "http.response.body":
            if len(self.taken) >= self._takes:
                await self.was_cut.wait()
                return
            self.taken.append(message["body"])

    async def serve(self, pieces: AsyncGenerator[bytes, None]) -> None:
        """Serve a stream to it."""
        scope = {"type": "http", "state": {CUT: self.was_cut.set}}
        await EventStream(pieces, self.listening, self.left.append)(scope, self.receive, self.send)


async def endless() -> AsyncGenerator[bytes, None]:
    """Give pieces for ever."""
    while True:
        yield b"x" * 100


async def three() -> AsyncGenerator[bytes, None]:
    """Give three pieces, one of them large."""
    yield b"a"
    yield b"b" * (2 * streaming.PIECE + 1)
    yield b"c"


async def test_what_is_large_is_handed_over_in_pieces() -> None:
    """No more than a piece at a time is put on the connection; the end is in order."""
    client = Client(100)
    await client.serve(three())
    assert [len(piece) for piece in client.taken] == [1, streaming.PIECE, streaming.PIECE, 1, 1, 0]
    assert client.left == [client.listening]
    assert not client.was_cut.is_set()


async def test_a_client_that_makes_no_room_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while without room for the next piece the connection is ended, and the listener is gone."""
    monkeypatch.setattr(streaming, "TAKE_S", 0.05)
    client = Client(3)
    async with asyncio.timeout(5):
        await client.serve(endless())
    assert client.was_cut.is_set()
    assert client.left == [client.listening]


async def test_whoever_is_let_go_while_blocked_is_cut_off_at_once() -> None:
    """A listener that is let go, for the process stops or too much waits, does not hold on to its connection."""
    client = Client(3)
    serving = asyncio.create_task(client.serve(three()))
    while client.listening.on_close is None or len(client.taken) < 3:  # noqa: ASYNC110 - the response's doing
        await asyncio.sleep(0)
    client.listening.close()
    async with asyncio.timeout(5):
        await client.was_cut.wait()
    serving.cancel()


async def test_a_client_that_goes_is_noticed() -> None:
    """The listener of a client that closed its connection is let go."""
    client = Client(100)

    async def quiet() -> AsyncGenerator[bytes, None]:
        yield b"a"
        client.goes.set()
        while not client.listening.closed:
            await client.listening.next(5)

    async with asyncio.timeout(5):
        await client.serve(quiet())
    assert client.listening.closed
    assert client.left == [client.listening]
