"""Wires to a server: one that takes its time, and one that loses what is said about a statement."""

from __future__ import annotations

import contextlib
import queue
import random
import socket
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

PIECE = 65_536
_ENCRYPT = (80_877_103).to_bytes(4)


class _Wire:
    """Passes connections on to a port of this machine, from a port of its own."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for end in list(self._open):
            hang_up(end)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._open.add(end)
                self._connect(client, server)

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        raise NotImplementedError


class SlowWire(_Wire):
    """Delivers everything, each way, `delay_s` later than it came."""

    delay_s = 0.0

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        for source, sink in ((client, server), (server, client)):
            pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
            threading.Thread(target=self._take, args=(source, pieces), daemon=True).start()
            threading.Thread(target=self._deliver, args=(pieces, source, sink), daemon=True).start()

    def _take(self, source: socket.socket, pieces: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        piece = b"-"
        while piece:
            try:
                piece = source.recv(PIECE)
            except OSError:
                piece = b""
            pieces.put((time.monotonic() + self.delay_s, piece))

    def _deliver(
        self, pieces: queue.SimpleQueue[tuple[float, bytes]], source: socket.socket, sink: socket.socket
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, piece = pieces.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not piece:
                    break
                sink.sendall(piece)
        hang_up(source)
        hang_up(sink)


class CuttingWire(_Wire):
    """Leads to Postgres; while `cutting`, some executions of a statement end with a broken connection.

    Half of them before Postgres hears of it, half before its answer is heard; `committed` counts those of the latter
    that Postgres had answered with success. The statement is known by a word of its text.
    """

    def __init__(self, target: int, word: bytes, dice: random.Random, share: float) -> None:
        super().__init__(target)
        self.cutting = False
        self.requests_lost = 0
        self.committed = 0
        self._word = word
        self._dice = dice
        self._share = share

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        deaf = threading.Event()
        threading.Thread(target=self._ask, args=(client, server, deaf), daemon=True).start()
        threading.Thread(target=self._answer, args=(server, client, deaf), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        names: set[bytes] = set()
        with contextlib.suppress(OSError):
            for frame in _frames_of_client(client):
                if frame[:1] == b"P" and self._word in frame:
                    names.add(frame[5 : frame.index(b"\0", 5)])
                if frame[:1] == b"B" and self._is_cut(frame, names):
                    if self._dice.random() < 0.5:
                        self.requests_lost += 1
                        break
                    deaf.set()
                server.sendall(frame)
        hang_up(client)
        if not deaf.is_set():
            hang_up(server)

    def _is_cut(self, frame: bytes, names: set[bytes]) -> bool:
        statement = frame[frame.index(b"\0", 5) + 1 :].partition(b"\0")[0]
        return self.cutting and statement in names and self._dice.random() < self._share

    def _answer(self, server: socket.socket, client: socket.socket, deaf: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(PIECE):
                if deaf.is_set():
                    # What answers an execution begins with a frame of its own: nothing else was open.
                    self.committed += b"C" in _kinds(piece, server)
                    break
                client.sendall(piece)
        hang_up(server)
        hang_up(client)


def hang_up(end: socket.socket) -> None:
    """End a connection, whatever its state."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def _frames_of_client(client: socket.socket) -> Iterator[bytes]:
    """Give what a client of Postgres says, message by message; those before it has introduced itself have no kind."""
    buffer, introduced = b"", False
    while piece := client.recv(PIECE):
        buffer += piece
        while len(buffer) >= 5:
            at = 1 if introduced else 0
            end = at + int.from_bytes(buffer[at : at + 4])
            if len(buffer) < end:
                break
            frame, buffer = buffer[:end], buffer[end:]
            introduced = introduced or frame[4:8] != _ENCRYPT
            yield frame


def _kinds(answer: bytes, server: socket.socket) -> bytes:
    """List the kinds of an answer's messages up to the one that says that Postgres is ready."""
    kinds = b""
    while True:
        while len(answer) >= 5 and len(answer) >= (end := 1 + int.from_bytes(answer[1:5])):
            kinds += answer[:1]
            answer = answer[end:]
        if kinds.endswith(b"Z"):
            return kinds
        piece = server.recv(PIECE)
        if not piece:
            return kinds
        answer += piece
