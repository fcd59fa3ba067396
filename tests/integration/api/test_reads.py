"""Looking at sagas: one with its steps and log, lists with filters and cursors, the health of the process."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.integration.api.bad_requests import SAGAS
from tests.integration.api.server import Api, order

STEPS = ["reserve_inventory", "process_payment", "create_shipment", "send_confirmation"]
VERBS = ("retry", "skip", "resolve", "compensate", "suspend", "resume", "abandon", "replay")


@pytest.fixture(scope="module")
def twelve(api: Api) -> list[dict[str, Any]]:
    """Give twelve sagas, newest first; every third is shown as failed and every fourth as suspended."""
    answer = api.post(f"{SAGAS}/bulk", {"sagas": [order(f"list-{number:02}") for number in range(12)]})
    sagas = [item["saga"] for item in answer.json["items"]]
    for number, saga in enumerate(sagas):
        if number % 3 == 0 or number % 4 == 0:
            status = "failed" if number % 3 == 0 else "suspended"
            change = "UPDATE saga SET status = $2, wake_at = NULL, deadline = NULL WHERE id = $1"
            api.fetch(change, saga["id"], status)
    return sorted(sagas, key=lambda saga: str(saga["id"]), reverse=True)


def test_a_saga_is_shown_with_its_steps_and_log(api: Api) -> None:
    """One saga has every step with its commands, outcome and undo; the log comes along when asked for."""
    started = api.post(SAGAS, order("shown")).json
    answer = api.get(f"{SAGAS}/{started['id']}?include=log")
    saga = answer.json
    assert answer.headers["etag"] == f'"{saga["version"]}"' == '"1"'
    assert {name: saga[name] for name in started} == started
    assert saga["input"] == order("shown")["input"]
    assert [step["name"] for step in saga["steps"]] == STEPS
    first, *others = saga["steps"]
    assert (first["outcome"], first["undo"], first["attempts"]) == ("issued", "none", 1)
    assert (first["participant"], first["action"]) == ("inventory", "ReserveItems")
    assert first["compensation"] == "ReleaseReservation"
    assert first["deadline"] == saga["deadline"]
    assert [(step["outcome"], step["attempts"], step["deadline"]) for step in others] == [("waiting", 0, None)] * 3
    assert saga["incidents"] == []
    assert [entry["event"] for entry in saga["log"]] == ["SagaStarted"]
    assert "log" not in api.get(f"{SAGAS}/{started['id']}").json


def test_incidents_are_shown_with_the_saga(api: Api) -> None:
    """An open incident says why, since when, and on which step."""
    started = api.post(SAGAS, order("troubled")).json
    api.fetch(
        "INSERT INTO incident (saga_id, saga_version, reason, step_name, detail)"
        " VALUES ($1, 1, 'compensation_dead_lettered', 'process_payment', 'no answer in time')",
        started["id"],
    )
    [incident] = api.get(f"{SAGAS}/{started['id']}").json["incidents"]
    assert (incident["reason"], incident["step_name"]) == ("compensation_dead_lettered", "process_payment")
    assert (incident["resolved_at"], incident["resolved_by"]) == (None, None)
    assert incident["opened_at"].endswith("Z")


def test_a_log_is_read_page_by_page(api: Api) -> None:
    """`after` and `limit` walk through a log of many entries without a gap."""
    started = api.post(SAGAS, order("long-log")).json
    api.fetch(
        "INSERT INTO saga_log (saga_id, version, at, part, event, step_name, status, data)"
        " SELECT $1, n, now(), 0, 'StepProgressed', NULL, 'started', '{}' FROM generate_series(2, 25) AS n",
        started["id"],
    )
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        page = api.get(f"{SAGAS}/{started['id']}/log?after={after}&limit=10").json
        seen += [entry["version"] for entry in page["entries"]]
        after = page["next_after"]
    assert seen == list(range(1, 26))


def test_pages_follow_each_other_without_gap_or_repetition(api: Api, twelve: list[dict[str, Any]]) -> None:
    """Walking a list by cursor shows every saga once, newest first, also when new ones begin meanwhile."""
    wanted = [saga["id"] for saga in twelve]
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        more = f"&cursor={cursor}" if cursor else ""
        page = api.get(f"{SAGAS}?limit=5&definition=OrderFulfillment{more}").json
        seen += [saga["id"] for saga in page["sagas"]]
        cursor = page["next_cursor"]
        api.post(SAGAS, order(f"meanwhile-{len(seen)}"))
    assert seen == sorted(set(seen), reverse=True)
    assert [saga for saga in seen if saga in wanted] == wanted


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ({"status": "failed"}, [0, 3, 6, 9]),
        ({"status": "suspended"}, [4, 8]),
        ({"status": ["failed", "suspended"]}, [0, 3, 4, 6, 8, 9]),
        ({"status": "failed", "definition": "OrderFulfillment"}, [0, 3, 6, 9]),
        ({"status": "completed"}, []),
        ({"status": "failed", "definition": "BankTransfer"}, []),
        ({"business_key": "list-04"}, [4]),
        ({"business_key": "list-04", "status": "suspended", "definition": "OrderFulfillment"}, [4]),
        ({"business_key": "list-04", "status": "failed"}, []),
        ({"business_key": "list-"}, []),
    ],
    ids=str,
)
def test_filters_choose_exactly_what_they_say(
    api: Api, twelve: list[dict[str, Any]], query: dict[str, Any], chosen: list[int]
) -> None:
    """Statuses, definition and business key narrow a list, alone and together."""
    ids = {saga["business_key"]: saga["id"] for saga in twelve}
    answer = api.get(f"{SAGAS}?{urlencode(query, doseq=True)}&since={quote(twelve[-1]['created_at'])}")
    found = [saga["id"] for saga in answer.json["sagas"]]
    assert found == sorted((ids[f"list-{number:02}"] for number in chosen), reverse=True)


def test_since_and_until_hold_to_the_millisecond(api: Api) -> None:
    """`since` includes its moment and `until` excludes it, whatever the ids' own time says."""
    saga = api.post(SAGAS, order("then")).json
    for seconds in (-3, 3):
        moved = "UPDATE saga SET created_at = created_at + $2 * interval '1 second' WHERE id = $1 RETURNING created_at"
        begun = api.fetch(moved, saga["id"], seconds)[0]["created_at"]
        moments = [begun + timedelta(milliseconds=number) for number in (-1, 0, 1)]
        before, at, after = (moment.isoformat(timespec="milliseconds") for moment in moments)
        for chosen in ("status=started", "definition=OrderFulfillment", "business_key=then", ""):
            assert _has(api, saga, chosen, at, after)
            assert not _has(api, saga, chosen, before, at)
            assert not _has(api, saga, chosen, after, None)


