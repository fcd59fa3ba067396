"""The demo's client: what it takes for a saga that has moved on, and what for a failure."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from deploy.demo.client import Api, ApiRefused, Moved
from deploy.demo.seen import Seen

SEEN = Seen(
    id="01890a5d-ac96-774b-bcce-b302099a8057",
    status="suspended",
    version=7,
    outcomes=(),
    undos=(),
    attempts=(),
    undo_attempts=(),
)


class _Handler(BaseHTTPRequestHandler):
    status = 500

    def do_POST(self) -> None:
        """Answer with what the test wants."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Keep quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    """Give a server that answers each POST with `_Handler.status`."""
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("status", "is_moved"), [(409, True), (412, True), (404, False), (500, False)])
async def test_a_saga_that_has_moved_on_is_looked_at_again(
    url: str, status: int, is_moved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verb that finds the saga not waiting for it (409) or at another version (412) is no failure of the demo."""
    monkeypatch.setattr(_Handler, "status", status)
    async with Api(url) as api:
        for call in (
            api.act("retry", SEEN, "it works again"),
            api.complete(SEEN.id, "approve_trip", {}),
            api.fail(SEEN.id, "approve_trip", "too_dear"),
        ):
            with pytest.raises(ApiRefused, match=str(status)) as refused:
                await call
            assert isinstance(refused.value, Moved) is is_moved
