"""Dead letters over REST: what is shown of them, and that each act is done once, by somebody who may."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from tests.integration.api.desk import REPLY_HEADERS, Desk, reply
from tests.integration.api.server import order

LETTERS = "/v1/dead-letters"
WHY = {"reason": "the participant was mended"}


async def _saga(desk: Desk, number: str) -> str:
    body = order(number)
    answer = await desk.post("/v1/sagas", body)
    assert answer.status_code in (200, 201)
    return str(answer.json()["id"])


async def test_a_letter_is_shown_as_far_as_it_can_be_read(desk: Desk) -> None:
    """A letter has its text, headers, saga and what is wrong with it; of other bytes there are base64 and a head."""
    saga_id = await _saga(desk, "shown")
    value = reply(saga_id, attempt="one")
    letter = await desk.letter(value, saga_id.encode(), [*REPLY_HEADERS, ("raw", b"\xff\x00"), ("null", None)])
    answer = await desk.get(f"{LETTERS}/{letter}")
    shown = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (200, '"0-open"')
    assert (shown["state"], shown["record"]["value"]["text"]) == ("open", value.decode())
    assert shown["record"]["value"]["size"] == len(value)
    headers = {header["name"]: header["value"] for header in shown["record"]["headers"]}
    assert headers["ce_source"]["text"] == "inventory"
    assert (headers["raw"]["base64"], headers["raw"]["head"], headers["null"]) == ("/wA=", "ff 00", None)
    assert (shown["about"]["saga_id"], shown["about"]["step_name"]) == (saga_id, "reserve_inventory")
    assert (shown["saga"]["id"], shown["saga"]["status"]) == (saga_id, "started")
    assert (shown["refusal"]["reason"], shown["refusal"]["path"]) == ("schema", "attempt")
    assert shown["edited_record"] is None


async def test_letters_are_not_for_those_who_know_some_definitions_only(desk: Desk) -> None:
    """Whose saga a record is about nobody can tell for sure: who is bound to some definitions neither sees nor acts."""
    letter = await desk.letter(b"x")
    for who in ("viewer@BankTransfer", "operator@BankTransfer", "operator@OrderFulfillment"):
        for path in (LETTERS, f"{LETTERS}/{letter}"):
            assert (await desk.get(path, who)).status_code == 403
        for verb in ("redrive", "discard"):
            assert (await desk.post(f"{LETTERS}/{letter}/{verb}", WHY, who)).status_code == 403
    assert (await desk.get(f"{LETTERS}/{letter}")).json()["state"] == "open"


@pytest.mark.parametrize("value", [None, b"", b"\xff" * 1000, b"null", b"[1]", b'{"saga_id": 7}'])
async def test_whatever_is_in_a_letter_it_can_be_shown(desk: Desk, value: bytes | None) -> None:
    """No bytes break the page, for whomever."""
    letter = await desk.letter(value, b"\x00\xfe", [("h" * 300, b"\x80")])
    for role in ("viewer", "admin"):
        answer = await desk.get(f"{LETTERS}/{letter}", role)
        assert answer.status_code == 200
        shown = answer.json()["record"]["value"]
        assert (shown is None) == (value is None)


async def test_letters_are_listed_page_by_page(desk: Desk) -> None:
    """The list goes from new to old without gaps or repeats, narrowed by its filters; a cursor fits its list only."""
    made = [await desk.letter(b"x") for _ in range(5)]
    await desk.post(f"{LETTERS}/{made[1]}/discard", WHY)
    seen: list[int] = []
    target: str | None = f"{LETTERS}?state=open&kind=record&reason=schema&limit=2"
    while target is not None and made[0] not in seen:
        page = (await desk.get(target, "viewer")).json()
        seen += [letter["id"] for letter in page["dead_letters"]]
        cursor = page["next_cursor"]
        target = None if cursor is None else f"{LETTERS}?state=open&kind=record&reason=schema&limit=2&cursor={cursor}"
    assert seen[:4] == [made[4], made[3], made[2], made[0]]
    first = (await desk.get(f"{LETTERS}?limit=1")).json()["next_cursor"]
    assert (await desk.get(f"{LETTERS}?limit=1&state=open&cursor={first}")).status_code == 400
    assert (await desk.get(f"{LETTERS}?state=discarded")).json()["dead_letters"][0]["id"] == made[1]


@pytest.mark.parametrize(
    "query",
    ["state=lost", "kind=letter", "saga_id=7", "limit=0", "limit=201", "reason=", "nothing=1", "state=open&state=open"],
)
async def test_a_list_is_asked_for_in_its_own_words(desk: Desk, query: str) -> None:
    """What is no filter, or no value of one, is refused with the parameter's name."""
    answer = await desk.get(f"{LETTERS}?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]


async def test_a_letter_is_sent_again_once(desk: Desk) -> None:
    """Of two operators who press the button at once one sends the letter; the other is told what became of it."""
    saga_id = await _saga(desk, "once")
    letter = await desk.letter(reply(saga_id), saga_id.encode())
    before = (await desk.get(f"{LETTERS}/{letter}")).headers["etag"]
    answers = await asyncio.gather(*(desk.post(f"{LETTERS}/{letter}/redrive", WHY) for _ in range(2)))
    won, lost = sorted(answers, key=lambda answer: answer.status_code)
    assert (won.status_code, won.json()["state"], won.headers["etag"]) == (202, "redriven", '"1-redriven"')
    assert lost.status_code == 409
    assert (lost.json()["letter_state"], lost.json()["tries"]) == ("redriven", 1)
    late = await desk.post(f"{LETTERS}/{letter}/discard", WHY, if_match=before)
    assert (late.status_code, late.json()["letter_state"]) == (412, "redriven")
    assert await desk.audit(letter) == [
        (
            *("the operator", "redrive", WHY["reason"], True, {"state": "open", "reason": "schema", "tries": 0}),
            {"state": "redriven", "reason": "schema", "tries": 1, "edited": False},
        )
    ]


async def test_what_was_closed_stays_closed(desk: Desk) -> None:
    """A discarded letter is neither sent nor discarded again."""
    letter = await desk.letter(b"x")
    assert (await desk.post(f"{LETTERS}/{letter}/discard", WHY, if_match='"0-open"')).status_code == 200
    for act in ("redrive", "discard"):
        answer = await desk.post(f"{LETTERS}/{letter}/{act}", WHY)
        assert (answer.status_code, answer.json()["letter_state"]) == (409, "discarded")


async def test_an_edit_is_for_those_who_decide(desk: Desk) -> None:
    """An operator sends a letter as it came; another value, header or identity is an administrator's decision."""
    saga_id = await _saga(desk, "edited")
    letter = await desk.letter(reply(saga_id, attempt="one"), saga_id.encode())
    edits: list[dict[str, Any]] = [
        {"value": "{}"},
        {"value_base64": "e30="},
        {"headers": {"a": "b"}},
        {"new_identity": True},
    ]
    for edit in edits:
        answer = await desk.post(f"{LETTERS}/{letter}/redrive", WHY | edit)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:saga-coordinator:problem:forbidden")
    value = base64.b64encode(reply(saga_id)).decode()
    answer = await desk.post(
        f"{LETTERS}/{letter}/redrive", WHY | {"value_base64": value, "headers": {"x": "y"}}, "admin"
    )
    assert (answer.status_code, answer.json()["edited"]) == (202, True)
    shown = (await desk.get(f"{LETTERS}/{letter}")).json()
    assert '"one"' in shown["record"]["value"]["text"]
    assert shown["edited_record"]["value"]["text"] == reply(saga_id).decode()
    assert shown["edited_record"]["headers"][-1] == {
        "name": "x",
        "value": {"size": 1, "kept": 1, "text": "y", "base64": None, "head": None, "masked": False},
    }


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/reason"),
        ({"reason": " "}, "/reason"),
        ({"reason": "r", "value": "{}", "value_base64": "e30="}, "/value_base64"),
        ({"reason": "r", "value_base64": "%"}, "/value_base64"),
        ({"reason": "r", "value_base64": "ä"}, "/value_base64"),
        ({"reason": "r", "headers": {"": "x"}}, "/headers"),
        ({"reason": "r", "headers": {"a": 7}}, "/headers/a"),
        ({"reason": "r", "headers": {"a": "x" * 20_000}}, "/headers/a"),
        ({"reason": "r", "value": "nonsense"}, "/value"),
        ({"reason": "r", "what": 1}, "/what"),
    ],
)
async def test_a_wrong_act_changes_nothing(desk: Desk, body: dict[str, Any], pointer: str) -> None:
    """What cannot be meant, or would be set aside again at once, is refused at its place and leaves no trace."""
    letter = await desk.letter(b"{}")
    row = "SELECT row_to_json(l)::text AS row FROM dead_letter AS l WHERE id = $1"
    before = await desk.office.ask(row, letter)
    answer = await desk.post(f"{LETTERS}/{letter}/redrive", body, "admin")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert await desk.office.ask(row, letter) == before
    assert await desk.audit(letter) == []


