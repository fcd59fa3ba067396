"""Bytes that are the last of a process reach the other side, all of them or the half that was wanted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from tests.crash.hook import Hook, Mark
from tests.crash.points import Armed
from tests.crash.wire import Statement, Wire, produced, stores_offsets, watched

BIND = b"B" + bytes(200)
DONE, REFUSED = b"2\x00\x00\x00\x04D...", b"2\x00\x00\x00\x04E..."
BATCH = Statement([Mark("R8")], [Mark("R9")], [Mark("R10")])
COMMIT = Statement(sent=[Mark("P5")], answered=[Mark("P5a")], commit=True)


class Died(BaseException):
    """What stands for the end of the process."""


class Witness(Hook):
    """A hook that tells of the end instead of bringing it."""

    def die(self) -> NoReturn:
        raise Died


class Plug:
    """A transport over a pair of sockets; what is written is remembered, and goes nowhere by itself."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.far.settimeout(0.1)
        self.written: list[bytes] = []

    def get_extra_info(self, name: str) -> Any:
        return self.near if name == "socket" else None

    def write(self, data: memoryview) -> None:
        self.written.append(bytes(data))

    def arrived(self) -> bytes:
        """What the other side has got."""
        try:
            return self.far.recv(4096)
        except TimeoutError:
            return b""


@pytest.fixture
def plug() -> Iterator[Plug]:
    """Give a transport, and close it."""
    plug = Plug()
    yield plug
    plug.near.close()
    plug.far.close()


def wire(plug: Plug, point: str) -> Wire:
    """Make a wire whose owner dies at the first passage of a point."""
    return Wire(plug, Witness(Armed(point, 1)))


@pytest.mark.parametrize(("point", "bytes_"), [("R8", len(BIND) // 2), ("R9", len(BIND))])
def test_a_statement_is_sent_by_a_process_that_dies(plug: Plug, point: str, bytes_: int) -> None:
    """The server has half of it, or all, before anything could be answered."""
    with watched(BATCH), pytest.raises(Died):
        wire(plug, point).write(memoryview(BIND))
    assert plug.arrived() == BIND[:bytes_]
    assert plug.written == []


def test_an_answer_comes_and_nobody_reads_it(plug: Plug) -> None:
    """The process dies with the answer at its door, and only with that of the statement."""
    line = wire(plug, "R10")
    line.hear(DONE)
    with watched(BATCH):
        line.write(memoryview(BIND))
    assert plug.written == [BIND]
    with pytest.raises(Died):
        line.hear(DONE)


def test_a_refusal_is_no_answer_that_it_was_done(plug: Plug) -> None:
    """What Postgres refused was not executed: that passage does not count, and the next answer is another's."""
    line = wire(plug, "R10")
    with watched(BATCH):
        line.write(memoryview(BIND))
    line.hear(REFUSED)
    line.hear(DONE)


def test_nothing_else_is_watched(plug: Plug) -> None:
    """Statements that are prepared, and those outside of the watch, pass by."""
    line = wire(plug, "R9")
    line.write(memoryview(BIND))
    with watched(BATCH):
        line.write(memoryview(b"P" + BIND))
    assert len(plug.written) == 2


def test_what_the_driver_asks_by_itself_is_not_the_statement(plug: Plug) -> None:
    """Before the first statement with arrays it asks about types, in statements of its own: they pass by."""
    line = wire(plug, "R9")
    own = _parse(b"", b"WITH RECURSIVE typeinfo_tree(...)")
    with watched(BATCH):
        for data in (own, BIND, BIND, _parse(b"ours", b"INSERT ...")):
            line.write(memoryview(data))
        assert len(plug.written) == 4
        with pytest.raises(Died):
            line.write(memoryview(b"B" + bytes(4) + b"\0ours\0" + bytes(200)))


def test_a_name_that_the_driver_has_given_back_is_ours(plug: Plug) -> None:
    """The statement without a name is whatever was prepared last."""
    line = wire(plug, "R9")
    with watched(BATCH):
        for query in (b"SELECT current_setting('jit')", b"INSERT ..."):
            line.write(memoryview(_parse(b"", query)))
        with pytest.raises(Died):
            line.write(memoryview(BIND))


def _parse(name: bytes, query: bytes) -> bytes:
    return b"P" + bytes(4) + name + b"\0" + query + b"\0" + bytes(2)


@pytest.mark.parametrize(
    ("data", "dies"), [(b"Q\x00\x00\x00\x0cCOMMIT;\x00", True), (b"Q\x00\x00\x00\x0bBEGIN;\x00", False), (BIND, False)]
)
def test_a_commit_is_known_by_its_word(plug: Plug, data: bytes, dies: bool) -> None:
    """Of a transaction the COMMIT is watched, and not what comes before it."""
    with watched(COMMIT):
        try:
            wire(plug, "P5").write(memoryview(data))
        except Died:
            assert dies
            assert plug.arrived() == data
        else:
            assert not dies


def test_whatever_else_a_connection_is_asked_the_real_one_answers(plug: Plug) -> None:
    """A wire is a transport."""
    assert wire(plug, "R9").get_extra_info("socket") is plug.near


def test_requests_to_kafka_are_told_apart() -> None:
    """What is produced is known with its topic and its bytes; so is a request that stores offsets."""
    produce = type("ProduceRequest", (SimpleNamespace,), {})(_topics=[("a.commands", [(0, b"one"), (1, b"two")])])
    offsets = type("OffsetCommitRequest", (SimpleNamespace,), {})()
    assert list(produced(produce)) == [("a.commands", b"one"), ("a.commands", b"two")]
    assert list(produced(offsets)) == []
    assert [stores_offsets(request) for request in (produce, offsets)] == [False, True]
