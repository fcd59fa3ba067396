"""GET /v1/audit: every filter, page by page, and nothing that makes no sense."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from deploy.local.stack import LocalStack
from tests.integration.api.bad_requests import SAGAS
from tests.integration.api.server import Api, order, start_api
from tests.integration.api.test_retry import SUSPEND

AUDIT = "/v1/audit"
SAGA = "019a4b1e-7a52-7c3e-9d5e-0c8a51b8f2aa"
FILL = """
INSERT INTO audit_log (at, actor, action, outcome, reason, saga_id, letter_id, subject, version_before, version_after,
                       request_id, state_before, state_after)
SELECT
    timestamptz '2026-03-01 00:00Z' + n * interval '1 hour',
    (ARRAY['ann', 'bob'])[1 + n % 2], action, outcome, 'because',
    CASE WHEN kind = 0 THEN $1::uuid END, CASE WHEN kind = 1 THEN 7 END, CASE WHEN kind = 2 THEN 'key:3f2a9c10' END,
    CASE WHEN kind = 0 AND outcome = 'done' THEN n END, CASE WHEN kind = 0 AND outcome = 'done' THEN n + 1 END,
    'request-' || n, '{"status": "suspended"}', '{"status": "pending"}'
FROM generate_series(1, 60) AS n,
    LATERAL (SELECT n % 3 AS kind, CASE WHEN n % 5 = 0 THEN 'refused' ELSE 'done' END AS outcome) AS a,
    LATERAL (SELECT (ARRAY['retry', 'discard', 'revoke_key'])[1 + kind] AS action) AS b
