"""A key that is bound to some definitions: what is foreign is not there, and cannot be touched."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from deploy.local.stack import LocalStack
from tests.integration.api.guarded import Guarded, open_guarded
from tests.integration.api.server import order


class Shop(msgspec.Struct, frozen=True):
    """An API, a bound service's and a bound operator's token, a saga of theirs and a foreign one."""

    guarded: Guarded
    service: str
    operator: str
    own: str
    foreign: str


def transfer() -> dict[str, Any]:
    """A start request of another definition."""
    reference = f"transfer-{secrets.token_hex(4)}"
    sides = {
        "source_account": "acc-ann",
        "destination_account": "acc-bob",
        "source_email": "ann@example.org",
        "destination_email": "bob@example.org",
    }
    return {
        "definition": "BankTransfer",
        "input": {"transfer_id": reference, **sides, "amount_minor": 100, "currency": "EUR"},
    }


@pytest.fixture(scope="module")
def shop(stack: LocalStack) -> Iterator[Shop]:
    """Give a coordinator with a saga of each of two definitions."""
    with open_guarded(stack) as guarded:
        bound = {"definitions": ["OrderFulfillment"]}
        service = guarded.made(name="checkout", role="service", **bound)["secret"]
        operator = guarded.made(name="on-call", role="operator", **bound)["secret"]
        own = guarded.post("/v1/sagas", order(f"order-{secrets.token_hex(4)}"), service)
        foreign = guarded.post("/v1/sagas", transfer())
        assert (own.status, foreign.status) == (201, 201), (own.body, foreign.body)
        yield Shop(guarded, service, operator, own.json["id"], foreign.json["id"])


@pytest.mark.parametrize("suffix", ["", "?include=log", "/log"])
def test_a_foreign_saga_is_not_there(shop: Shop, suffix: str) -> None:
    """Its own saga is shown; a foreign one is answered exactly as one that does not exist."""
    assert shop.guarded.get(f"/v1/sagas/{shop.own}{suffix}", shop.service).status == 200
    assert shop.guarded.get(f"/v1/sagas/{shop.foreign}{suffix}").status == 200
    foreign = shop.guarded.get(f"/v1/sagas/{shop.foreign}{suffix}", shop.service)
    missing = shop.guarded.get(f"/v1/sagas/01890a5d-ac96-774b-bcce-b302099a8057{suffix}", shop.service)
    assert foreign.status == missing.status == 404
    assert {**foreign.json, "request_id": ""} == {**missing.json, "request_id": ""}


def test_foreign_sagas_are_not_listed(shop: Shop) -> None:
    """Whatever the filter, a list holds sagas of the key's definitions only; so do the definitions."""
    guarded = shop.guarded
    assert len(guarded.get("/v1/sagas").json["sagas"]) == 2
    for query in ("", "?definition=BankTransfer", "?status=started", "?status=started&definition=BankTransfer"):
        listed = guarded.get(f"/v1/sagas{query}", shop.service).json["sagas"]
        assert {saga["id"] for saga in listed} <= {shop.own}
    definitions = guarded.get("/v1/definitions", shop.service).json["definitions"]
    assert {each["name"] for each in definitions} == {"OrderFulfillment"}


@pytest.mark.parametrize("verb", ["retry", "replay"])
def test_a_foreign_saga_cannot_be_acted_on(shop: Shop, verb: str) -> None:
    """A verb on a foreign saga is not found and changes nothing; on one's own it is judged by its state."""
    before = shop.guarded.api.digest()
    body = {"reason": "let it go on", "expected_version": 1}
    assert shop.guarded.post(f"/v1/sagas/{shop.foreign}/{verb}", body, shop.operator).status == 404
    assert shop.guarded.post(f"/v1/sagas/{shop.own}/{verb}", body, shop.operator).status == 409
    assert shop.guarded.api.digest() == before


@pytest.mark.parametrize(
    ("end", "body"), [("complete", {"result": {"reservation_id": "r-1"}}), ("fail", {"code": "no", "message": ""})]
)
def test_a_foreign_saga_cannot_be_answered(shop: Shop, end: str, body: dict[str, Any]) -> None:
    """An answer to a step of a foreign saga is not found."""
    target = "/v1/sagas/{}/steps/reserve_inventory/" + end
    assert shop.guarded.post(target.format(shop.foreign), body, shop.service).status == 404
    assert shop.guarded.post(target.format(shop.own), body, shop.service).status == 409


def test_a_foreign_saga_cannot_be_started(shop: Shop) -> None:
    """A start of another definition is 403, known or not; in bulk it is that item's problem, and the others begin."""
    before = shop.guarded.api.fetch("SELECT count(*) AS sagas FROM saga WHERE business_key LIKE 'transfer%'")
    known = shop.guarded.post("/v1/sagas", transfer(), shop.service)
    unknown = shop.guarded.post("/v1/sagas", {"definition": "Nothing", "input": {}}, shop.service)
    assert known.status == unknown.status == 403
    assert {**known.json, "request_id": ""} == {**unknown.json, "request_id": ""}
    many = {"sagas": [transfer(), order(f"order-{secrets.token_hex(4)}")]}
    items = shop.guarded.post("/v1/sagas/bulk", many, shop.service).json["items"]
    assert [item["outcome"] for item in items] == ["invalid", "created"]
    assert items[0]["problem"]["status"] == 403
    assert shop.guarded.api.fetch("SELECT count(*) AS sagas FROM saga WHERE business_key LIKE 'transfer%'") == before
