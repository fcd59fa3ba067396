"""`saga list` and its kind: the filter reaches the server, and the answer is shown in the shape that was asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from coordinator.remote.session import PAGES_MAX
from tests.unit.remote.fake import SAGA_ID, Fake, problem, saga


def page(*sagas: dict[str, Any], following: str | None = None) -> dict[str, Any]:
    return {"sagas": list(sagas), "next_cursor": following}


def test_a_table_shows_whole_ids_and_times_in_utc(fake: Fake) -> None:
    """What a person would copy stands there uncut; --utc says so by a Z."""
    fake.says("GET", "/v1/sagas", page(saga()))
    done = fake.run("list", "--utc")
    assert done.exit_code == 0, done.output
    head, row = done.stdout.splitlines()
    assert head.split() == ["ID", "DEFINITION", "KEY", "STATUS", "UPDATED"]
    assert row.split() == [SAGA_ID, "OrderFulfillment", "order-1", "suspended", "2026-05-01", "10:00:05Z"]


def test_nothing_steers_the_terminal(fake: Fake) -> None:
    """What clients have written into a saga is shown without its control characters, and without colour in a pipe."""
    fake.says("GET", "/v1/sagas", page(saga(business_key="\x1b[2J\x07[red]x")))
    done = fake.run("list")
    assert "\ufffd[2J\ufffd[red]x" in done.stdout
    assert "\x1b" not in done.stdout


def test_json_is_what_the_server_said(fake: Fake) -> None:
    """Byte for byte, whatever members it has."""
    text = '{"sagas":[{"id":"x","amount":1.10,"new":null}],  "next_cursor":null}'
    fake.says("GET", "/v1/sagas", text)
    assert fake.run("list", "-o", "json").stdout == text + "\n"


def test_yaml_says_the_same(fake: Fake) -> None:
    """A reader of YAML gets what a reader of JSON gets."""
    fake.says("GET", "/v1/sagas", page(saga(business_key="größer: 1")))
    assert yaml.safe_load(fake.run("list", "-o", "yaml").stdout) == page(saga(business_key="größer: 1"))


def test_the_filter_reaches_the_server(fake: Fake) -> None:
    """Each option is the parameter of the same name; a label becomes name:value."""
    fake.says("GET", "/v1/sagas", page())
    given = {
        "definition": "OrderFulfillment",
        "version": "2",
        "step": "pay",
        "participant": "payment",
        "business-key": "a&b",
        "label": "tier=gold",
        "incident": "late",
        "limit": "7",
        "since": "2026-05-01T00:00:00+02:00",
        "until": "2026-05-02T00:00:00Z",
        "cursor": "c1",
    }
    words = ["list", "--status", "suspended", "--status", "pending"]
    words += [word for name, value in given.items() for word in (f"--{name}", value)]
    assert fake.run(*words).exit_code == 0
    asked = fake.asked[0].url.params
    assert sorted(asked.multi_items()) == [
        ("business_key", "a&b"),
        ("cursor", "c1"),
        ("definition", "OrderFulfillment"),
        ("incident", "late"),
        ("label", "tier:gold"),
        ("limit", "7"),
        ("participant", "payment"),
        ("since", "2026-04-30T22:00:00.000Z"),
        ("status", "pending"),
        ("status", "suspended"),
        ("step", "pay"),
        ("until", "2026-05-02T00:00:00.000Z"),
        ("version", "2"),
    ]
    assert fake.asked[0].headers["authorization"] == "Bearer key-of-tests"


@pytest.mark.parametrize("shape", ["json", "jsonl"])
def test_all_pages_are_walked_with_all(fake: Fake, shape: str) -> None:
    """Jsonl writes an item on each line; json holds all of them and no further cursor."""
    fake.says("GET", "/v1/sagas", page(saga(id="a"), saga(id="b"), following="c1"))
    fake.says("GET", "/v1/sagas", page(saga(id="c")))
    text = fake.run("list", "--all", "-o", shape).stdout
    if shape == "jsonl":
        assert [json.loads(line)["id"] for line in text.splitlines()] == ["a", "b", "c"]
    else:
        assert [each["id"] for each in json.loads(text)["sagas"]] == ["a", "b", "c"]
        assert json.loads(text)["next_cursor"] is None
    assert [each.url.params.get("cursor") for each in fake.asked] == [None, "c1"]


def test_a_table_says_that_there_is_more(fake: Fake) -> None:
    """Beside the table, so that a pipe is not disturbed."""
    fake.says("GET", "/v1/sagas", page(saga(), following="c1"))
    done = fake.run("list", "--limit", "1")
    assert "there are more" in done.stderr
    assert "there are more" not in done.stdout
    assert len(fake.asked) == 1


def test_a_page_that_holds_nothing_does_not_end_the_table(fake: Fake) -> None:
    """A filter that fits few can have empty pages before what it finds; programs get each page as it is."""
    fake.says("GET", "/v1/sagas", page(following="c1"))
    fake.says("GET", "/v1/sagas", page(saga()))
    assert SAGA_ID in fake.run("list", "--label", "tier=gold").stdout
    assert fake.asked[1].url.params["cursor"] == "c1"
    other = Fake()
    other.says("GET", "/v1/sagas", page(following="c1"))
    assert json.loads(other.run("list", "-o", "json").stdout) == page(following="c1")
    assert len(other.asked) == 1


def test_a_table_is_not_looked_for_without_end(fake: Fake) -> None:
    """After some pages the person is told how to look further back."""
    fake.says("GET", "/v1/sagas", page(following="c1"))
    done = fake.run("list")
    assert done.exit_code == 0
    assert len(fake.asked) == PAGES_MAX
    assert "--cursor c1" in done.stderr


def test_a_limit_beyond_a_page_takes_several(fake: Fake) -> None:
    """The server gives 200 at most; the person gets as many as they asked for, and no more."""
    fake.says("GET", "/v1/sagas", page(*[saga(id=str(number)) for number in range(200)], following="c1"))
    fake.says("GET", "/v1/sagas", page(*[saga(id=f"b{number}") for number in range(200)], following="c2"))
    done = fake.run("list", "--limit", "250", "-o", "jsonl")
    assert len(done.stdout.splitlines()) == 250
    assert len(fake.asked) == 2


@pytest.mark.parametrize(
    ("words", "path", "name", "item", "shown"),
    [
        (("participants",), "/v1/participants", "participants", {"name": "payment", "held": 2}, "payment"),
        (("definitions",), "/v1/definitions", "definitions", {"name": "Trip", "version": 4}, "Trip"),
        (("definitions", "list"), "/v1/definitions", "definitions", {"name": "Trip", "version": 4}, "Trip"),
        (("audit",), "/v1/audit", "acts", {"actor": "ann", "action": "retry", "saga_id": "s"}, "ann"),
        (("incidents",), "/v1/incidents", "incidents", {"id": "i-1", "reason": "late"}, "late"),
        (("incidents", "list"), "/v1/incidents", "incidents", {"id": "i-1", "reason": "late"}, "late"),
        (("dlq",), "/v1/dead-letters", "dead_letters", {"id": 7, "reason": "foreign"}, "foreign"),
        (("keys",), "/v1/keys", "keys", {"id": "k", "name": "ci", "role": "viewer"}, "viewer"),
        (("bulk",), "/v1/batch-operations", "batch_operations", {"id": "b", "state": "done", "counts": {}}, "done"),
        (("bulk", "items", "b"), "/v1/batch-operations/b/items", "items", {"saga_id": "s", "outcome": "done"}, "done"),
    ],
)
def test_every_list_is_shown_in_every_shape(
    fake: Fake, words: tuple[str, ...], path: str, name: str, item: dict[str, Any], shown: str
) -> None:
    """A table for people; json as it came; a line for each item; YAML; wide with everything."""
    answer = {name: [item], "next_cursor": None}
    fake.says("GET", path, answer)
    for shape in ("table", "wide"):
        assert shown in fake.run(*words, "-o", shape).stdout
    assert json.loads(fake.run(*words, "-o", "json").stdout) == answer
    assert json.loads(fake.run(*words, "-o", "jsonl").stdout) == item
    assert yaml.safe_load(fake.run(*words, "-o", "yaml").stdout) == answer


def test_open_problems_come_first(fake: Fake) -> None:
    """Incidents and dead letters are the open ones unless others are asked for."""
    fake.says("GET", "/v1/incidents", {"incidents": [], "next_cursor": None})
    fake.says("GET", "/v1/dead-letters", {"dead_letters": [], "next_cursor": None})
    fake.run("incidents")
    fake.run("dlq")
    fake.run("incidents", "--state", "all")
    assert [each.url.params.get("state") for each in fake.asked] == ["open", "open", None]


DETAIL = {
    **saga(),
    "facing": "backward",
    "input": {"order_id": "order-1"},
    "steps": [
        {"name": "reserve", "participant": "inventory", "action": "Reserve", "compensation": "Release",
         "outcome": "completed", "undo": "issued", "attempts": 1, "undo_attempts": 2},
        {"name": "pay", "participant": "payment", "action": "Pay", "compensation": "Refund",
         "outcome": "unknown", "undo": "compensated", "attempts": 3, "undo_attempts": 1, "effect": "nothing_to_undo"},
        {"name": "ship", "participant": "shipping", "action": "Ship", "compensation": None,
         "outcome": "waiting", "undo": "none", "attempts": 0, "undo_attempts": 0},
    ],
    "incidents": [{"reason": "compensation_failed", "step_name": "reserve", "detail": "no answer",
                   "opened_at": "2026-05-01T10:00:05.250Z", "resolved_at": None}],
}  # fmt: skip


def test_a_saga_is_shown_with_steps_and_incidents(fake: Fake) -> None:
    """Its input, which may be long and secret, only when all is asked for."""
    fake.says("GET", f"/v1/sagas/{SAGA_ID}", DETAIL)
    text = fake.run("show", SAGA_ID).stdout
    assert all(word in text for word in ("suspended", "reserve", "compensation_failed", "no answer"))
    assert "order_id" not in text
    assert "order_id" in fake.run("show", SAGA_ID, "-o", "wide").stdout
    assert json.loads(fake.run("show", SAGA_ID, "-o", "json").stdout) == DETAIL


def test_a_tree_has_a_lane_forward_and_one_back(fake: Fake) -> None:
    """Compensations stand in the order in which they are done; what is not undone stands in no lane back."""
    fake.says("GET", f"/v1/sagas/{SAGA_ID}", DETAIL)
    letter = {"id": 7, "kind": "compensation", "state": "open", "reason": "budget", "detail": "gave up"}
    fake.says("GET", "/v1/dead-letters", {"dead_letters": [letter], "next_cursor": None})
    text = fake.run("tree", SAGA_ID).stdout
    places = [text.index(word) for word in (
        "forward", "inventory.Reserve", "payment.Pay", "shipping.Ship",
        "compensation", "payment.Refund", "inventory.Release", "incidents", "no answer", "dead letters", "gave up",
    )]  # fmt: skip
    assert places == sorted(places)
    assert "shipping.None" not in text
    assert json.loads(fake.run("tree", SAGA_ID, "-o", "json").stdout) == {"saga": DETAIL, "dead_letters": [letter]}


def test_a_tree_is_drawn_without_letters_that_one_may_not_see(fake: Fake) -> None:
    """Somebody who may look at sagas only sees the saga, and that something is not shown."""
    fake.says("GET", f"/v1/sagas/{SAGA_ID}", DETAIL)
    fake.says("GET", "/v1/dead-letters", problem(403, "no"), 403)
    done = fake.run("tree", SAGA_ID)
    assert done.exit_code == 0
    assert "not shown" in done.stdout
