"""Listening on a port: where that is allowed, and how long a connection may keep us waiting."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import h11
import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from coordinator.api.problems import MEDIA_TYPE, RequestRefused, body_of, problem_of
from coordinator.errors import ConfigurationError
from coordinator.settings import is_loopback

log = structlog.get_logger()

REQUEST_TIMEOUT_S = 20.0  # for a request's head, and for the rest of a body that is not wanted
GRACE_S = 5
SWEEP_S = 1.0
BACKLOG = 1024
CUT = "cut"  # under this name a request's state has a function that ends its connection


class ListenSettings(Protocol):
    """Where to listen."""

    @property
    def host(self) -> str: ...  # noqa: D102
    @property
    def port(self) -> int: ...  # noqa: D102
    @property
    def insecure(self) -> bool: ...  # noqa: D102


def check_exposure(host: str, insecure: bool, *, authenticated: bool = False) -> None:
    """Refuse to serve strangers: beyond loopback, whoever asks is asked for a token, unless `insecure` was asked for.

    Raises ConfigurationError.
    """
    if insecure or authenticated or is_loopback(host):
        return
    raise ConfigurationError(
        f"api.host is {host!r}: whoever reaches that address could start and steer sagas. Set"
        " SAGA_API__AUTHENTICATION=required (`saga keys bootstrap NAME` makes the first key), or listen on 127.0.0.1,"
        " or set SAGA_API__INSECURE=true if something else keeps them out."
    )


async def serve(
    app: ASGIApp,
    settings: ListenSettings,
    stop: asyncio.Event,
    listening: Callable[[str], None] | None = None,
    *,
    name: str = "api",
    authenticated: bool = False,
) -> None:
    """Serve until `stop` is set, then finish the requests in hand.

    `name` is that of the group of settings, for the log and for errors. `listening` hears the URL once connections
    are taken, with the real port where the setting is 0; `authenticated` says that the app asks everybody for a
    token. Raises ConfigurationError when the address cannot be had.
    """
    check_exposure(settings.host, settings.insecure, authenticated=authenticated)
    listener = _bind(name, settings.host, settings.port)
    server = _Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    serving = asyncio.create_task(server.serve([listener]))
    stopping = asyncio.create_task(stop.wait())
    sweeping = asyncio.create_task(_sweep(server))
    url = _url(listener)
    try:
        # The socket listens already: whoever connects now is served as soon as the loop gets to it.
        event = f"{name}_listening"
        log.info(event, url=url)
        if listening is not None:
            listening(url)
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        for task in (stopping, sweeping):
            task.cancel()


def _bind(name: str, host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"{name}.host, {name}.port: cannot listen on {host} port {port}: {error}; port 0 takes a free one"
        ) from error
    listener.setblocking(False)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _sweep(server: _Server) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        for connection in list(server.server_state.connections):
            if isinstance(connection, _Protocol):
                connection.sweep()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to the process, not to one of its servers


class _Protocol(H11Protocol):
    """uvicorn's protocol, with problems for what is not HTTP and an end to waiting for a request."""

    _since = 0.0

    def __init__(self, *, app_state: dict[str, Any], **parts: Any) -> None:
        super().__init__(app_state={**app_state, CUT: self.cut}, **parts)

    def connection_made(self, transport: Any) -> None:
        self._since = self.loop.time()
        super().connection_made(transport)

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()

    def cut(self) -> None:
        """End the connection at once, with what the client has not taken yet."""
        self.transport.abort()

    def sweep(self) -> None:
        """Let go of a client that has kept us waiting for a request, or for the end of one that is answered."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering or self.transport.is_closing() or self.loop.time() - self._since < REQUEST_TIMEOUT_S:
            return
        if self.conn.our_state is h11.IDLE:
            self._refuse(408, "too-slow", f"no request arrived within {REQUEST_TIMEOUT_S:g} seconds")
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        # Called while the parser's exception is handled; it knows the better status (431, 501).
        status: int = getattr(sys.exc_info()[1], "error_status_hint", 400)
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._refuse(status, "not-http", msg)
        self.transport.close()

    def _refuse(self, status: int, kind: str, detail: str) -> None:
        problem, members = problem_of(RequestRefused(status, kind, detail), "none")
        body = body_of(problem, members)
        headers = [
            ("content-type", MEDIA_TYPE),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        head = h11.Response(status_code=status, headers=headers, reason=problem.title.encode())
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
