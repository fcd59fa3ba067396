"""The app without a service behind it: health, unknown places, and what happens when a handler breaks."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from coordinator.api.app import create_health_app, create_waiting_app
from coordinator.api.metrics import create_metrics_app
from coordinator.errors import InvariantError, Unavailable
from coordinator.observability.collectors import Registry


def _client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_a_fault_of_ours_is_a_problem_without_its_inside() -> None:
    """An unexpected exception gives 500 with a request id, and nothing of its text."""
    app = create_health_app(CollectorRegistry(), [])

    async def broken(request: Request) -> None:
        raise ZeroDivisionError("secret")

    async def contradicted(request: Request) -> None:
        raise InvariantError("secret")

    app.add_api_route("/broken", broken)
    app.add_api_route("/contradicted", contradicted)
    async with _client(app) as client:
        for path in ("/broken", "/contradicted"):
            answer = await client.get(path, headers={"x-request-id": "find-me"})
            assert answer.status_code == 500
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["request_id"] == "find-me"
            assert "secret" not in answer.text


async def test_an_outage_says_when_to_come_back() -> None:
    """Unavailable gives 503 with Retry-After, and no address of ours."""
    app = create_health_app(CollectorRegistry(), [])

    async def away(request: Request) -> None:
        raise Unavailable("Postgres at 10.1.2.3 does not answer")

    app.add_api_route("/away", away)
    async with _client(app) as client:
        answer = await client.get("/away")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "10.1.2.3" not in answer.text


async def test_a_process_that_is_not_ready_says_so() -> None:
    """/readyz is 503 while a check is not well, and /livez is 200 all the same."""

    async def starting() -> str:
        return "waiting for Postgres"

    async with _client(create_health_app(CollectorRegistry(), [("started", starting)])) as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]) == (503, {"started": "waiting for Postgres"})
        assert (await client.get("/livez")).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/sagas", "/v1/sagas:bulk", "/v1/sagas/01890a5d/retry", "/v1/anything"])
async def test_who_comes_too_early_is_asked_to_come_again(method: str, path: str) -> None:
    """Until the API is there each request to it gets 503, when to come back, and what is waited for at that moment."""
    missing = ["Postgres", "the topics"]
    app = create_waiting_app(CollectorRegistry(), [], lambda: missing[0])
    async with _client(app) as client:
        for _ in range(2):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.headers["content-type"] == "application/problem+json"
            if method != "HEAD":
                assert answer.json()["type"] == "urn:saga-coordinator:problem:unavailable"
                assert f"waits for {missing[0]};" in answer.json()["detail"]
            missing.reverse()
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/nothing-of-ours")).status_code == 404


async def test_an_engine_has_no_api_to_wait_for() -> None:
    """A process that will never answer the REST API says 404 from the start: nobody should ask it again."""
    async with _client(create_health_app(CollectorRegistry(), [])) as client:
        assert (await client.get("/v1/sagas")).status_code == 404


async def test_requests_are_measured_by_route() -> None:
    """/metrics counts answered requests by route template, method and status."""
    registry = Registry()
    async with _client(create_metrics_app(registry, [])) as client:
        await client.get("/livez")
        await client.get("/nothing-of-ours")
        await client.post("/livez")
        text = (await client.get("/metrics")).text
    assert 'saga_http_request_seconds_count{method="GET",route="/livez",status="200"} 1.0' in text
    assert 'saga_http_request_seconds_count{method="GET",route="unmatched",status="404"} 1.0' in text
    assert "nothing-of-ours" not in text


async def test_a_scraper_without_the_token_is_refused_and_health_is_for_everybody() -> None:
    """Where there is a token, /metrics wants exactly it; /livez asks for nothing."""
    async with _client(create_metrics_app(Registry(), [], b"0123456789abcdef")) as client:
        for given in ({}, {"authorization": "Bearer 0123456789abcdeg"}, {"authorization": "0123456789abcdef"}):
            refused = await client.get("/metrics", headers=given)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert refused.headers["content-type"] == "application/problem+json"
        shown = await client.get("/metrics", headers={"authorization": "Bearer 0123456789abcdef"})
        assert shown.status_code == 200
        assert (await client.get("/livez")).status_code == 200


async def test_the_api_port_has_no_metrics() -> None:
    """Whoever may reach the API need not see what is measured."""
    async with _client(create_waiting_app(CollectorRegistry(), [], str)) as client:
        assert (await client.get("/metrics")).status_code == 404


def test_two_apps_of_one_process_share_their_metrics() -> None:
    """The app that waits and the app that serves can use one registry."""
    registry = CollectorRegistry()
    create_health_app(registry, [])
    create_health_app(registry, [])
