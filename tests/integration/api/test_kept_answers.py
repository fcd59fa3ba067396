"""Idempotency-Key: the same request under the same key happens once and is answered the same, whatever goes wrong."""

from __future__ import annotations

import json
import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.api.bad_requests import SAGAS
from tests.integration.api.server import Answer, Api, order

MANY = 50
BULK = f"{SAGAS}/bulk"


def _new() -> str:
    return f"kept-{secrets.token_hex(6)}"


def _start(api: Api, number: str, key: str, **changes: Any) -> Answer:
    return api.post(SAGAS, order(number, **changes), {"Idempotency-Key": key})


def _suspended(api: Api) -> str:
    saga_id: str = api.post(SAGAS, order(_new())).json["id"]
    api.fetch(
        "UPDATE saga SET status = 'suspended', version = 2, wake_at = NULL, deadline = NULL WHERE id = $1", saga_id
    )
    return saga_id


def _kept(api: Api, key: str) -> Any:
    return api.fetch("SELECT * FROM idempotency_key WHERE key = $1", key)


def test_the_same_request_hears_the_same_answer(api: Api) -> None:
    """Status, body and headers are those of the first time, and the header says that nothing was done again."""
    number, key = _new(), _new()
    first = _start(api, number, key)
    api.fetch("UPDATE saga SET version = version + 1 WHERE id = $1", first.json["id"])
    before = api.digest()
    again = _start(api, number, key)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert [again.headers[name] for name in ("etag", "location", "content-type")] == [
        first.headers[name] for name in ("etag", "location", "content-type")
    ]
    assert api.digest() == before


def test_fifty_at_once_start_one_saga(api: Api) -> None:
    """Each hears of the one saga, or that the same request is being answered and when to ask again."""
    number, key = _new(), _new()
    with ThreadPoolExecutor(MANY) as hands:
        answers = list(hands.map(lambda _: _start(api, number, key), range(MANY)))
    in_flight = [answer for answer in answers if answer.status == 409]
    assert all(answer.headers["retry-after"] == "1" for answer in in_flight)
    done = [answer for answer in answers if answer.status == 201]
    assert len(done) + len(in_flight) == MANY
    assert len({answer.body for answer in done}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in done) == 1
    assert len(api.fetch("SELECT 1 FROM saga WHERE business_key = $1", number)) == 1


def test_fifty_verbs_at_once_happen_once_and_are_answered_alike(api: Api) -> None:
    """A verb under one key: nobody hears 412, for it is one act that was sent fifty times."""
    saga_id, key = _suspended(api), _new()
    act = {"reason": "again and again", "expected_version": 2}
    target = f"{SAGAS}/{saga_id}/retry"
    with ThreadPoolExecutor(MANY) as hands:
        answers = list(hands.map(lambda _: api.post(target, act, {"Idempotency-Key": key}), range(MANY)))
    assert {answer.status for answer in answers if answer.json.get("type", "").endswith("in-flight")} <= {409}
    done = {answer.body for answer in answers if answer.status == 202}
    assert len(done) == 1
    assert {answer.status for answer in answers} <= {202, 409}
    last = api.post(target, act, {"Idempotency-Key": key})
    assert (last.status, {last.body}) == (202, done)
    assert len(api.fetch("SELECT 1 FROM audit_log WHERE saga_id = $1 AND outcome = 'done'", saga_id)) == 1


@pytest.mark.parametrize("what", ["body", "path", "query", "condition"])
def test_a_key_stands_for_one_request(api: Api, what: str) -> None:
    """The same key with anything else is 422, and nothing changes."""
    saga_id, key = _suspended(api), _new()
    target, act, headers = f"{SAGAS}/{saga_id}/resume", {"reason": "r"}, {"If-Match": '"2"', "Idempotency-Key": key}
    assert api.post(target, act, headers).status == 202
    before = api.digest()
    other = {
        "body": (target, {"reason": "s"}, headers),
        "path": (f"{SAGAS}/{saga_id}/suspend", act, headers),
        "query": (f"{target}?preview=false", act, headers),
        "condition": (target, act, {**headers, "If-Match": '"3"'}),
    }[what]
    answer = api.post(*other)
    assert (answer.status, answer.json["type"].rpartition(":")[2]) == (422, "idempotency-key-reused")
    assert answer.json["errors"][0]["header"] == "Idempotency-Key"
    assert api.digest() == before


