"""Incidents over REST: taken, written about and closed, each act once, and lists that stay quick."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import pytest

from coordinator.services.incidents import BY_HAND
from tests.integration.api.desk import Desk
from tests.integration.api.server import order

INCIDENTS = "/v1/incidents"
MANY = 100_000
SAMPLES = 25
PAGE_S = 0.05


async def _saga(desk: Desk, number: str, *, suspended: bool = False) -> str:
    answer = await desk.post("/v1/sagas", order(number))
    saga_id = str(answer.json()["id"])
    if suspended:
        await desk.office.suspend(saga_id)
    return saga_id


async def _row(desk: Desk, incident: int) -> Any:
    return await desk.office.ask("SELECT row_to_json(i)::text FROM incident AS i WHERE id = $1", incident)


async def test_an_incident_of_a_foreign_saga_is_not_there(desk: Desk) -> None:
    """Who is bound to other definitions neither sees it, alone or in lists, nor acts on it; whose it is does both."""
    incident = await desk.incident(await _saga(desk, "incident-foreign"), "late")
    one, strange, own = f"{INCIDENTS}/{incident}", "operator@BankTransfer", "operator@OrderFulfillment"
    before = await _row(desk, incident)
    missing = await desk.get(f"{INCIDENTS}/999999999", strange)
    foreign = await desk.get(one, strange)
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.json()["detail"].replace(str(incident), "999999999") == missing.json()["detail"]
    for end, body in (("assign", {"assignee": "eve"}), ("notes", {"text": "ha"}), ("resolve", {"reason": "mine"})):
        assert (await desk.post(f"{one}/{end}", body, strange)).status_code == 404
    for query in ("", "?state=open", "?state=open&reason=late", "?definition=OrderFulfillment"):
        assert (await desk.get(f"{INCIDENTS}{query}", strange)).json()["incidents"] == []
        listed = (await desk.get(f"{INCIDENTS}{query}", own)).json()["incidents"]
        assert incident in [each["id"] for each in listed]
    assert await _row(desk, incident) == before
    assert (await desk.post(f"{one}/notes", {"text": "seen"}, own)).status_code == 200


async def test_an_incident_is_taken_written_about_and_closed(desk: Desk) -> None:
    """Each act answers how the incident stands, is in the audit with who, why and before and after, and is shown."""
    saga_id = await _saga(desk, "incident-1")
    incident = await desk.incident(saga_id, "late")
    one = f"{INCIDENTS}/{incident}"
    shown = await desk.get(one, "viewer")
    assert (shown.headers["etag"], shown.json()["state"], shown.json()["closed_by"]) == ('"0-open"', "open", "hand")
    assert (shown.json()["saga"]["id"], shown.json()["definition"]) == (saga_id, "OrderFulfillment")
    taken = await desk.post(f"{one}/assign", {"assignee": "ann"}, if_match=shown.headers["etag"])
    assert (taken.status_code, taken.json()["assignee"], taken.headers["etag"]) == (200, "ann", '"1-open"')
    assert (await desk.post(f"{one}/notes", {"text": "looked into it\nthe carrier is slow"})).status_code == 200
    closed = await desk.post(f"{one}/resolve", {"reason": "the customer knows"})
    assert (closed.json()["state"], closed.json()["resolved_by"]) == ("resolved", "the operator")
    detail = (await desk.get(one)).json()
    assert [(note["actor"], note["text"]) for note in detail["notes"]] == [
        ("the operator", "looked into it\nthe carrier is slow")
    ]
    assert (detail["resolved_because"], detail["acts"], detail["verbs"]) == ("the customer knows", 3, [])
    [of_saga] = (await desk.get(f"/v1/sagas/{saga_id}")).json()["incidents"]
    assert (of_saga["id"], of_saga["assignee"], of_saga["resolved_because"]) == (incident, "ann", "the customer knows")
    who = "the operator"
    assert await desk.audit(subject=f"incident:{incident}") == [
        (who, "assign_incident", "assigned to ann", True, {"assignee": None}, {"assignee": "ann"}),
        (who, "note_incident", detail["notes"][0]["text"], True, None, {"note": detail["notes"][0]["id"]}),
        (who, "resolve_incident", "the customer knows", True, {"state": "open"}, {"state": "resolved"}),
    ]


async def test_an_incident_can_be_given_back(desk: Desk) -> None:
    """Nobody looks after it then, since no moment."""
    incident = await desk.incident(await _saga(desk, "back"))
    await desk.post(f"{INCIDENTS}/{incident}/assign", {"assignee": "ann"})
    answer = await desk.post(f"{INCIDENTS}/{incident}/assign", {"assignee": None, "reason": "on leave"})
    assert (answer.json()["assignee"], answer.json()["assigned_at"]) == (None, None)


async def test_of_two_operators_one_acts(desk: Desk) -> None:
    """Two people who close, or take, an incident at once under the same ETag: one does, one is told how it stands."""
    saga_id = await _saga(desk, "two")
    incident = await desk.incident(saga_id)
    one = f"{INCIDENTS}/{incident}"
    answers = await asyncio.gather(
        *(desk.post(f"{one}/assign", {"assignee": name}, if_match='"0-open"') for name in ("ann", "ben"))
    )
    assert sorted(answer.status_code for answer in answers) in ([200, 409], [200, 412])
    lost = max(answers, key=lambda answer: answer.status_code).json()
    assert (lost["incident_state"], lost["incident_id"]) == ("open", incident)
    assert len(await desk.audit(subject=f"incident:{incident}")) == 1
    answers = await asyncio.gather(*(desk.post(f"{one}/resolve", {"reason": "done"}) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert max(answers, key=lambda answer: answer.status_code).json()["incident_state"] == "resolved"


async def test_what_a_verb_closes_is_not_closed_by_hand(desk: Desk) -> None:
    """While a saga is suspended, its verbs are asked for: closing the incident alone would hide what is to be done."""
    saga_id = await _saga(desk, "by-verb", suspended=True)
    incident = await desk.incident(saga_id, "retries_exhausted", step="reserve_inventory")
    shown = (await desk.get(f"{INCIDENTS}/{incident}")).json()
    assert shown["closed_by"] == "verb"
    assert {"retry", "abandon", "compensate"} <= set(shown["verbs"])
    before = await _row(desk, incident)
    answer = await desk.post(f"{INCIDENTS}/{incident}/resolve", {"reason": "looks fine"})
    assert (answer.status_code, answer.json()["saga_status"]) == (409, "suspended")
    assert await _row(desk, incident) == before
    await desk.office.ask("UPDATE saga SET status = 'completed' WHERE id = $1", saga_id)
    assert (await desk.get(f"{INCIDENTS}/{incident}")).json()["closed_by"] == "hand"
    assert (await desk.post(f"{INCIDENTS}/{incident}/resolve", {"reason": "it went on"})).status_code == 200


@pytest.mark.parametrize("reason", sorted(BY_HAND))
async def test_what_no_verb_closes_is_closed_by_hand(desk: Desk, reason: str) -> None:
    """What tells of something that has happened can be closed whatever the saga does."""
    saga_id = await _saga(desk, f"by-hand-{reason}", suspended=True)
    incident = await desk.incident(saga_id, reason)
    assert (await desk.post(f"{INCIDENTS}/{incident}/resolve", {"reason": "seen"})).status_code == 200


async def test_a_saga_that_was_archived_has_incidents_still(desk: Desk) -> None:
    """An incident outlives its saga, and can be closed."""
    incident = await desk.incident("0198c0de-0000-7000-8000-000000000001", "retries_exhausted")
    shown = (await desk.get(f"{INCIDENTS}/{incident}")).json()
    assert (shown["saga"], shown["definition"], shown["closed_by"], shown["verbs"]) == (None, None, "hand", [])
    assert (await desk.post(f"{INCIDENTS}/{incident}/resolve", {"reason": "gone"})).status_code == 200


@pytest.mark.parametrize(
    ("act", "body", "pointer"),
    [
        ("assign", {}, "/assignee"),
        ("assign", {"assignee": ""}, "/assignee"),
        ("assign", {"assignee": " "}, "/assignee"),
        ("assign", {"assignee": "x" * 201}, "/assignee"),
        ("assign", {"assignee": "ann", "reason": "\u0007"}, "/reason"),
        ("notes", {"text": " \n "}, "/text"),
        ("notes", {"text": "\u0007"}, "/text"),
        ("notes", {"text": "x" * 2_001}, "/text"),
        ("resolve", {"reason": ""}, "/reason"),
        ("resolve", {"reason": "r", "what": 1}, "/what"),
    ],
)
async def test_a_wrong_act_changes_nothing(desk: Desk, act: str, body: dict[str, Any], pointer: str) -> None:
    """What says nothing, or too much, is refused at its place and leaves no trace."""
    incident = await desk.incident("0198c0de-0000-7000-8000-000000000002", version=time.monotonic_ns() % 2**31)
    before = await _row(desk, incident)
    answer = await desk.post(f"{INCIDENTS}/{incident}/{act}", body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert await _row(desk, incident) == before
    assert await desk.audit(subject=f"incident:{incident}") == []


@pytest.mark.parametrize("incident_id", ["0", "x", "9" * 19, "-1"])
async def test_what_is_no_incident_is_not_found(desk: Desk, incident_id: str) -> None:
    """An id that no incident has is 404, whatever it looks like."""
    assert (await desk.get(f"{INCIDENTS}/{incident_id}")).status_code == 404
    assert (await desk.post(f"{INCIDENTS}/{incident_id}/notes", {"text": "x"})).status_code == 404


async def test_who_may_only_look_does_not_act(desk: Desk) -> None:
    """A viewer sees incidents and changes none; a service does not even see them."""
    incident = await desk.incident(await _saga(desk, "roles"))
    for act, body in (("assign", {"assignee": "v"}), ("notes", {"text": "v"}), ("resolve", {"reason": "v"})):
        assert (await desk.post(f"{INCIDENTS}/{incident}/{act}", body, "viewer")).status_code == 403
    assert (await desk.get(INCIDENTS, "service")).status_code == 403


async def test_incidents_are_listed_by_what_is_asked_for(desk: Desk) -> None:
    """Each filter leaves out what does not fit, and pages follow each other without gaps or repeats."""
    saga_id = await _saga(desk, "listed")
    made = [await desk.incident(saga_id, f"made_{number % 2}", version=number + 1) for number in range(6)]
    await desk.post(f"{INCIDENTS}/{made[0]}/assign", {"assignee": "list-ann"})
    await desk.post(f"{INCIDENTS}/{made[2]}/assign", {"assignee": "list-ann"})
    await desk.post(f"{INCIDENTS}/{made[1]}/resolve", {"reason": "done"})
    for query, wanted in (
        ("reason=made_1&state=open", [made[5], made[3]]),
        ("reason=made_1", [made[5], made[3], made[1]]),
        ("assignee=list-ann&state=open", [made[2], made[0]]),
        ("assignee=list-ann&reason=made_0&definition=OrderFulfillment", [made[2], made[0]]),
        ("reason=made_1&definition=TravelBooking", []),
        ("reason=made_1&state=resolved", [made[1]]),
        ("reason=made_1&since=2099-01-01T00:00:00Z", []),
    ):
        for limit in (1, 50):
            assert await _all(desk, f"{query}&limit={limit}") == wanted, query


async def _all(desk: Desk, query: str) -> list[int]:
    found: list[int] = []
    cursor = ""
    while True:
        page = (await desk.get(f"{INCIDENTS}?{query}{cursor}", "viewer")).json()
        found += [incident["id"] for incident in page["incidents"]]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


@pytest.mark.parametrize("query", ["state=lost", "reason=", "definition=x", "since=now", "limit=0", "nothing=1"])
async def test_a_list_is_asked_for_in_its_own_words(desk: Desk, query: str) -> None:
    """What is no filter, or no value of one, is refused with the parameter's name."""
    answer = await desk.get(f"{INCIDENTS}?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, query.partition("=")[0])


async def test_a_hundred_thousand_open_incidents_are_no_matter(desk: Desk) -> None:
    """With so many open incidents the median page of each list comes within 50 ms, whatever is asked for."""
    await desk.office.ask(
        "INSERT INTO incident (saga_id, saga_version, reason, detail, assignee, assigned_at)"
        " SELECT gen_random_uuid(), 1, CASE WHEN n % 1000 = 0 THEN 'rare' ELSE 'retries_exhausted' END, 'why',"
        " CASE WHEN n % 500 = 0 THEN 'ann' END, CASE WHEN n % 500 = 0 THEN now() END"
        " FROM generate_series(1, $1) AS n",
        MANY,
    )
    await desk.office.ask("ANALYZE incident")
    medians: dict[str, float] = {}
    for query in (
        "state=open",
        "state=open&reason=rare",
        "state=open&reason=nothing",
        "state=open&assignee=ann",
        "state=open&definition=OrderFulfillment",
        "definition=TravelBooking",
        "state=resolved",
        "assignee=nobody&reason=rare",
    ):
        times = []
        for _ in range(SAMPLES):
            began = time.perf_counter()
            assert (await desk.get(f"{INCIDENTS}?{query}")).status_code == 200
            times.append(time.perf_counter() - began)
        medians[query] = statistics.median(times)
    assert max(medians.values()) <= PAGE_S, medians
