"""A coordinator of role `api` as its own process, and a client that can also send what no client should."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec

from deploy.local.processes import Child, http_ok
from deploy.local.stack import LocalStack
from deploy.local.waiting import run_async

STARTED = r'"url": ?"(http://[^"]+)"'  # the API's, or of an engine, which has none, that of its metrics
MEASURED = r'"url": ?"(http://[^"]+)", ?"event": ?"metrics_listening"'
RUN = ("-m", "coordinator")
JSON = {"Content-Type": "application/json"}
# Everything that a request may write, but for the outbox: its rows go when Kafka has their messages.
DIGEST = """
SELECT md5(concat_ws(
    '|',
    (SELECT string_agg(s::text, ',' ORDER BY s.id) FROM saga AS s),
    (SELECT string_agg(k::text, ',' ORDER BY k.definition, k.business_key) FROM saga_key AS k),
    (SELECT string_agg(l::text, ',' ORDER BY l.saga_id, l.version) FROM saga_log AS l),
    (SELECT string_agg(n::text, ',' ORDER BY n.saga_id, n.name) FROM saga_label AS n),
    (SELECT string_agg(i::text, ',' ORDER BY i.saga_id, i.saga_version) FROM incident AS i),
    (SELECT string_agg(a::text, ',' ORDER BY a.id) FROM audit_log AS a WHERE a.outcome = 'done')
)) AS digest
"""


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def content_type(self) -> str:
        """The media type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0]


class Api:
    """A running process of role `api`, its database and its URL."""

    def __init__(self, child: Child, url: str, environment: Mapping[str, str]) -> None:
        self.child = child
        self.environment = dict(environment)
        self.url = url
        self.database_url = environment["SAGA_DATABASE__MIGRATION_URL"]
        parts = urlsplit(url)
        self.host, self.port = str(parts.hostname), int(parts.port or 0)

    def send(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Sequence[tuple[str, str]] | Mapping[str, str] = (),
    ) -> Answer:
        """Send one request exactly as it is given; Content-Length is added where there is a body."""
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in pairs:
                connection.putheader(name, value)
            if body is not None and not any(
                name.lower() in ("content-length", "transfer-encoding") for name, _ in pairs
            ):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            return _answer(connection.getresponse())
        finally:
            connection.close()

    def post(self, target: str, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Post a value as JSON."""
        return self.send("POST", target, json.dumps(value).encode(), {**JSON, **(headers or {})})

    def get(self, target: str) -> Answer:
        """Get a resource."""
        return self.send("GET", target)

    def raw(self, data: bytes, *, timeout_s: float = 10.0) -> bytes:
        """Send bytes and read until the server closes the connection."""
        with socket.create_connection((self.host, self.port), timeout=timeout_s) as connection:
            connection.sendall(data)
            received = bytearray()
            while chunk := connection.recv(65_536):
                received += chunk
            return bytes(received)

    def metrics(self) -> Answer:
        """Scrape the process."""
        url = urlsplit(self.child.wait_for_line(MEASURED, timeout_s=30)[1])
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=60)
        try:
            connection.request("GET", "/metrics")
            return _answer(connection.getresponse())
        finally:
            connection.close()

    def digest(self) -> str:
        """One word that changes with anything that a request could have written."""
        return str(self.fetch(DIGEST)[0]["digest"])

    def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Ask the database directly, as its owner."""
        return ask_database(self.database_url, query, *arguments)


def start_api(stack: LocalStack, name: str, database: str, prefix: str, **settings: str) -> Api:
    """Migrate a new database, create topics, and start the process; `settings` are environment variables."""
    environment = {
        **stack.coordinator_environment(stack.create_database(database)),
        "SAGA_TOPIC_PREFIX": prefix,
        "SAGA_KAFKA__GROUP_ID": prefix,
        "SAGA_KAFKA__REPLIES_PARTITIONS": "4",
        "SAGA_KAFKA__COMMANDS_PARTITIONS": "2",
        "SAGA_KAFKA__EVENTS_PARTITIONS": "2",
        "SAGA_API__PORT": "0",
        "SAGA_METRICS__PORT": "0",
        **settings,
    }
    for verb in ("migrate", "topics"):
        done = stack.processes.python(f"{name}-{verb}", "-m", "coordinator", verb, environment=environment)
        assert done.wait(60) == 0, done.output()
    child = stack.processes.python(name, *RUN, "serve", "--role", "api", environment=environment)
    url = child.wait_for_line(STARTED, timeout_s=30)[1]
    child.wait_until(http_ok(f"{url}/readyz"), timeout_s=30, what="ready")
    return Api(child, url, environment)


def order(number: str, **changes: Any) -> dict[str, Any]:
    """A start request for an order that is fine, but for `changes` to its input."""
    fine = {
        "order_id": number,
        "customer_id": "customer-7",
        "email": "ada@example.org",
        "items": [{"sku": "teapot", "quantity": 1}],
        "amount_cents": 4200,
        "currency": "EUR",
        "card": {"token": "tok_visa"},
        "address": {"country": "DE", "city": "Berlin", "street": "Unter den Linden 1"},
    }
    return {"definition": "OrderFulfillment", "input": {**fine, **changes}}


def ask_database(url: str, query: str, *arguments: Any) -> list[asyncpg.Record]:
    """Ask a database directly."""
    return run_async(_fetch(url, query, arguments))


def _answer(response: http.client.HTTPResponse) -> Answer:
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


async def _fetch(url: str, query: str, arguments: Sequence[Any]) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(query, *arguments)
    finally:
        await connection.close()