def test_a_refusal_by_the_state_of_things_is_kept(api: Api) -> None:
    """409 is an answer: the same request hears it again, even when it would be possible now."""
    number, key = _new(), _new()
    assert api.post(SAGAS, order(number)).status == 201
    taken = _start(api, number, key, amount_cents=1)
    again = _start(api, number, key, amount_cents=1)
    assert (taken.status, again.status, again.body) == (409, 409, taken.body)
    assert again.headers["idempotency-replayed"] == "true"


def test_what_never_was_a_request_uses_no_key(api: Api) -> None:
    """After 422 the same key takes the mended request."""
    number, key = _new(), _new()
    assert _start(api, number, key, amount_cents=-1).status == 422
    assert _kept(api, key) == []
    assert _start(api, number, key).status == 201


def test_a_preview_uses_no_key(api: Api) -> None:
    """A preview shows the present, whatever key it brings."""
    saga_id, key = _suspended(api), _new()
    target, headers = f"{SAGAS}/{saga_id}/resume?preview=true", {"Idempotency-Key": key}
    assert api.post(target, {}, headers).json["version"] == 2
    assert _kept(api, key) == []


def test_a_bulk_start_is_answered_again(api: Api) -> None:
    """A thousand sagas are one answer."""
    key = _new()
    body = {"sagas": [order(_new()) for _ in range(200)]}
    first = api.post(BULK, body, {"Idempotency-Key": key})
    again = api.post(BULK, body, {"Idempotency-Key": key})
    assert first.json["counts"]["created"] == 200
    assert (again.status, again.body) == (first.status, first.body)


def test_an_act_whose_process_died_before_it_answered_is_taken_over(api: Api) -> None:
    """Half a minute after the claim the same request finds that its act was done: 202, once, and not 412."""
    saga_id, key = _suspended(api), _new()
    target, act = f"{SAGAS}/{saga_id}/retry", {"reason": "the same", "expected_version": 2}
    assert api.post(target, act, {"Idempotency-Key": key}).status == 202
    # As it is when a process dies between the act and its answer.
    api.fetch("UPDATE idempotency_key SET status = NULL, headers = NULL, body = NULL WHERE key = $1", key)
    waiting = api.post(target, act, {"Idempotency-Key": key})
    assert (waiting.status, waiting.headers["retry-after"]) == (409, "1")
    api.fetch("UPDATE idempotency_key SET claimed_at = now() - interval '31 seconds' WHERE key = $1", key)
    before = api.digest()
    answer = api.post(target, act, {"Idempotency-Key": key})
    assert (answer.status, answer.json["version"]) == (202, 3)
    assert api.digest() == before
    assert api.post(target, act, {"Idempotency-Key": key}).headers["idempotency-replayed"] == "true"


def test_a_day_later_the_key_is_free(api: Api) -> None:
    """A key that is older than a day takes any request."""
    key = _new()
    assert _start(api, _new(), key).status == 201
    api.fetch("UPDATE idempotency_key SET created_at = now() - interval '25 hours' WHERE key = $1", key)
    assert _start(api, _new(), key).status == 201
    assert [row["tries"] for row in _kept(api, key)] == [1]


def test_whoever_went_away_hears_the_answer_when_he_comes_back(api: Api) -> None:
    """A client that is gone before its answer finds the saga begun once, and hears of it under its key."""
    number, key = _new(), _new()
    body = json.dumps(order(number)).encode()
    head = f"POST {SAGAS} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\n"
    with socket.create_connection((api.host, api.port), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    until = time.monotonic() + 10
    while not (kept := [row for row in _kept(api, key) if row["status"]]) and time.monotonic() < until:
        time.sleep(0.02)
    assert [row["status"] for row in kept] == [201]
    answer = _start(api, number, key)
    assert (answer.status, answer.headers["idempotency-replayed"]) == (201, "true")
    assert len(api.fetch("SELECT 1 FROM saga WHERE business_key = $1", number)) == 1
