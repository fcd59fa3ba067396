"""Clients of the streams: a process of their own that reads what comes, or reads nothing at all."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

READY = "listening"
DEAF, FAILURES, ALL = "deaf", "failures", "all"
KINDS = (DEAF, FAILURES, ALL)
"""Who wants everything and reads nothing; who wants failures only; who wants and reads everything."""


@contextlib.contextmanager
def listening(port: int, kind: str, count: int) -> Iterator[None]:
    """Let so many clients listen meanwhile; any other kind is nobody."""
    if kind not in KINDS:
        yield
        return
    command = [sys.executable, "-m", __name__, str(port), kind, str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == READY
        try:
            yield
        finally:
            child.send_signal(signal.SIGTERM)


def main() -> None:
    """Listen until told to stop, connecting again whenever a stream ends."""
    port, kind, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    selector = selectors.DefaultSelector()
    for _ in range(count):
        selector.register(_connected(port, kind), selectors.EVENT_READ)
    print(READY, flush=True)
    while True:
        if kind == DEAF:
            signal.pause()
        for key, _ in selector.select():
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            if not connection.recv(1 << 20):
                selector.unregister(connection)
                connection.close()
                selector.register(_connected(port, kind), selectors.EVENT_READ)


def _connected(port: int, kind: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    target = "/v1/events?status=failed" if kind == FAILURES else "/v1/events"
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    connection.recv(1024)
    return connection


if __name__ == "__main__":
    main()
