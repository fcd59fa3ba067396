"""A bad request gets a 4xx problem that points at the fault, and changes nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.integration.api.bad_requests import BODIES, LISTS, PLACES, SAGAS, Case, raw_requests
from tests.integration.api.server import JSON, Answer, Api, order

PROBLEM = "application/problem+json"
HEAD = b"POST /v1/sagas HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
RAW = raw_requests()


@pytest.fixture
def unchanged(api: Api) -> Iterator[None]:
    """Hold the test to this: whatever it sends, the tables stay as they are."""
    api.post(SAGAS, order("untouched"))
    before = api.digest()
    yield
    assert api.digest() == before


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("case", [*BODIES, *PLACES, *LISTS], ids=lambda case: case.name)
def test_a_bad_request_is_a_problem_that_points_at_the_fault(api: Api, case: Case) -> None:
    """Each row of the table gets its status, as problem+json, with the place of its fault."""
    answer = api.send(case.method, case.target, case.body, case.headers)
    _check_problem(answer, case.status)
    if case.place is not None:
        assert _place(answer) == case.place, answer.body


def test_a_refusal_never_quotes_what_cannot_be_written(api: Api) -> None:
    """A problem about a lone surrogate is valid UTF-8 that holds none."""
    body = b'{"definition":"OrderFulfillment","input":{},"\\ud800":1}'
    answer = api.send("POST", SAGAS, body, JSON)
    _check_problem(answer, 422)
    answer.body.decode("utf-8")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"])
def test_a_wrong_method_hears_the_right_ones(api: Api, method: str) -> None:
    """405 lists every method that the place takes, and grants no foreign origin anything."""
    answer = api.send(method, SAGAS, None, {"Origin": "http://elsewhere.example"})
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, POST"
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert api.send(method, "/v1/sagas/x/retry").headers["allow"] == "POST"


@pytest.mark.usefixtures("unchanged")
def test_ten_megabytes_are_refused_before_they_are_read(api: Api) -> None:
    """The answer to a too large Content-Length comes while the body is still on its way."""
    with socket.create_connection((api.host, api.port), timeout=10) as connection:
        connection.sendall(HEAD + b"Content-Length: 10485760\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.usefixtures("unchanged")
def test_a_client_that_sends_ten_megabytes_still_hears_why_not(api: Api) -> None:
    """The rest of a refused body is swallowed, and the connection goes on being useful."""
    connection = http.client.HTTPConnection(api.host, api.port, timeout=15)
    connection.request("POST", SAGAS, b" " * 10_485_760, JSON)
    response = connection.getresponse()
    assert (response.status, response.getheader("content-type")) == (413, PROBLEM)
    response.read()
    connection.request("GET", "/livez")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.usefixtures("unchanged")
def test_chunks_without_a_length_are_counted(api: Api) -> None:
    """A chunked body of ten megabytes is refused when it passes the limit."""

    def chunks() -> Iterator[bytes]:
        for _ in range(160):
            yield b" " * 65_536

    connection = http.client.HTTPConnection(api.host, api.port, timeout=15)
    connection.request("POST", SAGAS, chunks(), JSON, encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, response.getheader("content-type")) == (413, PROBLEM)
    connection.close()


def test_a_small_chunked_body_is_fine(api: Api) -> None:
    """Content-Length is not needed."""
    connection = http.client.HTTPConnection(api.host, api.port, timeout=15)
    connection.request("POST", SAGAS, iter([json.dumps(order("chunked")).encode()]), JSON, encode_chunked=True)
    assert connection.getresponse().status == 201
    connection.close()


@pytest.mark.usefixtures("unchanged")
def test_a_length_that_lies_low_starts_nothing(api: Api) -> None:
    """A body cut by its own Content-Length is not JSON, and what follows is not HTTP: both are said, then it ends."""
    received = api.raw(RAW["H13 a length that lies low"][0])
    first, _, second = received.partition(b"HTTP/1.1 ")[2].partition(b"HTTP/1.1 ")
    assert first.startswith(b"400 ")
    assert second.startswith(b"400 ")
    assert received.count(b"content-type: application/problem+json") == 2


@pytest.mark.usefixtures("unchanged")
def test_a_length_that_lies_high_times_out(api: Api) -> None:
    """A body that never comes whole is given up after the time for bodies, and the connection with it."""
    began = time.monotonic()
    received = api.raw(RAW["H13 a length that lies high"][0])
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in received
    assert 0.5 < time.monotonic() - began < 8


@pytest.mark.usefixtures("unchanged")
def test_a_slow_body_holds_up_nobody_else(api: Api) -> None:
    """A body of one byte now and then is answered with 408 in time; others are served meanwhile."""
    with socket.create_connection((api.host, api.port), timeout=10) as slow:
        slow.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        deadline = time.monotonic() + 8
        while not select.select([slow], [], [], 0.05)[0]:
            assert time.monotonic() < deadline, "the slow body was not given up"
            with contextlib.suppress(OSError):  # it may be given up at this moment: what was answered is read below
                slow.sendall(b" ")
            assert api.get("/livez").status == 200
        received = slow.recv(65_536)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"content-type: application/problem+json" in received


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", RAW)
def test_what_is_not_http_gets_a_problem_too(api: Api, name: str) -> None:
    """Noise on the port, a head without an end, lengths that contradict each other are answered as problems."""
    data, status = RAW[name]
    received = api.raw(data)
    assert int(received.split(b" ", 2)[1]) == status, received
    assert b"application/problem+json" in received


@pytest.mark.usefixtures("unchanged")
def test_a_request_of_two_lengths_hides_no_other(api: Api) -> None:
    """What one length takes for the next request, and the other for the body, is neither: the connection ends."""
    received = api.raw(RAW["H13 a length and chunks"][0] + b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in received


def test_a_request_id_is_taken_only_if_it_is_sane(api: Api) -> None:
    """A sane X-Request-Id comes back and stands in problems; any other is replaced."""
    sane = api.send("GET", "/nothing", None, {"X-Request-Id": "abc-1.2_3"})
    assert sane.headers["x-request-id"] == sane.json["request_id"] == "abc-1.2_3"
    for odd in ("", "a b", "x" * 65, "\xe9", "<script>"):
        answer = api.send("GET", "/nothing", None, {"X-Request-Id": odd})
        assert answer.headers["x-request-id"] == answer.json["request_id"] != odd


@pytest.mark.parametrize("text", ["%", "_", "a%' OR 1=1 --", "'; DROP TABLE saga; --", ".*", "\\", "(((((a+)+)+)+$"])
def test_a_business_key_is_taken_literally(api: Api, text: str) -> None:
    """Patterns and SQL in a business key match the saga that has just this key, and no other."""
    started = api.post(SAGAS, order(text)).json
    found = api.get(f"{SAGAS}?business_key={quote(text, safe='')}")
    assert [saga["id"] for saga in found.json["sagas"]] == [started["id"]]


def test_a_cursor_is_good_for_its_own_list_only(api: Api) -> None:
    """A cursor of another filter, a cut one, and one with a bit changed are refused."""
    api.post(f"{SAGAS}/bulk", {"sagas": [order(f"cursor-{number}") for number in range(3)]})
    cursor = api.get(f"{SAGAS}?limit=1&definition=OrderFulfillment").json["next_cursor"]
    assert api.get(f"{SAGAS}?limit=2&definition=OrderFulfillment&cursor={cursor}").status == 200
    changed = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    for target in (
        f"{SAGAS}?limit=1&cursor={cursor}",
        f"{SAGAS}?limit=1&definition=OrderFulfillment&status=failed&cursor={cursor}",
        f"{SAGAS}?limit=1&definition=OrderFulfillment&cursor={cursor[:-2]}",
        f"{SAGAS}?limit=1&definition=OrderFulfillment&cursor={cursor}=",
        f"{SAGAS}?limit=1&definition=OrderFulfillment&cursor={changed}",
    ):
        answer = api.get(target)
        _check_problem(answer, 400)
        assert _place(answer) == "?cursor"


def _check_problem(answer: Answer, status: int) -> None:
    assert (answer.status, answer.content_type) == (status, PROBLEM), answer
    problem = answer.json
    assert problem["status"] == status
    assert problem["type"].startswith("urn:saga-coordinator:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert len(answer.body) < 8_000


def _place(answer: Answer) -> str:
    first = answer.json["errors"][0]
    if "pointer" in first:
        return str(first["pointer"])
    return f"?{first['parameter']}" if "parameter" in first else f"#{first['header']}"
