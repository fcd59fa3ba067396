"""The app of the metrics port: /metrics for a scraper, /livez and /readyz for whoever looks after the process."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api.app import create_health_app
from coordinator.api.health import Check
from coordinator.api.middleware import request_id_of
from coordinator.api.problems import RequestRefused, respond
from coordinator.observability.collectors import Registry

_BEARER = b"bearer "


def create_metrics_app(metrics: Registry, checks: Sequence[Check], token: bytes | None = None) -> FastAPI:
    """Build the app; with a token /metrics is for those who show it, health is for everybody."""
    app = create_health_app(metrics, checks)
    app.add_api_route("/metrics", _exposition(metrics, token), include_in_schema=False, response_model=None)
    return app


def _exposition(metrics: Registry, token: bytes | None) -> Callable[[Request], Awaitable[Response]]:
    async def exposition(request: Request) -> Response:
        if token is not None and not _shows(request, token):
            headers = {"www-authenticate": "Bearer"}
            refused = RequestRefused(401, "unauthorized", "scraping wants the metrics token", headers=headers)
            return respond(refused, request_id_of(request.scope))
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return exposition


def _shows(request: Request, token: bytes) -> bool:
    given = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if len(given) != 1 or not given[0].lower().startswith(_BEARER):
        return False
    return hmac.compare_digest(given[0][len(_BEARER) :].strip(), token)
