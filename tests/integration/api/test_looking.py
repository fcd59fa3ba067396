"""Looking at sagas from every side: labels, fields, filters together, counts, commands, the timeline, definitions."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest

from coordinator.api.cursors import Cursors
from coordinator.saga.model import TERMINAL, SagaStatus
from coordinator.store.database import statement
from coordinator.store.reads import ListFilter
from tests.integration.api.bad_requests import SAGAS
from tests.integration.api.server import Api, order

GOING = [f"status={status}" for status in ("scheduled", "started", "pending", "compensating", "suspended")]
DEFINITION = "/v1/definitions/OrderFulfillment/versions/1"
WRONG_VALUES: list[Any] = ["", "x" * 201, "x\n", "\u0007", 1, None, ["x"], {}]
COUNTED = """
SELECT d.name AS definition, s.status, count(*) AS count
FROM saga AS s JOIN saga_definition AS d ON d.id = s.definition_id GROUP BY d.name, s.status ORDER BY d.name, s.status
"""


def start(api: Api, labels: dict[str, str] | None = None, **changes: Any) -> Any:
    """Start an order of its own, and answer what came back."""
    body = order(f"look-{secrets.token_hex(6)}", **changes)
    answer = api.post(SAGAS, body if labels is None else {**body, "labels": labels})
    assert answer.status == 201, answer.body
    return answer.json


def found(api: Api, query: str) -> list[str]:
    """The ids of a list's first page."""
    answer = api.get(f"{SAGAS}?{query}")
    assert answer.status == 200, answer.body
    return [saga["id"] for saga in answer.json["sagas"]]


def test_a_saga_is_found_by_its_labels(api: Api) -> None:
    """A label finds the sagas that were started with it; of several all must fit."""
    tenant = f"t-{secrets.token_hex(4)}"
    one = start(api, {"tenant": tenant, "region": "eu"})["id"]
    two = start(api, {"tenant": tenant, "region": "us: west"})["id"]
    start(api)
    assert found(api, f"label=tenant:{tenant}") == [two, one]
    assert found(api, f"label=tenant:{tenant}&label=region:eu") == [one]
    assert found(api, f"{urlencode({'label': 'region:us: west'})}&label=tenant:{tenant}&status=started") == [two]
    assert found(api, f"label=tenant:{tenant}&status=completed") == []
    assert found(api, f"label=tenant:{tenant}x") == []
    assert api.get(f"{SAGAS}/{one}").json["labels"] == {"tenant": tenant, "region": "eu"}
    listed = api.get(f"{SAGAS}?label=tenant:{tenant}&fields=labels").json["sagas"]
    assert listed[1] == {"id": one, "labels": {"tenant": tenant, "region": "eu"}}


def test_sagas_of_a_bulk_have_labels_of_their_own(api: Api) -> None:
    """Each saga of a call takes its own labels; one whose labels are wrong is refused alone."""
    mark = secrets.token_hex(4)
    bodies = [{**order(f"bulk-{mark}-{number}"), "labels": {"bulk": f"{mark}-{number % 2}"}} for number in range(4)]
    bodies.append({**order(f"bulk-{mark}-4"), "labels": {"Bulk": "x"}})
    items = api.post(f"{SAGAS}/bulk", {"sagas": bodies}).json["items"]
    assert [item["outcome"] for item in items] == ["created"] * 4 + ["invalid"]
    assert items[4]["problem"]["errors"][0]["pointer"].startswith("/sagas/4/labels")
    assert found(api, f"label=bulk:{mark}-1") == sorted((items[1]["saga"]["id"], items[3]["saga"]["id"]), reverse=True)


def test_the_labels_of_the_first_start_stay(api: Api) -> None:
    """Labels are no part of what makes two requests the same: the same order with others finds the same saga."""
    body = order(f"again-{secrets.token_hex(4)}")
    first = api.post(SAGAS, {**body, "labels": {"tenant": "acme"}}).json
    again = api.post(SAGAS, {**body, "labels": {"tenant": "other", "more": "x"}})
    assert (again.status, again.json["id"]) == (200, first["id"])
    assert api.get(f"{SAGAS}/{first['id']}").json["labels"] == {"tenant": "acme"}


@pytest.mark.parametrize(
    "labels",
    [
        *({name: "x"} for name in ("", "A", "1a", "a b", "a\u00e9", "a" * 64, "a:b")),
        *({"a": wrong} for wrong in WRONG_VALUES),
        {f"l{number}": "x" for number in range(9)},
        *([], "x", None, 5),
    ],
    ids=lambda labels: ascii(labels)[:40],
)
def test_a_bad_label_is_refused_and_nothing_begins(api: Api, labels: Any) -> None:
    """A name or a value that cannot be, and too many, get 422 with a pointer, and change nothing."""
    before = api.digest()
    answer = api.post(SAGAS, {**order("bad-label"), "labels": labels})
    assert answer.status == 422
    assert answer.json["errors"][0]["pointer"].startswith("/labels")
    assert api.digest() == before


