"""A server that says what a test has written down, as the routes are agreed on, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
from typer.testing import CliRunner, Result

from coordinator.command import app
from coordinator.remote.outside import Outside

SAGA_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
NOWHERE = {
    "SAGA_URL": "http://127.0.0.1:9",
    "SAGA_KEY": "key-of-tests",
    "SAGA_CONFIG": "/nowhere/config.toml",
    "TZ": "UTC",
    "COLUMNS": "120",
}
Said = Callable[[httpx2.Request], httpx2.Response]


def saga(status: str = "suspended", version: int = 3, **changes: Any) -> dict[str, Any]:
    """A saga's summary."""
    return {
        "id": SAGA_ID,
        "definition": "OrderFulfillment",
        "definition_version": 1,
        "business_key": "order-1",
        "status": status,
        "version": version,
        "created_at": "2026-05-01T10:00:00.000Z",
        "updated_at": "2026-05-01T10:00:05.250Z",
        "deadline": None,
        **changes,
    }


def problem(status: int, detail: str, **members: Any) -> dict[str, Any]:
    """A problem document."""
    return {"type": "urn:x", "title": "t", "status": status, "detail": detail, "request_id": "r-1", **members}


def stream(*events: tuple[str, dict[str, Any]], kind: str = "transition") -> Said:
    """A stream of events with their ids, with a heartbeat before each."""
    text = "".join(f": beat\n\nid: {id_}\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for id_, data in events)

    def said(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=text.encode(), headers={"content-type": "text/event-stream"})

    return said


class Fake:
    """Answers by method and path; of several answers to one question the last one stays."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], list[Said]] = {}
        self.asked: list[httpx2.Request] = []

    def says(self, method: str, path: str, value: Any, status: int = 200, **headers: str) -> None:
        """Add an answer: JSON, or what makes a response."""
        if callable(value):
            said: Said = value
        else:
            text = value if isinstance(value, str) else json.dumps(value)

            def said(request: httpx2.Request) -> httpx2.Response:
                return httpx2.Response(status, text=text, headers={"content-type": "application/json", **headers})

        self._said.setdefault((method, path), []).append(said)

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request."""
        self.asked.append(request)
        queue = self._said.get((request.method, request.url.path))
        if queue is None:
            return httpx2.Response(404, json=problem(404, "there is nothing here"))
        return (queue.pop(0) if len(queue) > 1 else queue[0])(request)

    def bodies(self, method: str, path: str) -> list[Any]:
        """What was sent to a path."""
        return [json.loads(each.content) for each in self.sent(method, path)]

    def sent(self, method: str, path: str) -> list[httpx2.Request]:
        """The requests to a path."""
        return [each for each in self.asked if (each.method, each.url.path) == (method, path)]

    def run(
        self, *words: str, interactive: bool | None = None, typed: str | None = None, env: dict[str, str] | None = None
    ) -> Result:
        """Run `saga` against it; `typed` is what a person answers."""
        outside = Outside(httpx2.MockTransport(self.handle), interactive)
        variables = {**NOWHERE, **(env or {})}
        return CliRunner().invoke(app, list(words), input=typed, env=variables, obj=outside, prog_name="saga")
