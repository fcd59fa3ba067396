"""What no route takes: the rows of bad input that hold everywhere, asked of each route in the API's own document.

tests/catalogue/rows.py says which test proves which row.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deploy.local.stack import LocalStack
from tests.integration.api.guarded import open_guarded
from tests.integration.api.routes import (
    CURSORS,
    IDS,
    LIMITS,
    MALFORMED,
    MOMENTS,
    TYPED,
    Asked,
    World,
    look_up,
    strangers,
)
from tests.integration.api.server import Answer, order

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def world(stack: LocalStack) -> Iterator[World]:
    """Give an API that asks everybody for a token, and nobody to wait."""
    limits = {"SAGA_API__RATE_PER_SECOND": "0", "SAGA_API__FAILURES_BURST": "1000000"}
    with open_guarded(stack, **limits) as guarded:
        yield look_up(guarded, guarded.post("/v1/sagas", order("there")).json["id"])


@pytest.fixture
def unchanged(world: World) -> Iterator[None]:
    """Hold the test to this: whatever it sends, the tables stay as they are."""
    before = world.digest()
    yield
    assert world.digest() == before


def _check(answer: Answer, statuses: set[int], *asked: Any) -> None:
    assert (answer.status in statuses, answer.content_type) == (True, PROBLEM), (*asked, answer)
    assert answer.json["status"] == answer.status
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def _posts(world: World) -> list[Asked]:
    return [route for route in world.routes if route.method == "POST"]


def _gets(world: World) -> list[Asked]:
    return [route for route in world.routes if route.method == "GET"]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("row", MALFORMED)
def test_no_route_takes_a_malformed_body(world: World, row: str) -> None:
    """Whatever is done at a route, what is no body is refused with the same status, and nothing is done."""
    status, body, headers = MALFORMED[row]
    for route in _posts(world):
        _check(world.send("POST", world.place(route), body, headers), {status}, row, route.path)


@pytest.mark.usefixtures("unchanged")
def test_no_route_takes_a_value_of_another_type(world: World) -> None:
    """H16: true is no number, text is no number and a number is no text, in each field of each body."""
    for route in _posts(world):
        name = route.operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        schema = world.document["components"]["schemas"][name]
        for field, said in schema.get("properties", {}).items():
            wrong: Any = "true" if said.get("type") == "boolean" else True
            body = json.dumps({**route.example, field: wrong}).encode()
            answer = world.send("POST", world.place(route), body, TYPED)
            _check(answer, {422}, route.path, field)
            assert answer.json["errors"][0]["pointer"].startswith(f"/{field}")


@pytest.mark.usefixtures("unchanged")
def test_no_route_finds_what_cannot_be(world: World) -> None:
    """H22: an id that is none is not found, whatever is in it and whatever was to be done."""
    for route in world.routes:
        for odd in IDS if "{" in route.path else ():
            body = json.dumps(route.example).encode() if route.method == "POST" else None
            answer = world.send(route.method, world.place(route, odd), body, TYPED)
            _check(answer, {404}, route.method, route.path, odd)


@pytest.mark.usefixtures("unchanged")
def test_no_route_ignores_a_parameter(world: World) -> None:
    """H31: a parameter that a route does not know, or that comes twice, is refused."""
    for route in world.routes:
        missing = {404} if "{" in route.path else set()
        body = b"{}" if route.method == "POST" else None
        for query in ("nothing=1", "=1", "%ff=1"):
            answer = world.send(route.method, f"{world.place(route)}?{query}", body, TYPED)
            _check(answer, {422} | missing, route.path, query)
        for name, schema in route.known.items():
            if schema["type"] != "array":
                answer = world.send(route.method, f"{world.place(route)}?{name}=1&{name}=1", body, TYPED)
                _check(answer, {422} | missing, route.path, name)


@pytest.mark.parametrize(
    ("name", "values", "status"), [("limit", LIMITS, 422), ("cursor", CURSORS, 400), ("since", MOMENTS, 422)]
)
def test_every_list_is_asked_for_strictly(world: World, name: str, values: tuple[str, ...], status: int) -> None:
    """H29, H30, H32: a limit, a cursor and a moment that make no sense are refused by each list, by name."""
    asked = [route for route in _gets(world) if name in route.known]
    assert asked
    for route in asked:
        for value in values:
            answer = world.send("GET", f"{world.place(route)}?{name}={value}")
            _check(answer, {status, 404} if "{operation_id}" in route.path else {status}, route.path, value)
            assert answer.status == 404 or answer.json["errors"][0]["parameter"] == name


def test_every_route_asks_who_it_is(world: World) -> None:
    """H1: without a token, with Basic, with a cut one, with two headers or a cookie there is 401 everywhere."""
    before = world.digest()
    for route in world.routes:
        for headers in strangers(world.guarded.tokens["admin"]).values():
            answer = world.guarded.api.send(route.method, world.place(route), None, headers)
            _check(answer, {401}, route.path, headers)
            assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert world.digest() == before


def test_every_path_names_its_methods(world: World) -> None:
    """H35: a method that a path does not take is 405 with those that it takes, and no grant for other origins."""
    methods: dict[str, set[str]] = {}
    for route in world.routes:
        methods.setdefault(route.path, set()).add(route.method)
    for path, taken in methods.items():
        target = world.place(Asked("", path, {}))
        for method in {"PUT", "PATCH", "TRACE", "HEAD", "OPTIONS", "DELETE"} - taken:
            answer = world.send(method, target, None, [("Origin", "http://elsewhere.example")])
            assert answer.status == 405, (method, path)
            assert {each.strip() for each in answer.headers["allow"].split(",")} == taken, path
            assert not any(name.startswith("access-control") for name in answer.headers)


def test_headers_of_proxies_and_frameworks_mean_nothing(world: World) -> None:
    """H36, H39, H40: no header makes a request another one, asks for XML, for a part, or names another place."""
    for headers in (
        [("X-HTTP-Method-Override", "POST")],
        [
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-Host", "elsewhere.example"),
            ("X-Forwarded-Proto", "gopher"),
        ],
        [("Forwarded", "for=203.0.113.9;host=elsewhere.example")],
        [("Accept", "application/xml")],
        [("Range", "bytes=0-3")],
    ):
        answer = world.send("GET", "/v1/sagas?limit=1", None, headers)
        assert (answer.status, answer.content_type) == (200, "application/json"), headers
        assert b"elsewhere" not in answer.body
    body = json.dumps(order(f"proxied-{secrets.token_hex(4)}")).encode()
    started = world.send("POST", "/v1/sagas", body, [*TYPED, ("X-Forwarded-Host", "elsewhere.example")])
    assert started.headers["location"] == f"/v1/sagas/{started.json['id']}"


def test_no_answer_repeats_a_header_that_it_was_given(world: World) -> None:
    """H38: a line break in a header is no header of the answer, and a request id without an end is refused."""
    head = b"GET /livez HTTP/1.1\r\nHost: test\r\nConnection: close\r\nX-Request-Id: "
    folded = world.guarded.api.raw(head + b"a\nSet-Cookie: b=c\r\n\r\n")
    assert b"set-cookie" not in folded.lower()
    # A head that has no end yet, and is longer than one may be.
    assert world.guarded.api.raw(head + b"x" * 20_000).startswith(b"HTTP/1.1 431 ")
    assert world.send("GET", "/v1/whoami").status == 200


def test_who_starts_too_much_is_told_when_to_come_again(stack: LocalStack) -> None:
    """H45: of starts in masses those within the rate begin, the others hear 429 and when; nobody else waits."""
    with open_guarded(stack, SAGA_API__RATE_PER_SECOND="5", SAGA_API__RATE_BURST="40") as guarded:
        with ThreadPoolExecutor(20) as pool:
            answers = [*pool.map(lambda n: guarded.post("/v1/sagas", order(f"m-{n}"), "service"), range(300))]
        refused = [answer for answer in answers if answer.status == 429]
        assert {answer.status for answer in answers} == {201, 429}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        found = guarded.api.fetch("SELECT count(*) AS sagas FROM saga")[0]["sagas"]
        assert found == len(answers) - len(refused)
        assert guarded.get("/v1/whoami", "viewer").status == 200