def test_sagas_are_found_where_they_wait(api: Api) -> None:
    """The step and its participant find a saga that waits there, and no other step does."""
    saga = start(api)["id"]
    for query in ("step=reserve_inventory", "participant=inventory", "step=reserve_inventory&participant=inventory"):
        assert saga in found(api, f"limit=200&status=started&{query}&definition=OrderFulfillment&version=1")
    for query in ("step=process_payment", "participant=payment", "step=reserve_inventory&participant=payment"):
        assert saga not in found(api, f"limit=200&{'&'.join(GOING)}&{query}")
    assert found(api, "status=started&step=of_no_definition") == []


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("step=reserve_inventory", "step"),
        ("participant=inventory", "participant"),
        ("step=reserve_inventory&status=completed", "step"),
        ("step=reserve_inventory&status=started&status=failed", "step"),
        ("participant=inventory&status=abandoned", "participant"),
        ("version=1", "version"),
        ("version=0&definition=OrderFulfillment", "version"),
        ("version=32768&definition=OrderFulfillment", "version"),
        ("version=x&definition=OrderFulfillment", "version"),
        ("step=&status=started", "step"),
        ("step=A-b&status=started", "step"),
        ("participant=%00&status=started", "participant"),
        ("label=tenant", "label"),
        ("label=:x", "label"),
        ("label=tenant:", "label"),
        ("label=Tenant:x", "label"),
        ("label=tenant:%00", "label"),
        ("label=tenant:" + "x" * 201, "label"),
        ("label=a:1&label=b:1&label=c:1&label=d:1", "label"),
        ("incident=", "incident"),
        ("incident=No-Such", "incident"),
        ("incident=late&incident=late", "incident"),
        ("since=2026-01-02T00:00:00Z&until=2026-01-02T00:00:00Z", "until"),
        ("fields=", "fields"),
        ("fields=input", "fields"),
        ("fields=id,,status", "fields"),
        ("fields=id&fields=status", "fields"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(api: Api, query: str, place: str) -> None:
    """A filter that makes no sense, alone or with others, gets 422 that names it and says what is wanted."""
    answer = api.get(f"{SAGAS}?{query}")
    assert (answer.status, answer.json["errors"][0]["parameter"]) == (422, place)


def test_the_step_filter_says_what_it_needs(api: Api) -> None:
    """The sentence of the refusal names the statuses with which a step can be asked for."""
    detail = api.get(f"{SAGAS}?step=create_shipment").json["detail"]
    assert detail.startswith("step: the step filter requires a status that is not terminal")
    assert all(query.removeprefix("status=") in detail for query in GOING)


def test_fields_choose_the_members_of_an_answer(api: Api) -> None:
    """A list and a saga have the members that were asked for, and always the id; an unknown one is refused."""
    saga = start(api)
    key = saga["business_key"]
    [listed] = api.get(f"{SAGAS}?business_key={key}&fields=status,version").json["sagas"]
    assert listed == {"id": saga["id"], "status": "started", "version": 1}
    answer = api.get(f"{SAGAS}/{saga['id']}?fields=steps,labels")
    assert set(answer.json) == {"id", "steps", "labels"}
    assert answer.headers["etag"] == '"1"'
    assert set(api.get(f"{SAGAS}/{saga['id']}?fields=log").json) == {"id", "log"}
    assert api.get(f"{SAGAS}/{saga['id']}?fields=all").status == 422


def test_a_saga_is_found_by_the_reason_of_its_open_incident(api: Api) -> None:
    """An open incident finds its saga, once however many there are; a closed one does not."""
    mark = f"reason_{secrets.token_hex(4)}"
    saga, other = start(api)["id"], start(api)["id"]
    for number, (saga_id, by) in enumerate([(saga, None), (saga, None), (other, "ann")]):
        api.fetch(
            "INSERT INTO incident (saga_id, saga_version, reason, detail, resolved_at, resolved_by)"
            " VALUES ($1, $2, $3, '', CASE WHEN $4::text IS NOT NULL THEN now() END, $4)",
            *(saga_id, 1 + number, mark, by),
        )
    assert found(api, f"incident={mark}") == [saga]
    assert found(api, f"incident={mark}&status=started&step=reserve_inventory") == [saga]
    assert found(api, f"incident={mark}&status=completed") == []


def test_counts_are_those_of_the_rows(api: Api) -> None:
    """Every start is counted at once, whichever statement began it."""
    before = {(count["definition"], count["status"]): count["count"] for count in _counts(api)["counts"]}
    start(api)
    api.post(f"{SAGAS}/bulk", {"sagas": [order(f"count-{secrets.token_hex(6)}") for _ in range(5)]})
    later = api.post(SAGAS, {**order(f"count-{secrets.token_hex(6)}"), "start_at": "2099-01-01T00:00:00Z"})
    assert later.status == 422
    answer = _counts(api)
    after = {(count["definition"], count["status"]): count["count"] for count in answer["counts"]}
    assert after["OrderFulfillment", "started"] == before.get(("OrderFulfillment", "started"), 0) + 6
    assert answer["total"] == sum(after.values()) == sum(row["count"] for row in api.fetch(COUNTED))
    assert _counts(api, "?definition=BankTransfer")["counts"] == []


def test_a_saga_shows_its_commands_and_its_timeline(api: Api) -> None:
    """A saga that has begun has one command and one interval, both open, and the history is complete."""
    saga = start(api)["id"]
    commands = api.get(f"{SAGAS}/{saga}/commands").json
    [command] = commands["commands"]
    assert commands["complete"] is True
    assert command["command_id"] == f"{saga}:1:reserve_inventory:action"
    assert (command["participant"], command["type"], command["attempt"]) == ("inventory", "ReserveItems", 1)
    assert (command["answered_at"], command["outcome"]) == (None, None)
    timeline = api.get(f"{SAGAS}/{saga}/timeline").json
    [interval] = timeline["intervals"]
    assert timeline["complete"] is True
    assert (interval["lane"], interval["step"], interval["kind"]) == ("forward", "reserve_inventory", "action")
    assert (interval["begin"], interval["end"]) == (command["issued_at"], None)


def test_a_history_without_its_beginning_says_so(api: Api) -> None:
    """Where the log's first days are gone nothing is made up."""
    saga = start(api)["id"]
    api.fetch("DELETE FROM saga_log WHERE saga_id = $1", saga)
    assert api.get(f"{SAGAS}/{saga}/commands").json == {"commands": [], "complete": False}
    assert api.get(f"{SAGAS}/{saga}/timeline").json == {"intervals": [], "complete": False}


@pytest.mark.parametrize("part", ["commands", "timeline", "log"])
def test_an_unknown_saga_has_no_parts(api: Api, part: str) -> None:
    """What there is not, and what cannot be, is not found; a parameter that nobody knows is refused."""
    for unknown in ("01890a5d-ac96-774b-bcce-b302099a8057", "x", "%00"):
        assert api.get(f"{SAGAS}/{unknown}/{part}").status == 404
    assert api.get(f"{SAGAS}/{start(api)['id']}/{part}?x=1").status == 422


def test_a_version_shows_what_it_says(api: Api) -> None:
    """A version has its steps as data, the JSON Schema of its input, and its counts."""
    start(api)
    version = api.get(DEFINITION).json
    assert (version["kind"], version["loaded"], version["known_by"]) == ("saga", True, version["replicas"])
    steps = version["document"]["steps"]
    assert [step["name"] for step in steps][:2] == ["reserve_inventory", "process_payment"]
    assert version["document"]["input"]["properties"]["order_id"]["type"] == "string"
    assert version["counts"]["started"] >= 1
    api.fetch(statement("recount_tally"))  # other tests have moved sagas behind the coordinator's back
    version = api.get(DEFINITION).json
    going = [count for status, count in version["counts"].items() if SagaStatus(status) not in TERMINAL]
    assert version["in_flight"] == sum(going)
    for path in ("Nothing/versions/1", "OrderFulfillment/versions/99", "OrderFulfillment/versions/x", "x/versions/1"):
        assert api.get(f"/v1/definitions/{path}").status == 404


def test_a_cursor_is_sealed_with_the_installations_secret(api: Api) -> None:
    """Whoever has the secret, which is another process of the installation, makes cursors that are taken here."""
    start(api)
    secret = bytes(api.fetch("SELECT secret FROM installation")[0]["secret"])
    last = UUID(int=2**128 - 1).bytes
    good = Cursors(secret).write("sagas", ListFilter(), last)
    assert found(api, f"cursor={good}&limit=5") == found(api, "limit=5")
    for wrong in (
        Cursors(b"x" * 32).write("sagas", ListFilter(), last),
        Cursors(secret).write("incidents", ListFilter(), last),
    ):
        assert api.get(f"{SAGAS}?cursor={wrong}").status == 400


def _counts(api: Api, query: str = "") -> Any:
    answer = api.get(f"{SAGAS}/counts{query}")
    assert answer.status == 200
    return answer.json
