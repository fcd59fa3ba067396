"""The bytes between our processes and their servers: cut off in the middle, or sent and never answered.

What is written here goes to the kernel at once: the server gets it although the process is dead before it could have
waited for anything.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import asyncpg.protocol
from aiokafka.conn import AIOKafkaConnection

from tests.crash.hook import Hook, Mark, around

Marks = Sequence[Mark]

_PARSE, _BIND, _QUERY = b"P", b"B", b"Q"
_BIND_COMPLETE, _COMMAND_COMPLETE, _ERROR = b"2", b"C", b"E"
_HEAD = 5  # bytes of a message before its content: what it is, and how long
# What the driver asks by itself before a session can bind the first statement that has arrays.
_LOOKUPS = (b"typeinfo_tree", b"current_setting('jit')", b"set_config('jit'")


@dataclass(frozen=True)
class Statement:
    """The points on the way of one statement, or, with `commit`, of the COMMIT that ends a transaction."""

    half: Marks = ()
    sent: Marks = ()
    answered: Marks = ()
    commit: bool = False

    def is_in(self, data: bytes) -> bool:
        """Whether these bytes are the statement: all else that a session says goes unwatched."""
        if self.commit:
            return data[:1] == _QUERY and b"COMMIT" in data
        return data[:1] == _BIND

    def is_done(self, data: bytes) -> bool:
        """Whether these bytes answer that it was executed."""
        if self.commit:
            return data[:1] == _COMMAND_COMPLETE
        return data[:1] == _BIND_COMPLETE and data[_HEAD : _HEAD + 1] != _ERROR


_CURRENT: Final[ContextVar[Statement | None]] = ContextVar("statement", default=None)


@contextlib.contextmanager
def watched(statement: Statement) -> Iterator[None]:
    """Watch for a statement in everything that is sent to Postgres inside."""
    before = _CURRENT.set(statement)
    try:
        yield
    finally:
        _CURRENT.reset(before)


class Wire:
    """A connection to Postgres on which statements are watched; whatever else it is asked, the real one answers."""

    def __init__(self, transport: Any, hook: Hook) -> None:
        self._transport = transport
        self._hook = hook
        self._awaited: Statement | None = None
        self._lookups: set[bytes] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: memoryview) -> None:
        """Send bytes; those of a watched statement perhaps as the last thing that this process does."""
        self._learn(bytes(data))
        statement = _CURRENT.get()
        if statement is not None and statement.is_in(bytes(data)) and not self._looks_up(bytes(data)):
            if self._hook.is_here(*statement.half):
                push(self._transport, bytes(data[: len(data) // 2]))
                self._hook.die()
            if self._hook.is_here(*statement.sent):
                push(self._transport, bytes(data))
                self._hook.die()
            self._awaited = statement
        self._transport.write(data)

    def _learn(self, data: bytes) -> None:
        """Remember which prepared statements are the driver's own."""
        if data[:1] == _PARSE:
            name = data[_HEAD:].partition(b"\0")[0]
            is_lookup = any(lookup in data for lookup in _LOOKUPS)
            (self._lookups.add if is_lookup else self._lookups.discard)(name)

    def _looks_up(self, data: bytes) -> bool:
        """Whether the driver binds a question of its own about types."""
        return data[:1] == _BIND and data[_HEAD:].split(b"\0", 2)[1] in self._lookups

    def hear(self, data: bytes) -> None:
        """Look at what has come, before anybody else does."""
        statement, self._awaited = self._awaited, None
        if statement is not None and statement.is_done(data) and self._hook.is_here(*statement.answered):
            self._hook.die()


def watch_postgres(hook: Hook) -> None:
    """Watch every connection to Postgres that is opened from now on."""

    def make(protocol: Any) -> Any:
        class Watched(protocol):  # type: ignore[misc]
            def connection_made(self, transport: Any) -> None:
                self.wire = Wire(transport, hook)
                super().connection_made(self.wire)

            def data_received(self, data: bytes) -> None:
                self.wire.hear(data)
                super().data_received(data)

        return Watched

    around(asyncpg.protocol, "Protocol", make)


def watch_kafka(hook: Hook, marks_of: Callable[[Any], Marks]) -> None:
    """Watch every request to Kafka; `marks_of` says which points a request's being sent is."""

    def make(send: Any) -> Any:
        def watched_send(connection: Any, request: Any, *arguments: Any, **options: Any) -> Any:
            if hook.is_here(*marks_of(request)):
                connection._writer = _LastWriter(connection._writer, hook)
            return send(connection, request, *arguments, **options)

        return watched_send

    around(AIOKafkaConnection, "send", make)


def produced(request: Any) -> Iterator[tuple[str, bytes]]:
    """What a request brings to Kafka: (topic, batch); nothing when it is another kind of request."""
    if type(request).__name__ == "ProduceRequest":
        for topic, partitions in request._topics:
            for _partition, batch in partitions:
                yield topic, bytes(batch)


def stores_offsets(request: Any) -> bool:
    """Whether a request tells Kafka how far a group has read."""
    return type(request).__name__ == "OffsetCommitRequest"


def push(transport: Any, data: bytes) -> None:
    """Give bytes to the kernel, all of them, now."""
    descriptor = transport.get_extra_info("socket").fileno()
    os.set_blocking(descriptor, True)
    while data:
        data = data[os.write(descriptor, data) :]


class _LastWriter:
    """Sends one request, and is gone."""

    def __init__(self, writer: Any, hook: Hook) -> None:
        self._writer = writer
        self._hook = hook

    def write(self, data: bytes) -> None:
        push(self._writer, data)
        self._hook.die()