def test_the_process_says_that_it_is_alive_and_ready(api: Api) -> None:
    """/livez, /readyz with a word per check, and on a port of its own /metrics with the seed metrics by their names."""
    assert api.get("/livez").json == {"alive": True}
    ready = api.get("/readyz")
    assert ready.status == 200
    assert set(ready.json["checks"].values()) == {"ok"}
    assert {"database", "migrations", "kafka", "log_partitions"} <= set(ready.json["checks"])
    assert api.get("/metrics").status == 404
    metrics = api.metrics()
    assert metrics.content_type == "text/plain"
    assert b'saga_started_total{saga_type="OrderFulfillment"}' in metrics.body


def test_labels_of_metrics_never_come_from_a_request(api: Api) -> None:
    """Made-up paths, methods and definitions leave no trace in /metrics."""
    api.get("/label-bomb-1")
    api.send("BOMB", "/v1/sagas/label-bomb-2")
    api.post(SAGAS, {"definition": "LabelBomb3", "input": {}})
    body = api.metrics().body.lower()
    assert b"bomb" not in body


def test_the_openapi_document_describes_every_route_and_refers_to_nothing_missing(api: Api) -> None:
    """/v1/openapi.json names the routes and methods, and each of its references resolves."""
    document = api.get("/v1/openapi.json").json
    routes = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert routes == {
        ("get", "/v1/openapi.json"),
        ("get", "/v1/definitions"),
        ("get", "/v1/dead-letters"),
        ("get", "/v1/dead-letters/{letter_id}"),
        ("post", "/v1/dead-letters/{letter_id}/discard"),
        ("post", "/v1/dead-letters/{letter_id}/redrive"),
        ("get", "/v1/incidents"),
        ("get", "/v1/incidents/{incident_id}"),
        ("post", "/v1/incidents/{incident_id}/assign"),
        ("post", "/v1/incidents/{incident_id}/notes"),
        ("post", "/v1/incidents/{incident_id}/resolve"),
        ("get", "/v1/participants"),
        ("get", "/v1/participants/{name}"),
        ("get", "/v1/audit"),
        *(("post", f"/v1/sagas/{{saga_id}}/{verb}") for verb in VERBS),
        *((method, "/v1/batch-operations") for method in ("get", "post")),
        ("get", "/v1/batch-operations/{operation_id}"),
        ("get", "/v1/batch-operations/{operation_id}/items"),
        *(("post", f"/v1/batch-operations/{{operation_id}}/{what}") for what in ("pause", "resume", "cancel")),
        ("post", "/v1/sagas/{saga_id}/steps/{step}/complete"),
        ("post", "/v1/sagas/{saga_id}/steps/{step}/fail"),
        ("get", "/v1/sagas"),
        ("post", "/v1/sagas"),
        ("post", "/v1/sagas/bulk"),
        ("get", "/v1/sagas/{saga_id}"),
        ("get", "/v1/sagas/{saga_id}/log"),
        ("get", "/v1/sagas/{saga_id}/events"),
        ("get", "/v1/events"),
        ("get", "/v1/sagas/{saga_id}/commands"),
        ("get", "/v1/sagas/{saga_id}/timeline"),
        ("get", "/v1/sagas/counts"),
        ("get", "/v1/definitions/{name}/versions/{version}"),
        ("get", "/v1/whoami"),
        ("get", "/v1/keys"),
        ("post", "/v1/keys"),
        ("post", "/v1/keys/{key_id}/revoke"),
    }
    names = {f"#/components/{kind}/{name}" for kind, named in document["components"].items() for name in named}
    assert _references(document) <= names


def _has(api: Api, saga: dict[str, Any], chosen: str, since: str, until: str | None) -> bool:
    times = urlencode({"since": since, **({} if until is None else {"until": until})})
    page = api.get(f"{SAGAS}?limit=200&{times}&{chosen}".rstrip("&")).json
    return saga["id"] in [found["id"] for found in page["sagas"]]


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(_references(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(_references(child) for child in node))
    return set()
