"""What is refused is on record, and a refusal tells nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local.stack import LocalStack
from tests.integration.api.guarded import Guarded, open_guarded
from tests.integration.api.routes import TYPED, UNKNOWN
from tests.integration.api.server import order


@pytest.fixture(scope="module")
def guarded(stack: LocalStack) -> Iterator[Guarded]:
    """Give a coordinator that asks everybody for a token, and has refused nothing yet."""
    with open_guarded(stack) as running:
        yield running


def _told(guarded: Guarded, request_id: str) -> list[tuple[Any, ...]]:
    rows = guarded.api.fetch("SELECT * FROM audit_log WHERE request_id = $1", request_id)
    return [
        (row["actor"], row["action"], str(row["saga_id"]), row["outcome"], json.loads(row["state_after"])["status"])
        for row in rows
    ]


def test_an_act_of_a_stranger_is_on_record(guarded: Guarded) -> None:
    """Who comes without a token and would act hears 401, and by then it is written down."""
    target = f"/v1/sagas/{UNKNOWN}/abandon"
    answer = guarded.api.send("POST", target, b"{}", (*TYPED, ("X-Request-Id", "stranger-1")))
    assert answer.status == 401
    assert _told(guarded, "stranger-1") == [("nobody", "POST /v1/sagas/{saga_id}/abandon", UNKNOWN, "refused", 401)]


def test_a_refusal_is_on_record_and_says_nothing_of_what_was_asked_for(guarded: Guarded) -> None:
    """Who may not act hears the same of a saga that there is and of one that there is not; both are written down."""
    saga_id = guarded.post("/v1/sagas", order("looked-at")).json["id"]
    heard = []
    for asked, request_id in ((saga_id, "weak-1"), (UNKNOWN, "weak-2")):
        body = {"reason": "r", "expected_version": 1}
        answer = guarded.post(f"/v1/sagas/{asked}/abandon", body, "viewer", {"X-Request-Id": request_id})
        assert answer.status == 403
        heard.append({name: value for name, value in answer.json.items() if name != "request_id"})
        action = "POST /v1/sagas/{saga_id}/abandon"
        assert _told(guarded, request_id) == [("key:a-viewer", action, asked, "refused", 403)]
    assert heard[0] == heard[1]
    assert guarded.get(f"/v1/sagas/{saga_id}").json["status"] == "started"
