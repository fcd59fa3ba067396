"""Sensitive fields: whoever may not see them finds them nowhere, whatever they ask for; nor are they in the log."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

import pytest

from coordinator.api.openapi import EVENT_STREAM
from tests.integration.api.desk import Desk, reply
from tests.integration.api.server import Api, order

TOKEN, MAIL, STREET, ACCOUNT = (f"canary-{word}-{secrets.token_hex(4)}" for word in ("tok", "mail", "street", "acc"))
CANARIES = (TOKEN, MAIL, STREET, ACCOUNT)
SEEN_BY_NOBODY_ELSE = ("viewer", "service")


def secret_order(number: str) -> dict[str, Any]:
    """Make an order whose sensitive fields are canaries."""
    address = {"country": "NL", "city": "Delft", "street": STREET}
    return order(number, card={"token": TOKEN}, email=f"{MAIL}@example.org", address=address)


def secret_transfer(number: str) -> dict[str, Any]:
    """Make a transfer between accounts that are canaries: its commands carry parts of its input."""
    emails = dict.fromkeys(("source_email", "destination_email"), f"{MAIL}@example.org")
    made = {"transfer_id": number, "source_account": f"{ACCOUNT}-1", "destination_account": f"{ACCOUNT}-2", **emails}
    return {"definition": "BankTransfer", "input": made | {"amount_minor": 1, "currency": "EUR"}}


@pytest.fixture
async def places(desk: Desk) -> dict[str, list[str]]:
    """Put canaries wherever there is room for one; answers what stands for the words in braces of a path."""
    sagas = []
    mark = secrets.token_hex(4)
    for body in (secret_order(f"secret-order-{mark}"), secret_transfer(f"secret-transfer-{mark}")):
        answer = await desk.post("/v1/sagas", body)
        assert answer.status_code in (200, 201), answer.text
        sagas.append(str(answer.json()["id"]))
    ordered, transfer = sagas
    edited = {"actor": "ann", "payload": {"source_account": f"{ACCOUNT}-1", "amount_minor": 2}, "now_ms": 1}
    await desk.office.ask(
        "INSERT INTO saga_log (saga_id, version, at, part, event, step_name, status, data)"
        " SELECT id, 2, now(), part, 'RetryRequested', 'debit_source', 'started', $2 FROM saga WHERE id = $1"
        " ON CONFLICT DO NOTHING",
        *(transfer, json.dumps(edited).encode()),
    )
    given = secret_order("")["input"]
    letters = [
        await desk.letter(reply(ordered, payload=given), ordered.encode(), saga_id=ordered),
        await desk.letter(reply(ordered, attempt=TOKEN, step_name=MAIL), STREET.encode()),
        await desk.letter(f"{ACCOUNT} {TOKEN}".encode(), None, [("note", MAIL.encode())]),
    ]
    incident = await desk.incident(ordered)
    await desk.office.ask("UPDATE incident SET detail = $2 WHERE id = $1", incident, f"refused: the card {TOKEN}")
    await desk.office.ask("UPDATE dead_letter SET detail = $2 WHERE id = $1", letters[0], f"{STREET} is no street")
    failed = {"attempt": 1, "error": {"code": "no", "message": f"{MAIL}@example.org", "retryable": False}}
    await desk.office.ask(
        "INSERT INTO saga_log (saga_id, version, at, part, event, step_name, status, data)"
        " SELECT id, 2, now(), part, 'StepFailed', 'reserve_inventory', 'started', $2 FROM saga WHERE id = $1",
        *(ordered, json.dumps(failed).encode()),
    )
    [operation] = await desk.office.ask(
        "INSERT INTO batch_operation (id, actor, reason, verb, members, filter, statuses, confirmation, rate, total)"
        " VALUES (gen_random_uuid(), 'ann', 'why', 'resolve', $1, '{}', '{suspended}', $2, 1, 0) RETURNING id::text",
        *(json.dumps({"step": "debit_source", "result": {"account": ACCOUNT}}), secrets.token_bytes(32)),
    )
    return {
        "operation_id": [operation["id"]],
        "saga_id": sagas,
        "letter_id": [str(letter) for letter in letters],
        "incident_id": [str(incident)],
        "name": ["inventory", "OrderFulfillment"],
        "version": ["1"],
    }


async def test_whoever_may_not_see_them_finds_sensitive_fields_nowhere(
    desk: Desk, places: Mapping[str, list[str]]
) -> None:
    """Of all that can be looked at nothing shows a sensitive field to a viewer or a service; operators see them."""
    seen: dict[str, set[str]] = {}
    for path in _paths(desk, places):
        for role in (*SEEN_BY_NOBODY_ELSE, "operator", "admin"):
            text = (await desk.get(path, role)).text
            seen.setdefault(role, set()).update(canary for canary in CANARIES if canary in text)
            if role in SEEN_BY_NOBODY_ELSE:
                assert not [canary for canary in CANARIES if canary in text], (role, path)
    assert seen["operator"] == seen["admin"] == set(CANARIES)


async def test_what_is_masked_keeps_its_place(desk: Desk, places: Mapping[str, list[str]]) -> None:
    """A viewer sees that there is a card, an address and an account, in the input, in payloads and in the log."""
    ordered, transfer = places["saga_id"]
    shown = (await desk.get(f"/v1/sagas/{ordered}", "viewer")).json()["input"]
    assert (shown["card"], shown["address"]) == ({"token": "[masked]"}, "[masked]")
    assert shown["customer_id"] == "customer-7"
    saga = (await desk.get(f"/v1/sagas/{transfer}?include=log", "viewer")).json()
    assert saga["steps"][0]["payload"]["source_account"] == "[masked]"
    assert saga["steps"][0]["payload"]["amount_minor"] == 1
    for entries in (saga["log"], (await desk.get(f"/v1/sagas/{transfer}/log", "viewer")).json()["entries"]):
        assert entries[1]["data"]["payload"] == {"source_account": "[masked]", "amount_minor": 2}


async def test_of_a_definition_that_is_not_known_nothing_is_shown(desk: Desk, places: Mapping[str, list[str]]) -> None:
    """Where the process cannot know what is sensitive, a viewer sees neither input nor payloads."""
    [saga_id, _] = places["saga_id"]
    await desk.office.ask(
        "WITH made AS (INSERT INTO saga_definition (name, version) VALUES ('Unknown', 1) RETURNING id)"
        " UPDATE saga SET definition_id = made.id FROM made WHERE saga.id = $1",
        saga_id,
    )
    assert (await desk.get(f"/v1/sagas/{saga_id}", "viewer")).json()["input"] == "[masked]"
    assert (await desk.get(f"/v1/sagas/{saga_id}", "admin")).json()["input"]["card"] == {"token": TOKEN}


def test_neither_log_nor_metrics_hold_sensitive_fields(api: Api) -> None:
    """A process that starts, refuses and shows sagas writes none of their sensitive fields to its log or metrics."""
    good, wrong = secret_order("logged"), secret_order("logged-wrong")
    wrong["input"]["email"] = f"{MAIL} is no address"
    wrong["input"][TOKEN] = STREET
    started = api.post("/v1/sagas", good)
    assert started.status == 201
    assert api.post("/v1/sagas", wrong).status == 422
    assert api.post("/v1/sagas/bulk", {"sagas": [secret_order("logged-2"), wrong]}).status == 200
    assert api.post("/v1/sagas", secret_order("logged") | {"version": 9}).status == 422
    assert TOKEN in api.get(f"/v1/sagas/{started.json['id']}").body.decode()
    said = api.child.output() + api.metrics().body.decode()
    assert "saga_http_request_seconds" in said
    assert not [canary for canary in CANARIES if canary in said]


def _paths(desk: Desk, places: Mapping[str, list[str]]) -> list[str]:
    """Every path that can be looked at, with everything there is in the place of words in braces."""
    paths = []
    for route in desk.routes:
        streams = any(answer.media_type == EVENT_STREAM for answer in route.document.answers.values())
        if route.method != "GET" or streams:
            continue
        made = [route.path]
        for name, values in places.items():
            made = [path.replace(f"{{{name}}}", value) for path in made for value in values]
        assert not [path for path in made if "{" in path], f"{route.path}: say what stands for the words in braces"
        paths += sorted({*made})
    return [*paths, *(f"/v1/sagas/{saga_id}?include=log" for saga_id in places["saga_id"])]