ORDER BY n
"""
ABOUT = ("saga_id", "letter_id", "subject")


@pytest.fixture(scope="module")
def api(stack: LocalStack) -> Iterator[Api]:
    """Give an API process with an audit of sixty entries, an hour apart."""
    mark = secrets.token_hex(4)
    running = start_api(stack, f"audit-{mark}", f"audit_{mark}", f"audit{mark}.")
    running.fetch(FILL, SAGA)
    yield running
    running.child.stop()
    stack.postgres.drop_database(f"audit_{mark}")


def listed(api: Api, **query: str) -> list[dict[str, Any]]:
    """Read all pages of a list."""
    entries: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get(f"{AUDIT}?{urlencode({**query, **cursor})}")
        assert page.status == 200, page.body
        entries += page.json["acts"]
        assert len(page.json["acts"]) <= int(query.get("limit", "50"))
        if page.json["next_cursor"] is None:
            return entries
        cursor = {"cursor": page.json["next_cursor"]}


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({}, lambda _: True),
        ({"actor": "ann"}, lambda entry: entry["actor"] == "ann"),
        ({"action": "discard"}, lambda entry: entry["action"] == "discard"),
        ({"outcome": "refused"}, lambda entry: entry["outcome"] == "refused"),
        ({"saga_id": SAGA}, lambda entry: entry["saga_id"] == SAGA),
        ({"letter_id": "7"}, lambda entry: entry["letter_id"] == 7),
        ({"subject": "key:3f2a9c10"}, lambda entry: entry["subject"] == "key:3f2a9c10"),
        ({"actor": "bob", "action": "retry"}, lambda entry: (entry["actor"], entry["action"]) == ("bob", "retry")),
        ({"actor": "bob", "outcome": "done"}, lambda entry: (entry["actor"], entry["outcome"]) == ("bob", "done")),
        (
            {"action": "retry", "outcome": "refused"},
            lambda entry: (entry["action"], entry["outcome"]) == ("retry", "refused"),
        ),
        (
            {"saga_id": SAGA, "actor": "ann", "action": "retry", "outcome": "done"},
            lambda entry: (entry["saga_id"], entry["actor"], entry["outcome"]) == (SAGA, "ann", "done"),
        ),
        ({"since": "2026-03-02T12:00:00Z"}, lambda entry: entry["at"] >= "2026-03-02T12:00:00.000Z"),
        ({"until": "2026-03-02T12:00:00Z"}, lambda entry: entry["at"] < "2026-03-02T12:00:00.000Z"),
        (
            {"actor": "ann", "since": "2026-03-01T20:00:00Z", "until": "2026-03-02T12:00:00Z"},
            lambda entry: (
                entry["actor"] == "ann" and "2026-03-01T20:00:00.000Z" <= entry["at"] < "2026-03-02T12:00:00.000Z"
            ),
        ),
        ({"actor": "nobody"}, lambda _: False),
        ({"letter_id": "7", "subject": "key:3f2a9c10"}, lambda _: False),
    ],
    ids=str,
)
@pytest.mark.parametrize("limit", ["7", "200"])
def test_a_filter_gives_what_fits_newest_first(api: Api, query: dict[str, str], fits: Any, limit: str) -> None:
    """Whatever the size of its pages, a list has every entry that fits once, and no other."""
    everything = listed(api, limit="200")
    assert [entry["id"] for entry in everything] == sorted((entry["id"] for entry in everything), reverse=True)
    assert len(everything) >= 60
    assert listed(api, **query, limit=limit) == [entry for entry in everything if fits(entry)]


def test_an_entry_has_everything_that_is_known_of_an_act(api: Api) -> None:
    """Who, when, what, to what, why, with which request, what became of it, and how things stood before and after."""
    saga = api.post(SAGAS, order(f"entry-{secrets.token_hex(4)}")).json
    api.fetch(SUSPEND, saga["id"])
    body = {"reason": "the warehouse is back", "expected_version": 2}
    assert api.post(f"{SAGAS}/{saga['id']}/retry", body, {"x-request-id": "entry-1"}).status == 202
    [entry] = listed(api, saga_id=saga["id"])
    api.fetch("SELECT 1")
    assert entry.pop("id") > 60
    assert entry.pop("at") > "2026-03"
    assert entry == {
        "actor": "anonymous",
        "action": "retry",
        "outcome": "done",
        "saga_id": saga["id"],
        "letter_id": None,
        "subject": None,
        "reason": "the warehouse is back",
        "request_id": "entry-1",
        "version_before": 2,
        "version_after": 3,
        "state_before": {"status": "suspended", "version": 2},
        "state_after": {"status": "pending", "version": 3},
    }


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("who=ann", 422),
        ("actor=ann&actor=bob", 422),
        ("actor=", 422),
        ("actor=%00", 422),
        (f"actor={'a' * 201}", 422),
        ("outcome=tried", 422),
        ("saga_id=7", 422),
        (f"saga_id={SAGA.upper()}", 422),
        ("letter_id=0", 422),
        ("letter_id=-1", 422),
        ("letter_id=99999999999999999999", 422),
        ("since=yesterday", 422),
        ("since=2026-03-02T00:00:00Z&until=2026-03-01T00:00:00Z", 422),
        ("limit=0", 422),
        ("limit=201", 422),
        ("cursor=x", 400),
        ("cursor=" + "A" * 5000, 400),
        ("cursor=AQAAAAAAAAAAAAAAAAAAAAAA", 400),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(api: Api, query: str, status: int) -> None:
    """It gets a problem that names the parameter, and nothing is guessed."""
    answer = api.get(f"{AUDIT}?{query}")
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    assert answer.json["errors"][0]["parameter"] == query.partition("=")[0].replace(
        "since", "until", query.count("until")
    )


def test_a_cursor_is_of_its_list_only(api: Api) -> None:
    """With another filter a cursor is refused; with another page size it goes on where it was."""
    cursor = api.get(f"{AUDIT}?actor=ann&limit=5").json["next_cursor"]
    assert api.get(f"{AUDIT}?actor=bob&limit=5&cursor={cursor}").status == 400
    assert api.get(f"{AUDIT}?cursor={cursor}").status == 400
    longer = api.get(f"{AUDIT}?actor=ann&limit=9&cursor={cursor}").json["acts"]
    assert longer == listed(api, actor="ann", limit="200")[5:14]