@pytest.mark.parametrize("letter_id", ["0", "x", "9" * 19, "9" * 30, "-1", "1.0"])
async def test_what_is_no_letter_is_not_found(desk: Desk, letter_id: str) -> None:
    """An id that no letter has is 404, whatever it looks like."""
    assert (await desk.get(f"{LETTERS}/{letter_id}")).status_code == 404
    assert (await desk.post(f"{LETTERS}/{letter_id}/discard", WHY)).status_code == 404


async def test_an_etag_of_something_else_is_refused(desk: Desk) -> None:
    """If-Match that is no letter's ETag is a mistake, not a mismatch."""
    letter = await desk.letter(b"x")
    answer = await desk.post(f"{LETTERS}/{letter}/discard", WHY, if_match='"7"')
    assert (answer.status_code, answer.json()["errors"][0]["header"]) == (422, "If-Match")


async def test_who_may_only_look_does_not_act(desk: Desk) -> None:
    """A viewer sees letters and changes none; a service does not even see them."""
    letter = await desk.letter(b"x")
    assert (await desk.get(LETTERS, "viewer")).status_code == 200
    assert (await desk.post(f"{LETTERS}/{letter}/discard", WHY, "viewer")).status_code == 403
    assert (await desk.get(f"{LETTERS}/{letter}", "service")).status_code == 403


