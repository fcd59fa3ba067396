"""Starting sagas over HTTP: once per business key, alone or many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.integration.api.bad_requests import SAGAS
from tests.integration.api.server import Api, order

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_start_is_created_once_and_found_after_that(api: Api) -> None:
    """201 with Location and ETag, then 200 with the same saga and a mark that it is a repetition."""
    first = api.post(SAGAS, order("twice"), {"Idempotency-Key": "anything"})
    again = api.post(SAGAS, order("twice"), {"Idempotency-Key": "anything else"})
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    assert first.headers["location"] == f"{SAGAS}/{first.json['id']}"
    assert first.headers["etag"] == '"1"'
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert api.get(first.headers["location"]).json["business_key"] == "twice"


def test_the_order_of_keys_and_the_spelling_make_no_other_input(api: Api) -> None:
    """The same input is the same, however its JSON is written, and whether or not the version is named."""
    first = api.post(SAGAS, order("spelt"))
    body = order("spelt")
    body["input"] = dict(reversed(body["input"].items()))
    again = api.post(SAGAS, {**body, "version": 1})
    assert (again.status, again.json["id"]) == (200, first.json["id"])


def test_another_input_under_the_same_key_is_a_conflict(api: Api) -> None:
    """409 says which saga has the key, and nothing is written."""
    first = api.post(SAGAS, order("taken"))
    before = api.digest()
    answer = api.post(SAGAS, order("taken", amount_cents=1))
    assert (answer.status, answer.content_type) == (409, "application/problem+json")
    assert answer.json["saga_id"] == first.json["id"]
    assert api.digest() == before


def test_fifty_starts_of_one_key_at_once_give_one_saga(api: Api) -> None:
    """One of fifty parallel requests creates the saga, the others find it."""
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: api.post(SAGAS, order("crowd")), range(50)))
    assert sorted(answer.status for answer in answers) == [200] * 49 + [201]
    assert len({answer.json["id"] for answer in answers}) == 1
    assert len(api.fetch("SELECT 1 FROM saga WHERE business_key = 'crowd'")) == 1


def test_fifty_starts_of_one_key_with_two_inputs_give_one_saga(api: Api) -> None:
    """Whoever was first decides the input; the others with that input find it, the rest hear of the conflict."""

    def start(number: int) -> int:
        return api.post(SAGAS, order("quarrel", amount_cents=number % 2)).status

    with ThreadPoolExecutor(50) as threads:
        statuses = sorted(threads.map(start, range(50)))
    assert statuses == [200] * 24 + [201] + [409] * 25
    assert len(api.fetch("SELECT 1 FROM saga WHERE business_key = 'quarrel'")) == 1


def test_each_saga_of_a_call_has_an_outcome_of_its_own(api: Api) -> None:
    """Created, existing, conflicting and invalid ones stand side by side; nothing of the invalid ones is written."""
    api.post(SAGAS, order("bulk-old"))
    sagas = [
        order("bulk-old"),
        order("bulk-new"),
        order("bulk-new"),
        order("bulk-new", amount_cents=1),
        order("bulk-bad", currency="euro"),
        {**order("bulk-extra"), "id": "x"},
        {**order("bulk-unknown"), "definition": "Nothing"},
        "not a saga",
    ]
    answer = api.post(f"{SAGAS}/bulk", {"sagas": sagas})
    assert answer.status == 200
    items = answer.json["items"]
    outcomes = ["existing", "created", "existing", "conflict", "invalid", "invalid", "invalid", "invalid"]
    assert [item["outcome"] for item in items] == outcomes
    assert [item["index"] for item in items] == list(range(8))
    assert answer.json["counts"] == {"created": 1, "existing": 2, "conflict": 1, "invalid": 4, "failed": 0}
    assert items[1]["saga"]["id"] == items[2]["saga"]["id"] == items[3]["problem"]["saga_id"]
    pointers = [item["problem"]["errors"][0]["pointer"] for item in items[4:]]
    assert pointers == ["/sagas/4/input/currency", "/sagas/5/id", "/sagas/6/definition", "/sagas/7"]
    sent = [f"bulk-{what}" for what in ("old", "new", "bad", "extra", "unknown")]
    rows = api.fetch("SELECT business_key FROM saga_key WHERE business_key = ANY($1) ORDER BY 1", sent)
    assert [row["business_key"] for row in rows] == ["bulk-new", "bulk-old"]


def test_a_thousand_sagas_start_in_one_call(api: Api) -> None:
    """The largest call is one statement: all its sagas have the same created_at."""
    answer = api.post(f"{SAGAS}/bulk", {"sagas": [order(f"thousand-{number}") for number in range(1000)]})
    assert answer.json["counts"]["created"] == 1000
    rows = api.fetch("SELECT count(DISTINCT created_at) AS moments FROM saga WHERE business_key LIKE 'thousand-%'")
    assert rows[0]["moments"] == 1


def test_the_trace_context_is_kept_when_it_makes_sense(api: Api) -> None:
    """A valid traceparent goes with the saga; a broken one is left out without a complaint."""
    kept = api.post(SAGAS, order("traced"), {"traceparent": TRACE})
    broken = api.post(SAGAS, order("untraced"), {"traceparent": TRACE.replace("4bf", "xyz")})
    assert api.get(kept.headers["location"]).json["traceparent"] == TRACE
    assert api.get(broken.headers["location"]).json["traceparent"] is None


def test_what_was_committed_is_published_and_leaves_the_outbox(api: Api) -> None:
    """Without an engine anywhere, the first command reaches Kafka and its outbox row goes."""
    saga = api.post(SAGAS, order("published")).json

    def gone() -> bool:
        return not api.fetch("SELECT 1 FROM outbox WHERE saga_id = $1", saga["id"])

    api.child.wait_until(gone, timeout_s=15, what="done with the outbox")
