"""While Postgres is away the API says so, and when it is back everything works again by itself."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from deploy.local.processes import http_ok
from deploy.local.stack import LocalStack
from tests.integration.api.bad_requests import SAGAS
from tests.integration.api.proxy import Proxy
from tests.integration.api.server import Answer, Api, order, start_api


@pytest.fixture(scope="module")
def wired(stack: LocalStack) -> Iterator[tuple[Api, Proxy]]:
    """Give an API process that reaches Postgres through a wire of this test."""
    mark = secrets.token_hex(4)
    database = f"outage_{mark}"
    parts = urlsplit(stack.application_url(stack.postgres.url(database)))
    with Proxy(str(parts.hostname), int(parts.port or 5432)) as proxy:
        through = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxy.port}")).geturl()
        api = start_api(stack, f"outage-{mark}", database, f"outage{mark}.", SAGA_DATABASE__URL=through)
        yield api, proxy
        api.child.stop()
    stack.postgres.drop_database(database)


def test_an_outage_of_postgres_is_said_and_healed(wired: tuple[Api, Proxy]) -> None:
    """Starts, reads and retries answer 503 with Retry-After, /livez stays green, and the process heals by itself."""
    api, proxy = wired
    saga = api.post(SAGAS, order("before")).json
    proxy.cut()
    _check_away(api.post(SAGAS, order("during")))
    _check_away(api.get(f"{SAGAS}/{saga['id']}"))
    _check_away(api.post(f"{SAGAS}/{saga['id']}/retry", {"reason": "r", "expected_version": 1}))
    _check_unready(api)
    proxy.mend()
    api.child.wait_until(http_ok(f"{api.url}/readyz"), timeout_s=30, what="ready again")
    assert api.post(SAGAS, order("during")).status == 201
    assert api.get(f"{SAGAS}/{saga['id']}").status == 200


def test_a_postgres_that_says_nothing_keeps_nobody_waiting_for_ever(wired: tuple[Api, Proxy]) -> None:
    """A start gets its 503 after some seconds of silence; the same request later gives the one saga."""
    api, proxy = wired
    proxy.hold()
    began = time.monotonic()
    _check_away(api.post(SAGAS, order("silence")))
    assert time.monotonic() - began < 15
    _check_unready(api)
    proxy.mend()
    api.child.wait_until(http_ok(f"{api.url}/readyz"), timeout_s=30, what="ready again")
    assert api.post(SAGAS, order("silence")).status in (200, 201)
    assert len(api.fetch("SELECT 1 FROM saga WHERE business_key = 'silence'")) == 1


def _check_unready(api: Api) -> None:
    assert api.get("/livez").status == 200
    ready = api.get("/readyz")
    assert (ready.status, ready.headers["retry-after"]) == (503, "1")
    assert ready.json["checks"]["database"] != "ok"


def _check_away(answer: Answer) -> None:
    assert (answer.status, answer.content_type) == (503, "application/problem+json"), answer
    assert answer.headers["retry-after"] == "1"
    assert "127.0.0.1" not in answer.body.decode()