async def test_a_viewer_reads_what_is_nobodys_secret(desk: Desk) -> None:
    """Of a message that can be read a viewer sees everything but what is sensitive; of any other only its size."""
    body = order("secret")
    saga_id = await _saga(desk, "secret")
    command = json.loads(reply(saga_id)) | {"payload": body["input"], "extra": "hidden"}
    letter = await desk.letter(json.dumps(command).encode(), saga_id.encode(), [*REPLY_HEADERS, ("x", b"y")])
    value = (await desk.get(f"{LETTERS}/{letter}", "viewer")).json()["record"]["value"]
    shown = json.loads(value["text"])
    assert value["masked"]
    assert (shown["result"], shown["extra"]) == ({"reservation_id": "r-1"}, "[masked]")
    assert (shown["payload"]["card"], shown["payload"]["email"]) == ({"token": "[masked]"}, "[masked]")
    unreadable = reply(saga_id, attempt="tok_visa")
    broken = await desk.letter(unreadable, saga_id.encode())
    answer = await desk.get(f"{LETTERS}/{broken}", "viewer")
    hidden = answer.json()["record"]["value"]
    assert (hidden["size"], hidden["masked"]) == (len(unreadable), True)
    assert [hidden[name] for name in ("text", "base64", "head")] == [None] * 3
    assert "tok_visa" not in answer.text
    assert "tok_visa" in (await desk.get(f"{LETTERS}/{broken}", "operator")).text
