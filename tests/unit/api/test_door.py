"""What is refused is told for the record: all of it, in bounds, and without keeping anybody waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from coordinator.api import door
from coordinator.api.access import Permission
from coordinator.api.openapi import Document
from coordinator.api.problems import RequestRefused
from tests.unit.api.hall import ByHeader, Record, client, hall

SAGA = "01890a5d-ac96-774b-bcce-b302099a8057"


def _app(record: Record) -> Any:
    app = hall(ByHeader(), record)

    async def refuse(request: Request) -> Response:
        raise RequestRefused(int(request.query_params["status"]), "refused", "not possible")

    for name, needs in (("act", Permission.ACT), ("start", Permission.START), ("look", Permission.LOOK)):
        app.state.routes.post(f"/v1/{name}/{{saga_id}}", Document(name, "sagas", name, {}), needs, refuse)
        app.state.routes.get(f"/v1/{name}/{{saga_id}}", Document(f"{name}s", "sagas", name, {}), needs, refuse)
    return app


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("POST", f"/v1/act/{SAGA}?status=409", True),
        ("POST", f"/v1/act/{SAGA}?status=412", True),
        ("POST", f"/v1/act/{SAGA}?status=422", True),
        ("POST", f"/v1/act/{SAGA}?status=403", True),
        ("POST", f"/v1/act/{SAGA}?status=404", False),
        ("POST", f"/v1/act/{SAGA}?status=409&preview=true", False),
        ("GET", f"/v1/act/{SAGA}?status=409", False),
        ("POST", f"/v1/start/{SAGA}?status=409", False),
        ("POST", f"/v1/start/{SAGA}?status=403", True),
        ("GET", f"/v1/look/{SAGA}?status=403", True),
    ],
)
async def test_a_refused_act_is_told(method: str, path: str, told: bool) -> None:
    """An act that is refused is told with who, what, why, its saga and its request; a start's everyday one is not."""
    record = Record()
    async with client(_app(record)) as asking:
        answer = await asking.request(method, path, headers={"x-test-role": "operator", "x-request-id": "r-1"})
    status = answer.status_code
    await asyncio.sleep(0)
    template = f"{method} {path.partition('?')[0].replace(SAGA, '{saga_id}')}"
    expected = [("key:operator", template, "not possible", status, "r-1", SAGA)] if told else []
    assert [(t.actor, t.action, t.reason, t.status, t.request_id, t.saga_id) for t in record.told] == expected


async def test_strangers_at_unknown_paths_are_told_without_them() -> None:
    """What a stranger made up does not become part of the record's actions."""
    record = Record()
    async with client(_app(record)) as asking:
        await asking.post("/v1/made/up")
        await asking.request("MADE-UP", "/v1/made/up")
    assert [told.action for told in record.told] == ["POST unmatched", "other unmatched"]


@pytest.mark.parametrize("record", [Record(broken=True), Record(slow=True)], ids=["broken", "slow"])
async def test_a_record_that_fails_keeps_nobody(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is answered as refused in time, whether the record works or not."""
    monkeypatch.setattr(door, "TELL_S", 0.02)
    async with asyncio.timeout(2), client(_app(record)) as asking:
        assert (await asking.post(f"/v1/act/{SAGA}")).status_code == 401
        assert (await asking.get(f"/v1/act/{SAGA}")).status_code == 401
