"""The retry verb over HTTP: only for a suspended saga, only at the version that was looked at, only once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.integration.api.bad_requests import SAGAS
from tests.integration.api.server import Api, order

SUSPEND = """
UPDATE saga SET status = 'suspended', version = 2, wake_at = NULL, deadline = NULL WHERE id = $1
"""


def test_a_suspended_saga_goes_on(api: Api) -> None:
    """202 with the new state; the command is issued again, the act is audited, and incidents are closed."""
    saga = _suspended(api, "goes-on")
    api.fetch(
        "INSERT INTO incident (saga_id, saga_version, reason, step_name, detail)"
        " VALUES ($1, 2, 'result_schema', 'reserve_inventory', 'x')",
        saga["id"],
    )
    answer = _retry(api, saga["id"], 2, "the warehouse is back")
    assert answer.status == 202
    assert answer.headers["etag"] == '"3"'
    assert (answer.json["status"], answer.json["version"]) == ("pending", 3)
    now = api.get(f"{SAGAS}/{saga['id']}?include=log").json
    assert now["steps"][0]["attempts"] == 2
    assert [incident["resolved_by"] for incident in now["incidents"]] == ["anonymous"]
    assert [(entry["version"], entry["event"]) for entry in now["log"]] == [(1, "SagaStarted"), (3, "RetryRequested")]
    audits = api.fetch("SELECT * FROM audit_log WHERE saga_id = $1", saga["id"])
    assert [(row["action"], row["reason"], row["version_before"], row["version_after"]) for row in audits] == [
        ("retry", "the warehouse is back", 2, 3)
    ]


def test_the_line_of_an_act_names_its_request(api: Api) -> None:
    """The log tells of the transition with the id of the request that caused it, and of no other's."""
    saga = _suspended(api, "named")
    act = {"reason": "r", "expected_version": 2}
    assert api.post(f"{SAGAS}/{saga['id']}/retry", act, {"X-Request-ID": "act-7"}).status == 202
    lines = [json.loads(line) for line in api.child.output().splitlines()]
    moved = [line for line in lines if line["event"] == "saga_moved" and line["saga_id"] == saga["id"]]
    assert [(line["cause"], line.get("request_id")) for line in moved] == [
        ("SagaStarted", None),
        ("RetryRequested", "act-7"),
    ]


def test_the_version_may_come_in_if_match(api: Api) -> None:
    """If-Match with the ETag that was looked at stands for expected_version."""
    saga = _suspended(api, "if-match")
    answer = api.post(f"{SAGAS}/{saga['id']}/retry", {"reason": "r"}, {"If-Match": '"2"'})
    assert answer.status == 202


def test_a_saga_in_progress_is_not_retried(api: Api) -> None:
    """409 says the present status and version, whatever version is named; nothing changes."""
    saga = api.post(SAGAS, order("in-progress")).json
    before = api.digest()
    for version in (1, 7):
        answer = _retry(api, saga["id"], version, "r")
        assert (answer.status, answer.content_type) == (409, "application/problem+json")
        assert (answer.json["saga_status"], answer.json["version"]) == ("started", 1)
    assert api.digest() == before


def test_a_stale_version_is_refused(api: Api) -> None:
    """412 says the present version, and nothing changes."""
    saga = _suspended(api, "stale")
    before = api.digest()
    for version in (1, 3):
        answer = _retry(api, saga["id"], version, "r")
        assert (answer.status, answer.content_type) == (412, "application/problem+json")
        assert (answer.json["saga_status"], answer.json["version"]) == ("suspended", 2)
    assert api.digest() == before


def test_a_commanded_saga_is_not_replayed(api: Api) -> None:
    """409 says that this verb is for choreographed sagas, 404 that there is no such saga; nothing changes."""
    saga = _suspended(api, "commanded")
    before = api.digest()
    act = {"reason": "r", "expected_version": 2}
    answer = api.post(f"{SAGAS}/{saga['id']}/replay", act)
    assert (answer.status, answer.json["saga_status"]) == (409, "suspended")
    assert "retried, not replayed" in answer.json["detail"]
    assert api.post(f"{SAGAS}/00000000-0000-7000-8000-000000000000/replay", act).status == 404
    assert api.post(f"{SAGAS}/{saga['id']}/replay", {"reason": " ", "expected_version": 2}).status == 422
    assert api.digest() == before


def test_of_ten_retries_at_once_one_happens(api: Api) -> None:
    """One of ten parallel retries is taken, the others find that the saga goes on already."""
    saga = _suspended(api, "ten-hands")
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda number: _retry(api, saga["id"], 2, f"hand {number}"), range(10)))
    assert sorted(answer.status for answer in answers) == [202] + [409] * 9
    assert len(api.fetch("SELECT 1 FROM audit_log WHERE saga_id = $1 AND outcome = 'done'", saga["id"])) == 1
    assert api.get(f"{SAGAS}/{saga['id']}").json["version"] == 3


def _suspended(api: Api, number: str) -> dict[str, Any]:
    saga: dict[str, Any] = api.post(SAGAS, order(number)).json
    api.fetch(SUSPEND, saga["id"])
    return saga


def _retry(api: Api, saga_id: str, version: int, reason: str) -> Any:
    return api.post(f"{SAGAS}/{saga_id}/retry", {"reason": reason, "expected_version": version})
