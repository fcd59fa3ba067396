"""What no route takes: the rows of bad input that hold everywhere, asked of each route in the API's own document.

tests/unit/api/test_bad_input_rows.py says which test proves which row.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from deploy.local.stack import LocalStack
from tests.integration.api.guarded import Guarded, open_guarded
from tests.integration.api.server import JSON, Answer, order

PROBLEM = "application/problem+json"
UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
# Besides what Api.digest holds; a key's last use is no act.
OTHERS = """
SELECT md5(concat_ws(
    '|',
    (SELECT string_agg((to_jsonb(k) - 'last_used_at')::text, ',' ORDER BY k.id) FROM api_key AS k),
    (SELECT string_agg(b::text, ',' ORDER BY b.id) FROM batch_operation AS b),
    (SELECT string_agg(d::text, ',' ORDER BY d.id) FROM dead_letter AS d),
    (SELECT string_agg(n::text, ',' ORDER BY n.id) FROM incident_note AS n)
)) AS digest
"""
TYPED = tuple(JSON.items())
DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000
MALFORMED: dict[str, tuple[int, bytes, tuple[tuple[str, str], ...]]] = {
    "H4 text": (415, b"{}", (("Content-Type", "text/plain"),)),
    "H4 form": (415, b"a=b", (("Content-Type", "application/x-www-form-urlencoded"),)),
    "H4 none": (415, b"{}", ()),
    "H4 xml": (415, b"<a/>", (("Content-Type", "application/xml"),)),
    "H5 empty": (422, b"", TYPED),
    "H5 null": (422, b"null", TYPED),
    "H5 array": (422, b"[]", TYPED),
    "H5 text": (422, b'"x"', TYPED),
    "H6 truncated": (400, b'{"reason": "r', TYPED),
    "H6 not UTF-8": (400, b'{"reason": "\xff"}', TYPED),
    "H7 NaN": (422, b'{"reason": NaN}', TYPED),
    "H7 1e999": (422, b'{"expected_version": 1e999}', TYPED),
    "H8 lone surrogate": (422, b'{"reason": "\\ud800"}', TYPED),
    "H8 lone surrogate as a key": (422, b'{"\\ud800": 1}', TYPED),
    "H9 NUL": (422, b'{"reason": "a\\u0000b"}', TYPED),
    "H10 duplicate key": (422, b'{"reason": "a", "reason": "a"}', TYPED),
    "H11 5,000 digits": (422, b'{"expected_version": ' + b"9" * 5000 + b"}", TYPED),
    "H11 400 digits": (422, b'{"expected_version": ' + b"9" * 400 + b"}", TYPED),
    "H12 depth 5,000": (422, DEEP, TYPED),
    "H13 five megabytes": (413, b" " * (5 * 1024 * 1024), TYPED),
    "H15 fields of ours": (422, b'{"state": "completed", "id": "x", "tenant": "x"}', TYPED),
    "H19 empty key": (422, b"{}", (*TYPED, ("Idempotency-Key", ""))),
    "H19 10 kB": (422, b"{}", (*TYPED, ("Idempotency-Key", "k" * 10_000))),
    "H19 control": (422, b"{}", (*TYPED, ("Idempotency-Key", "a\tb"))),
    "H19 two": (422, b"{}", (*TYPED, ("Idempotency-Key", "a"), ("Idempotency-Key", "b"))),
    "H40 gzip": (415, b"\x1f\x8b", (*TYPED, ("Content-Encoding", "gzip"))),
}
IDS = ("7", "x", "%00", "..%2f..%2fetc", "%EF%BC%91", "%ff", "a" * 5000, UNKNOWN.upper(), f"%7B{UNKNOWN}%7D", "-1")
LIMITS = ("0", "-1", "1001", "1e9", "abc", "%EF%BC%99", "", "%2B5", "5.0", "9" * 5000)
CURSORS = ("", "AAAA", "%2A", "%00", "%E2%82%AC", "A" * 34, "A" * 10_000)
MOMENTS = ("2026-01-01T00:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-02-30T00:00:00Z", "now", "")


class Asked(msgspec.Struct, frozen=True):
    """A route as the document has it."""

    method: str
    path: str
    operation: dict[str, Any]

    @property
    def known(self) -> dict[str, dict[str, Any]]:
        """The schemas of its query parameters by name."""
        return {each["name"]: each["schema"] for each in self.operation["parameters"] if each["in"] == "query"}

    @property
    def example(self) -> Any:
        """What it may be sent."""
        return self.operation["requestBody"]["content"]["application/json"]["example"]


class World(msgspec.Struct, frozen=True):
    """A running API, its routes, and a saga that there is."""

    guarded: Guarded
    document: dict[str, Any]
    routes: list[Asked]
    saga_id: str

    def place(self, route: Asked, other: str | None = None) -> str:
        """A route's path with the saga that there is, or with something else."""
        path = route.path if other is not None else route.path.replace("{saga_id}", self.saga_id)
        for name, unknown in (("incident_id", "4711"), ("letter_id", "4711"), ("key_id", "00000000")):
            path = path if other is not None else path.replace(f"{{{name}}}", unknown)
        path = path.replace("{step}", "reserve_stock").replace("{version}", "1")
        return re.sub(r"\{\w+\}", other or UNKNOWN, path)

    def send(self, method: str, target: str, body: bytes | None = None, headers: Any = ()) -> Answer:
        """Send something as the administrator."""
        bearer = ("Authorization", f"Bearer {self.guarded.tokens['admin']}")
        return self.guarded.api.send(method, target, body, (bearer, *headers))

    def digest(self) -> tuple[str, str]:
        """Changes with anything that a request could have written."""
        return self.guarded.api.digest(), str(self.guarded.api.fetch(OTHERS)[0]["digest"])


@pytest.fixture(scope="module")
def world(stack: LocalStack) -> Iterator[World]:
    """Give an API that asks everybody for a token, and nobody to wait."""
    limits = {"SAGA_API__RATE_PER_SECOND": "0", "SAGA_API__FAILURES_BURST": "1000000"}
    with open_guarded(stack, **limits) as guarded:
        document = guarded.get("/v1/openapi.json").json
        routes = [
            Asked(method.upper(), path, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        ]
        yield World(guarded, document, routes, guarded.post("/v1/sagas", order("there")).json["id"])


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
    token = world.guarded.tokens["admin"]
    strangers: tuple[tuple[tuple[str, str], ...], ...] = (
        (),
        (("Authorization", token),),
        (("Authorization", "Basic YTpi"),),
        (("Authorization", f"Bearer {token[:-1]}"),),
        (("Authorization", "Bearer eyJhbGciOiJub25lIn0.e30."),),
        (("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")),
        (("Cookie", f"session={token}"), ("Origin", "http://elsewhere.example")),
    )
    before = world.digest()
    for route in world.routes:
        for headers in strangers:
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
