"""The verbs over HTTP: a preview says and does nothing, an act happens once, and a refusal says what is possible."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.api.bad_requests import SAGAS
from tests.integration.api.server import Answer, Api, order

MANY = 50
# The verb -> what its body says besides the reason, and the status that follows for an order that is suspended.
ACTS: dict[str, tuple[dict[str, Any], str]] = {
    "retry": ({}, "pending"),
    "resolve": ({"step": "reserve_inventory", "resolution": "failed"}, "failed"),
    "compensate": ({}, "compensating"),
    "resume": ({}, "pending"),
    "abandon": ({}, "abandoned"),
}


@pytest.mark.parametrize("verb", ACTS)
def test_a_verb_does_what_its_preview_said(api: Api, verb: str) -> None:
    """A preview needs no reason and writes nothing; with its ETag the act follows, to the status that it named."""
    saga = _suspended(api)
    members, status = ACTS[verb]
    before = api.digest()
    preview = api.post(f"{SAGAS}/{saga['id']}/{verb}?preview=true", members)
    assert (preview.status, preview.json["verb"], preview.json["next_status"]) == (200, verb, status)
    assert preview.headers["etag"] == saga["etag"]
    assert api.digest() == before
    answer = _act(api, saga, verb, {"If-Match": preview.headers["etag"]})
    assert (answer.status, answer.json["status"]) == (202, status)
    assert answer.headers["etag"] == f'"{answer.json["version"]}"'
    [audit] = api.fetch("SELECT * FROM audit_log WHERE saga_id = $1 AND action = $2", saga["id"], verb)
    assert (audit["actor"], audit["reason"]) == ("anonymous", "seen at night")
    assert audit["request_id"] == answer.headers["x-request-id"]


def test_a_step_that_did_not_run_is_skipped(api: Api) -> None:
    """Skip names its step; one that may have run is not skipped, and the sentence says what to do instead."""
    saga = _suspended(api)
    refused = _act(api, saga, "skip", {"If-Match": saga["etag"]}, step="reserve_inventory")
    assert refused.status == 409
    assert "resolve it" in refused.json["detail"]
    assert _act(api, saga, "skip", {"If-Match": saga["etag"]}, step="process_payment").status == 202


def test_whoever_names_no_version_is_asked_for_it(api: Api) -> None:
    """Without a version an act is 428, with two different ones 422; nothing changes."""
    saga = _suspended(api)
    before = api.digest()
    missing = _act(api, saga, "compensate")
    assert (missing.status, missing.json["type"].rpartition(":")[2]) == (428, "precondition-required")
    assert _act(api, saga, "compensate", {"If-Match": '"2"'}, expected_version=3).status == 422
    assert api.digest() == before


@pytest.mark.parametrize(
    ("verb", "members", "place"),
    [
        ("suspend", {"step": "process_payment"}, "/step"),
        ("skip", {}, "/step"),
        ("resolve", {"step": "process_payment"}, "/resolution"),
        ("resolve", {"step": "process_payment", "resolution": "compensated"}, "/resolution"),
        ("resolve", {"step": "process_payment", "resolution": "failed", "result": {}}, "/result"),
        (
            "resolve",
            {"step": "reserve_inventory", "resolution": "completed", "result": {"x": 1}},
            "/result/reservation_id",
        ),
        ("retry", {"payload": {}}, "/step"),
        ("abandon", {"reason": "   "}, "/reason"),
        ("abandon", {"actor": "me"}, "/actor"),
    ],
)
def test_what_a_verb_does_not_take_is_refused(api: Api, verb: str, members: dict[str, Any], place: str) -> None:
    """422 points at the member that is wrong, and nothing changes."""
    saga = _suspended(api)
    before = api.digest()
    answer = _act(api, saga, verb, {"If-Match": saga["etag"]}, **members)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, place), answer.body
    assert api.digest() == before


@pytest.mark.parametrize("value", ["yes", "", "TRUE", "1"])
def test_a_misspelt_preview_is_no_act(api: Api, value: str) -> None:
    """Whoever asks for a preview in other words hears so, and nothing happens."""
    saga = _suspended(api)
    before = api.digest()
    answer = api.post(f"{SAGAS}/{saga['id']}/abandon?preview={value}", {"reason": "r", "expected_version": 2})
    assert (answer.status, answer.json["errors"][0]["parameter"]) == (422, "preview")
    assert api.digest() == before


def test_a_refusal_names_the_verbs_that_are_possible(api: Api) -> None:
    """409 and 412 say how the saga stands and what it allows: what is named is possible, what is not is refused."""
    saga = api.post(SAGAS, order(_key())).json
    refused = _act(api, saga, "retry", {"If-Match": '"1"'})
    assert (refused.status, refused.json["saga_status"], refused.json["version"]) == (409, "started", 1)
    assert refused.json["allowed"] == ["compensate", "suspend", "abandon"]
    stale = _act(api, saga, "suspend", {"If-Match": '"7"'})
    assert (stale.status, stale.json["version"], stale.json["allowed"]) == (412, 1, refused.json["allowed"])
    for verb in ("retry", "resume", *refused.json["allowed"]):
        preview = api.post(f"{SAGAS}/{saga['id']}/{verb}?preview=true", {})
        assert preview.status == (200 if verb in refused.json["allowed"] else 409)


def test_a_choreographed_saga_is_replayed_and_nothing_else(api: Api) -> None:
    """Its services command themselves: 409 says so and what is possible, for acts and previews alike."""
    saga = _suspended(api)
    api.fetch("UPDATE saga SET part = -1 WHERE id = $1", saga["id"])
    before = api.digest()
    for verb, (members, _) in ACTS.items():
        for answer in (
            _act(api, saga, verb, {"If-Match": saga["etag"]}),
            api.post(f"{SAGAS}/{saga['id']}/{verb}?preview=true", members),
        ):
            assert (answer.status, answer.json["allowed"]) == (409, ["replay"])
            assert "choreographed" in answer.json["detail"]
    assert api.digest() == before


def test_a_preview_holds_for_its_version_only(api: Api) -> None:
    """A saga that has moved on since its preview is not touched: 412 says at which version it is now."""
    saga = _suspended(api)
    preview = api.post(f"{SAGAS}/{saga['id']}/compensate?preview=true", {})
    assert _act(api, saga, "resume", {"If-Match": preview.headers["etag"]}).status == 202
    before = api.digest()
    late = _act(api, saga, "compensate", {"If-Match": preview.headers["etag"]})
    assert (late.status, late.json["version"]) == (412, 3)
    again = api.post(f"{SAGAS}/{saga['id']}/compensate?preview=true", {"expected_version": 2})
    assert (again.status, again.json["version"]) == (412, 3)
    assert api.digest() == before


@pytest.mark.parametrize("verb", ACTS)
def test_of_fifty_hands_on_one_button_one_presses_it(api: Api, verb: str) -> None:
    """Fifty at once: one effect, one audit row, and all others hear how the saga stands now."""
    saga = _suspended(api)
    members = ACTS[verb][0]
    with ThreadPoolExecutor(MANY) as hands:
        answers = list(hands.map(lambda _: _act(api, saga, verb, {"If-Match": saga["etag"]}, **members), range(MANY)))
    taken = [answer for answer in answers if answer.status == 202]
    assert len(taken) == 1
    assert {answer.status for answer in answers} <= {202, 409, 412}
    assert {answer.json["version"] for answer in answers} == {3}
    _check_moved_once(api, saga)


def test_of_fifty_operators_with_different_verbs_one_acts(api: Api) -> None:
    """Whoever is first decides; nobody's act is added to another's."""
    saga = _suspended(api)
    verbs = [list(ACTS)[number % len(ACTS)] for number in range(MANY)]
    with ThreadPoolExecutor(MANY) as hands:
        answers = list(
            hands.map(lambda verb: _act(api, saga, verb, {"If-Match": saga["etag"]}, **ACTS[verb][0]), verbs)
        )
    assert sorted({answer.status for answer in answers} - {409, 412}) == [202]
    assert sum(answer.status == 202 for answer in answers) == 1
    _check_moved_once(api, saga)


def _check_moved_once(api: Api, saga: dict[str, Any]) -> None:
    [row] = api.fetch(
        "SELECT version, (SELECT count(*) FROM audit_log WHERE saga_id = s.id AND outcome = 'done') AS acts,"
        " (SELECT count(*) FROM saga_log WHERE saga_id = s.id AND version > 2) AS entries"
        " FROM saga AS s WHERE id = $1",
        saga["id"],
    )
    assert tuple(row) == (3, 1, 1)


def _key() -> str:
    return f"verb-{secrets.token_hex(6)}"


def _suspended(api: Api) -> dict[str, Any]:
    saga: dict[str, Any] = api.post(SAGAS, order(_key())).json
    api.fetch(
        "UPDATE saga SET status = 'suspended', version = 2, wake_at = NULL, deadline = NULL WHERE id = $1", saga["id"]
    )
    return {**saga, "etag": '"2"'}


def _act(api: Api, saga: dict[str, Any], verb: str, headers: dict[str, str] | None = None, **members: Any) -> Answer:
    required = ACTS[verb][0] if verb in ACTS and not members else {}
    return api.post(f"{SAGAS}/{saga['id']}/{verb}", {"reason": "seen at night", **required, **members}, headers)
