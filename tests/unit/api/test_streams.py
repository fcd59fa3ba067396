"""Streams as the routes give them: who may hear of what, for how long, and what is written."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, cast

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Scope

from coordinator.api import door, streams
from coordinator.api.access import Mode, Principal, Role
from coordinator.api.app import create_health_app
from coordinator.api.problems import RequestRefused
from coordinator.api.routes import Routes
from coordinator.errors import Unavailable
from coordinator.services.tail import Tail
from coordinator.settings import StreamSettings
from coordinator.store.reads import LogEntry, SagaReads, SagaSummary
from coordinator.store.tailing import Place
from tests.unit.api.hall import Record
from tests.unit.services.memory_log import Clock, Log

FIRST, SECOND = "01890a5d-0000-7000-8000-000000000001", "01890a5d-0000-7000-8000-000000000002"
LIFE_S = 0.4


class Door:
    """Lets everybody in as one principal, until the test says otherwise."""

    mode = Mode.REQUIRED

    def __init__(self) -> None:
        self.principal = Principal("key:shop", Role.SERVICE, frozenset({"Order"}))
        self.refuse: Exception | None = None
        self.asked = 0

    async def authenticate(self, scope: Scope) -> Principal:
        """Who asks."""
        del scope
        self.asked += 1
        if self.refuse is not None and self.asked > 1:
            raise self.refuse
        return self.principal


class Reads:
    """Two sagas, of two definitions."""

    async def summaries(self, saga_ids: Sequence[str]) -> dict[str, SagaSummary]:
        """How they stand."""
        known = {FIRST: "Order", SECOND: "Travel"}
        return {
            each: SagaSummary(each, known[each], 1, "key", "pending", 1, "", "", None)
            for each in saga_ids
            if each in known
        }

    async def log(self, saga_id: str, after: int, limit: int) -> list[LogEntry]:
        """Nothing has happened yet."""
        del saga_id, after, limit
        return []


class World:
    """An app with streams over a log in memory."""

    def __init__(self) -> None:
        self.log = Log()
        self.door = Door()
        settings = StreamSettings(life_seconds=1, heartbeat_seconds=0.1)
        self.settings = settings.model_copy(update={"life_seconds": LIFE_S})
        self.tail = Tail(self.log, Clock(), self.settings, streams.written)
        app = create_health_app(CollectorRegistry(), [])
        routes = Routes(app, door.Door(self.door, Record()), lambda endpoint: endpoint)
        streams.add_stream_routes(routes, self.tail, cast("SagaReads", Reads()), self.settings)
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")

    async def get(self, target: str, after: str = "") -> httpx.Response:
        """Listen for a stream's whole life."""
        return await self._client.get(target, headers={"last-event-id": after})

    async def hear(self, target: str) -> list[tuple[str, Any]]:
        """Listen while one thing after another happens to both sagas; answers the events."""
        listening = asyncio.create_task(self.get(target))
        while not self.tail.listeners:  # noqa: ASYNC110 - the app's doing
            await asyncio.sleep(0)
        for version in (1, 2):
            self.log.add(FIRST, version, definition="Order")
            self.log.add(SECOND, version, definition="Travel")
        return _events((await listening).text)


def _events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def test_whoever_is_limited_to_definitions_hears_of_no_other() -> None:
    """A key for some definitions gets their sagas' transitions only, whatever it asks for."""
    everything = await World().hear("/v1/events")
    assert [data["saga_id"] for name, data in everything if name == "transition"] == [FIRST, FIRST]
    other = await World().hear("/v1/events?definition=Travel")
    assert [name for name, _ in other] == ["end"]
    assert (await World().get(f"/v1/sagas/{SECOND}/events")).status_code == 404
    assert (await World().get(f"/v1/sagas/{FIRST}/events")).status_code == 200


async def test_what_is_told_is_the_transition_and_no_payload() -> None:
    """The data of an event are the words of the log, and nothing that a participant or client sent."""
    [(_, first), *_] = await World().hear("/v1/events")
    assert set(first) == {"saga_id", "definition", "version", "status", "old_status", "step_name", "event", "at"}


async def test_a_stream_ends_after_its_life() -> None:
    """A stream that nobody ends is ended, and the client is told to come again."""
    world = World()
    assert (await world.hear("/v1/events"))[-1] == ("end", {"reason": "connect again"})
    assert world.tail.listeners == 0


@pytest.mark.parametrize(
    ("refuse", "ends"),
    [
        (RequestRefused(401, "unauthenticated", "revoked"), True),
        (RequestRefused(403, "forbidden", "another role"), True),
        (RequestRefused(429, "too-many", "later"), False),
        (Unavailable("Postgres is away"), False),
    ],
)
async def test_whoever_may_not_listen_any_more_is_let_go(
    monkeypatch: pytest.MonkeyPatch, refuse: Exception, ends: bool
) -> None:
    """A key that is revoked ends its streams; a key that cannot be checked just now does not."""
    monkeypatch.setattr(streams, "ASK_AGAIN_S", LIFE_S / 8)
    world = World()
    world.door.refuse = refuse
    began = asyncio.get_running_loop().time()
    await world.get("/v1/events")
    lasted = asyncio.get_running_loop().time() - began
    assert (lasted < LIFE_S * 0.9) == ends


async def test_whoever_catches_up_is_let_go_as_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is revoked while a client is told what it has missed gets no more of that."""
    monkeypatch.setattr(streams, "ASK_AGAIN_S", 0.0)
    world = World()
    world.log.end = Place(time.time_ns() // 1000 - 5_000_000)
    missed = f"{world.log.end.at_us}.1.{FIRST}"
    for version in (2, 3):
        world.log.add(FIRST, version)
    world.door.refuse = RequestRefused(401, "unauthenticated", "revoked")
    assert [name for name, _ in _events((await world.get("/v1/events", missed)).text)] == ["end"]


async def test_heartbeats_show_that_a_stream_lives() -> None:
    """While nothing happens comments come, so that proxies and clients know that the stream is not dead."""
    answer = await World().get("/v1/events")
    assert answer.text.startswith("retry: 2000\n\n")
    assert answer.text.count(": alive\n\n") >= 2
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers
