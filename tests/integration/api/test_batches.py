"""Batch operations over HTTP: first dry, then confirmed, then done to each saga once, and all of it on record."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.api.bad_requests import SAGAS
from tests.integration.api.batches import BATCHES, acts, begin, confirm, dry_run, suspended, wait_until
from tests.integration.api.server import Api, order

MANY = 50
NOBODY = "00000000-0000-7000-8000-000000000000"
DONE = lambda found: found["state"] == "done"  # noqa: E731 - the one question of most tests


def test_a_dry_run_says_what_there_is_and_changes_nothing(api: Api) -> None:
    """It counts the sagas, shows some, and gives a confirmation that runs out."""
    ids, chosen = suspended(api, 30)
    before = api.digest()
    answer = dry_run(api, "retry", chosen)
    assert (answer.status, answer.json["count"]) == (200, 30)
    assert [saga["id"] for saga in answer.json["sample"]] == sorted(ids, reverse=True)[:10]
    assert answer.json["expires_at"] > answer.json["sample"][0]["created_at"]
    assert api.digest() == before
    assert api.fetch("SELECT 1 FROM batch_operation WHERE filter->>'since' = $1", chosen["since"]) == []


@pytest.mark.parametrize(
    ("verb", "members", "status"),
    [
        ("retry", {}, "pending"),
        ("resume", {}, "pending"),
        ("compensate", {}, "compensating"),
        ("abandon", {}, "abandoned"),
        ("skip", {"step": "create_shipment"}, "suspended"),
        ("resolve", {"step": "reserve_inventory", "resolution": "failed"}, "failed"),
    ],
)
def test_what_was_confirmed_is_done_to_each_once(api: Api, verb: str, members: dict[str, Any], status: str) -> None:
    """Every saga is acted on once, as the verb alone would; counts, outcomes and audit tell so."""
    ids, chosen = suspended(api, 120)
    answer = begin(api, verb, chosen, rate=1000, **members)
    assert answer.status == 202, answer.body
    assert answer.headers["location"] == f"{BATCHES}/{answer.json['id']}"
    found = wait_until(api, answer.json["id"], DONE)
    assert found["counts"] == {"total": 120, "done": 120, "refused": 0, "failed": 0, "left": 0}
    assert (found["verb"], found["filter"], found["reason"], found["actor"]) == (verb, chosen, "repaired", "anonymous")
    assert found["ended_at"] >= found["created_at"]
    rows = api.fetch("SELECT status, version FROM saga WHERE id = ANY($1::uuid[])", ids)
    assert {tuple(row) for row in rows} == {(status, 3)}
    assert acts(api, ids, found["id"]) == [1] * 120
    [act] = api.fetch("SELECT * FROM audit_log WHERE saga_id = $1", ids[0])
    assert (act["actor"], act["action"], act["reason"]) == ("anonymous", verb, "repaired")
    [created] = api.fetch("SELECT * FROM audit_log WHERE subject = $1", f"batch:{found['id']}")
    assert (created["action"], created["reason"]) == ("batch_create", "repaired")


def test_a_saga_that_moved_on_is_refused_and_the_others_are_done(api: Api) -> None:
    """What is not as it was confirmed is left alone, and its outcome says why."""
    ids, chosen = suspended(api, 60)
    paused = begin(api, "retry", chosen, rate=1).json
    api.post(f"{BATCHES}/{paused['id']}/pause", {"reason": "wait"})
    for saga_id in ids[-2:]:
        version = api.get(f"{SAGAS}/{saga_id}").json["version"]
        assert api.post(f"{SAGAS}/{saga_id}/abandon", {"reason": "r", "expected_version": version}).status == 202
    api.fetch("UPDATE saga SET version = 7 WHERE id = $1", ids[-3])
    api.fetch("UPDATE batch_operation SET rate = 1000 WHERE id = $1", paused["id"])
    assert api.post(f"{BATCHES}/{paused['id']}/resume", {"reason": "go on"}).status == 202
    found = wait_until(api, paused["id"], DONE)
    assert found["counts"] == {"total": 60, "done": 57, "refused": 3, "failed": 0, "left": 0}
    refused = api.get(f"{BATCHES}/{paused['id']}/items?outcome=refused").json["items"]
    assert [(item["saga_id"], item["detail"]) for item in refused] == [
        (ids[-3], "the saga is at version 7 by now, not at 2"),
        (ids[-2], "the saga is abandoned by now"),
        (ids[-1], "the saga is abandoned by now"),
    ]


def test_sagas_in_progress_may_move_on_until_their_turn(api: Api) -> None:
    """Suspend takes them as they are by then, within the statuses of the filter."""
    _, chosen = suspended(api, 1)
    ids = [api.post(SAGAS, order(f"{chosen['since']}-{number}")).json["id"] for number in range(3)]
    running = {**chosen, "status": ["started", "pending"]}
    dry = dry_run(api, "suspend", running)
    assert dry.json["count"] == 3
    found = confirm(api, "suspend", running, dry.json["confirmation"], rate=1).json
    api.fetch("UPDATE saga SET version = 5 WHERE id = $1", ids[2])
    assert wait_until(api, found["id"], DONE)["counts"]["done"] == 3
    rows = api.fetch("SELECT status FROM saga WHERE id = ANY($1::uuid[])", ids)
    assert {row["status"] for row in rows} == {"suspended"}


def test_a_confirmation_holds_for_what_it_confirmed(api: Api) -> None:
    """Another filter or verb is 422; other sagas than were found are 409 with the count of now; nothing changes."""
    ids, chosen = suspended(api, 5)
    confirmation = dry_run(api, "retry", chosen).json["confirmation"]
    before = api.digest()
    for verb, other in (("resume", chosen), ("retry", {**chosen, "until": "2090-01-01T00:00:00Z"})):
        answer = confirm(api, verb, other, confirmation)
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/confirmation")
    assert api.digest() == before
    api.fetch("UPDATE saga SET status = 'abandoned' WHERE id = $1", ids[0])
    fewer = confirm(api, "retry", chosen, confirmation)
    assert (fewer.status, fewer.json["count"], fewer.json["confirmed"]) == (409, 4, 5)
    more, _ = suspended(api, 1)
    others = confirm(api, "retry", chosen, confirmation)
    assert (others.status, others.json["count"]) == (409, 5)
    rows = api.fetch("SELECT 1 FROM audit_log WHERE saga_id = ANY($1::uuid[])", [*ids, *more])
    assert rows == []


def test_a_confirmation_runs_out(api: Api) -> None:
    """One of an hour ago is 409, whoever made it."""
    _, chosen = suspended(api, 1)
    old = "AAABmAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    answer = confirm(api, "retry", chosen, old)
    assert (answer.status, answer.json["type"].rpartition(":")[2]) == (409, "not-as-confirmed")


def test_fifty_confirmations_begin_one_operation(api: Api) -> None:
    """Pressed twice, or by fifty hands at once: one operation, and the others hear which; each saga is done once."""
    ids, chosen = suspended(api, 20)
    confirmation = dry_run(api, "retry", chosen).json["confirmation"]
    with ThreadPoolExecutor(MANY) as hands:
        answers = list(hands.map(lambda _: confirm(api, "retry", chosen, confirmation), range(MANY)))
    assert sorted(answer.status for answer in answers) == [202] + [409] * (MANY - 1)
    [begun] = [answer.json["id"] for answer in answers if answer.status == 202]
    named = {answer.json.get("batch_operation") for answer in answers if answer.status == 409}
    assert begun in named
    assert named <= {begun, None}  # who counted while the first was at work already hears of another count
    wait_until(api, begun, DONE)
    assert acts(api, ids, begun) == [1] * 20


def test_an_operation_is_paused_resumed_and_cancelled(api: Api) -> None:
    """Paused, nothing more is done; resumed, it goes on; cancelled, it is over, and what is left stays as it was."""
    ids, chosen = suspended(api, 40)
    operation = begin(api, "retry", chosen, rate=10).json
    one = f"{BATCHES}/{operation['id']}"
    wait_until(api, operation["id"], lambda found: found["counts"]["done"] >= 2)
    assert api.post(f"{one}/pause", {"reason": "slow down"}).json["state"] == "paused"
    refused = api.post(f"{one}/pause", {"reason": "slow down"})
    assert (refused.status, refused.json["state"], refused.json["allowed"]) == (409, "paused", ["resume", "cancel"])
    api.fetch("SELECT pg_sleep(1)")  # what was in hand is written down
    rested = api.get(one).json["counts"]
    api.fetch("SELECT pg_sleep(1)")
    assert api.get(one).json["counts"] == rested
    assert api.post(f"{one}/resume", {"reason": "go on"}).json["state"] == "running"
    wait_until(api, operation["id"], lambda found: found["counts"]["done"] > rested["done"])
    assert api.post(f"{one}/cancel", {"reason": "enough"}).json["state"] == "cancelled"
    assert api.post(f"{one}/resume", {"reason": "no"}).json["allowed"] == []
    api.fetch("SELECT pg_sleep(1)")
    counts = api.get(one).json["counts"]
    assert (counts["left"] > 0, counts["done"] + counts["left"]) == (True, 40)
    left = api.fetch("SELECT 1 FROM saga WHERE id = ANY($1::uuid[]) AND status = 'suspended'", ids)
    assert len(left) == counts["left"] == len(api.get(f"{one}/items?outcome=left&limit=200").json["items"])
    rows = api.fetch("SELECT action FROM audit_log WHERE subject = $1 ORDER BY id", f"batch:{operation['id']}")
    assert [row["action"] for row in rows] == ["batch_create", "batch_pause", "batch_resume", "batch_cancel"]


def test_outcomes_and_operations_come_in_pages(api: Api) -> None:
    """Every saga and every operation is on one page, in order; a cursor of another list is refused."""
    ids, chosen = suspended(api, 25)
    operation = begin(api, "resume", chosen, rate=1000).json
    wait_until(api, operation["id"], DONE)
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = api.get(f"{BATCHES}/{operation['id']}/items?limit=10{cursor and '&cursor=' + cursor}").json
        seen += [item["saga_id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == sorted(ids)
    newest = api.get(f"{BATCHES}?limit=1").json
    assert [found["id"] for found in newest["batch_operations"]] == [operation["id"]]
    older = api.get(f"{BATCHES}?limit=1&cursor={newest['next_cursor']}").json["batch_operations"]
    assert older[0]["id"] < operation["id"]
    assert api.get(f"{BATCHES}?state=done&cursor={newest['next_cursor']}").status == 400
    assert api.get(f"{BATCHES}?state=paused&limit=200").json["batch_operations"] == []


def test_nothing_found_is_nothing_done(api: Api) -> None:
    """A filter that finds no saga begins an operation that is done at once."""
    _, chosen = suspended(api, 1)
    nothing = {**chosen, "since": "2090-01-01T00:00:00Z"}
    found = wait_until(api, begin(api, "retry", nothing).json["id"], DONE)
    assert found["counts"]["total"] == 0


FINE: dict[str, Any] = {"verb": "retry", "filter": {"status": "suspended"}}


@pytest.mark.parametrize(
    ("body", "status", "place"),
    [
        ({"filter": {"status": "suspended"}}, 422, "/verb"),
        ({**FINE, "verb": "delete"}, 422, "/verb"),
        ({**FINE, "filter": []}, 422, "/filter"),
        ({**FINE, "filter": {}}, 422, "/filter/status"),
        ({**FINE, "filter": {"status": "pending"}}, 422, "/filter/status"),
        ({**FINE, "filter": {"status": ["suspended", "failed"]}}, 422, "/filter/status"),
        ({**FINE, "filter": {"status": "hung"}}, 422, "/filter/status"),
        ({**FINE, "filter": {"status": []}}, 422, "/filter/status"),
        ({**FINE, "filter": {"status": None}}, 422, "/filter/status"),
        ({**FINE, "filter": {"status": "suspended", "colour": "red"}}, 422, "/filter/colour"),
        ({**FINE, "filter": {"status": "suspended", "limit": 5}}, 422, "/filter/limit"),
        ({**FINE, "filter": {"status": "suspended", "definition": "%"}}, 422, "/filter/definition"),
        ({**FINE, "filter": {"status": "suspended", "since": "now"}}, 422, "/filter/since"),
        ({**FINE, "filter": {"status": "suspended", "business_key": "\x00"}}, 422, "/filter/business_key"),
        ({**FINE, "rate": 0}, 422, "/rate"),
        ({**FINE, "rate": 5000}, 422, "/rate"),
        ({**FINE, "rate": 1.5}, 422, "/rate"),
        ({**FINE, "step": "create_shipment"}, 422, "/step"),
        ({**FINE, "verb": "skip"}, 422, "/step"),
        ({**FINE, "verb": "resolve", "step": "create_shipment"}, 422, "/resolution"),
        ({**FINE, "saga_ids": []}, 422, "/saga_ids"),
        ({**FINE, "confirmation": "x"}, 422, "/confirmation"),
        ({**FINE, "dry_run": False, "reason": "r"}, 428, "/confirmation"),
        ({**FINE, "dry_run": False, "confirmation": "x"}, 422, "/reason"),
        ({**FINE, "dry_run": False, "confirmation": "x", "reason": "r"}, 422, "/confirmation"),
        ({**FINE, "dry_run": False, "confirmation": "€", "reason": "r"}, 422, "/confirmation"),
    ],
)
def test_a_bad_request_is_refused(api: Api, body: dict[str, Any], status: int, place: str) -> None:
    """A problem points at the fault, and nothing changes."""
    before = api.digest()
    answer = api.post(BATCHES, body)
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    assert answer.json["errors"][0]["pointer"] == place
    assert api.digest() == before


@pytest.mark.parametrize(
    "place", [f"{BATCHES}/{NOBODY}", f"{BATCHES}/{NOBODY}/items", f"{BATCHES}/7", f"{BATCHES}/%00"]
)
def test_an_unknown_operation_is_not_found(api: Api, place: str) -> None:
    """404 for looking at it, and for changing it."""
    assert api.get(place).status == 404
    assert api.post(f"{BATCHES}/{NOBODY}/cancel", {"reason": "r"}).status == 404


def test_the_audit_says_that_a_result_was_stated_and_not_which(api: Api) -> None:
    """What is stated as a step's result may be sensitive: it stands in the operation, and not in the audit."""
    _, chosen = suspended(api, 1)
    stated = {"reservation_id": "r-canary"}
    begun = begin(api, "resolve", chosen, step="reserve_inventory", resolution="completed", result=stated)
    assert (begun.status, begun.json["members"]["result"]) == (202, stated)
    [act] = api.fetch("SELECT state_after::text AS said FROM audit_log WHERE subject = $1", f"batch:{begun.json['id']}")
    assert '"result": "[masked]"' in act["said"]
    assert "r-canary" not in act["said"]
