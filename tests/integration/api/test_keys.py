"""API keys against a running coordinator: made, used, rotated, revoked, and never seen again."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from coordinator.services.keyring import TRUST_S
from deploy.local.processes import http_ok
from deploy.local.stack import LocalStack
from tests.integration.api.guarded import Guarded, open_guarded, saga
from tests.integration.api.server import RUN, STARTED, Answer, Api

SLACK_S = 1.0  # for a machine that is busy


@pytest.fixture(scope="module")
def guarded(stack: LocalStack) -> Iterator[Guarded]:
    """Give a coordinator that asks everybody for a token."""
    with open_guarded(stack) as running:
        yield running


@pytest.fixture(scope="module")
def second(stack: LocalStack, guarded: Guarded) -> Iterator[Api]:
    """Give another process over the same database."""
    name = f"second-{secrets.token_hex(4)}"
    child = stack.processes.python(name, *RUN, "serve", "--role", "api", environment=guarded.api.environment)
    url = child.wait_for_line(STARTED, timeout_s=30)[1]
    child.wait_until(http_ok(f"{url}/readyz"), timeout_s=30, what="ready")
    yield Api(child, url, guarded.api.environment)
    child.stop()


def _soon(ask: Callable[[], bool], within_s: float = 10.0) -> float:
    """Ask until it is so; answers after how many seconds it was."""
    began = time.monotonic()
    while not ask():
        assert time.monotonic() - began < within_s
        time.sleep(0.02)
    return time.monotonic() - began


def _who(api: Api, token: str) -> Answer:
    return api.send("GET", "/v1/whoami", None, {"Authorization": f"Bearer {token}"})


def _name() -> str:
    return f"k-{secrets.token_hex(4)}"


def test_every_route_lets_in_whom_its_permission_names(guarded: Guarded) -> None:
    """Asked with real keys, each route of the API's own document answers 401, 403 or neither, by x-permission."""
    grants = {who: set(guarded.get("/v1/whoami", who).json["permissions"]) for who in guarded.tokens}
    paths = guarded.get("/v1/openapi.json").json["paths"]
    for path, operations in paths.items():
        place = re.sub(r"\{\w+\}", "01890a5d-ac96-774b-bcce-b302099a8057", path)
        for method, operation in operations.items():
            assert guarded.api.send(method.upper(), place).status == 401, (method, path)
            for who, granted in grants.items():
                if path.endswith("/events") and operation["x-permission"] in granted:
                    continue  # a stream does not end
                # Without a body, whoever is let in gets no further.
                headers = {"Authorization": f"Bearer {guarded.tokens[who]}"}
                answer = guarded.api.send(method.upper(), place, None, headers)
                assert (answer.status == 403) is (operation["x-permission"] not in granted), (who, method, path)
                assert answer.status != 401


def test_a_key_is_shown_once(guarded: Guarded) -> None:
    """The answer that makes a key holds its token; the list and the database hold everything but that."""
    name = _name()
    made = guarded.made(name=name, role="service", definitions=["OrderFulfillment"], reason="the shop goes live")
    token = made.pop("secret")
    assert made["state"] == "valid"
    assert (made["name"], made["role"], made["definitions"]) == (name, "service", ["OrderFulfillment"])
    assert made["created_by"] == "key:root"
    assert _who(guarded.api, token).json["actor"] == f"key:{name}"
    pages, cursor = [], ""
    while cursor is not None:
        page = guarded.get(f"/v1/keys?limit=2{cursor and f'&cursor={cursor}'}").json
        pages += page["keys"]
        cursor = page["next_cursor"]
    [listed] = [key for key in pages if key["id"] == made["id"]]
    assert {**listed, "last_used_at": None} == made
    assert len({key["id"] for key in pages}) == len(pages)
    kept = guarded.api.fetch("SELECT k::text AS row FROM api_key AS k UNION ALL SELECT a::text FROM audit_log AS a")
    assert not any(token[14:] in row["row"] for row in kept)


def test_what_is_done_with_keys_is_in_the_audit(guarded: Guarded) -> None:
    """Making and ending a key are recorded with who, why, the request, and how the key stood before and after."""
    made = guarded.post("/v1/keys", {"name": _name(), "role": "viewer"}, headers={"X-Request-Id": "make-1"}).json
    path = f"/v1/keys/{made['id']}/revoke"
    ended = guarded.post(path, {"reason": "seen in a chat"}, headers={"X-Request-Id": "end-1"})
    again = guarded.post(path, {"reason": "seen twice"})
    assert (ended.status, ended.json["state"], ended.json["revoked_because"]) == (200, "revoked", "seen in a chat")
    assert again.json == ended.json
    rows = guarded.api.fetch("SELECT * FROM audit_log WHERE subject = $1 ORDER BY id", f"key:{made['id']}")
    told = [(row["actor"], row["action"], row["reason"], row["request_id"], row["outcome"]) for row in rows]
    assert told == [
        ("key:root", "create_key", "a key was needed", "make-1", "done"),
        ("key:root", "revoke_key", "seen in a chat", "end-1", "done"),
    ]
    assert json.loads(rows[0]["state_after"])["role"] == "viewer"
    assert "revoked_at" not in json.loads(rows[1]["state_before"])
    assert json.loads(rows[1]["state_after"])["revoked_at"]


def test_a_revoked_key_is_refused_by_every_process(guarded: Guarded, second: Api) -> None:
    """The process that revoked refuses at once, another one within the bound that is promised."""
    made = guarded.made(name=_name(), role="viewer")
    token = made["secret"]
    _soon(lambda: _who(second, token).status == 200)
    assert _who(guarded.api, token).status == 200
    assert guarded.post(f"/v1/keys/{made['id']}/revoke", {"reason": "lost"}).status == 200
    assert _who(guarded.api, token).status == 401
    assert _soon(lambda: _who(second, token).status == 401) < TRUST_S + SLACK_S


def test_a_new_key_works_in_every_process_soon(guarded: Guarded, second: Api) -> None:
    """A key that one process made is taken by another within a second."""
    token = guarded.made(name=_name(), role="viewer")["secret"]
    assert _soon(lambda: _who(second, token).status == 200) < TRUST_S + SLACK_S


def test_a_key_ends_when_it_expires(guarded: Guarded) -> None:
    """A key works until its end and no longer, and then makes room for the next of its name."""
    name = _name()
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    made = guarded.made(name=name, role="viewer", expires_at=soon)
    assert _who(guarded.api, made["secret"]).status == 200
    guarded.made(name=name, role="viewer")
    assert guarded.post("/v1/keys", {"name": name, "role": "viewer"}).status == 409
    _soon(lambda: _who(guarded.api, made["secret"]).status == 401)
    assert guarded.post("/v1/keys", {"name": name, "role": "viewer"}).status == 201
    [listed] = [key for key in guarded.get("/v1/keys?limit=200").json["keys"] if key["id"] == made["id"]]
    assert listed["state"] == "expired"


def test_at_most_two_keys_of_a_name_are_valid(guarded: Guarded) -> None:
    """However many are asked for at once two are made; when one is revoked there is room for one."""
    name = _name()
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(guarded.post, "/v1/keys", {"name": name, "role": "viewer"}) for _ in range(12)]
        answers = [each.result() for each in asked]
    assert sorted(answer.status for answer in answers) == [201] * 2 + [409] * 10
    made = [answer.json for answer in answers if answer.status == 201]
    assert all(_who(guarded.api, key["secret"]).status == 200 for key in made)
    assert guarded.post(f"/v1/keys/{made[0]['id']}/revoke", {"reason": "rotated"}).status == 200
    statuses = [guarded.post("/v1/keys", {"name": name, "role": "viewer"}).status for _ in range(2)]
    assert statuses == [201, 409]
    assert _who(guarded.api, made[1]["secret"]).status == 200


def test_the_use_of_a_key_is_noted(guarded: Guarded) -> None:
    """last_used_at says when a key was used, about a minute later at most."""
    rows = guarded.api.fetch("SELECT last_used_at FROM api_key WHERE name = 'root'")
    _soon(
        lambda: (
            guarded.get("/v1/whoami").status == 200
            and guarded.api.fetch("SELECT last_used_at FROM api_key WHERE name = 'root'")[0]["last_used_at"] is not None
        )
    )
    assert len(rows) == 1


WRONG = {
    "no name": {"role": "viewer"},
    "no role": {"name": "fine"},
    "an unknown role": {"name": "fine", "role": "root"},
    "a role in capitals": {"name": "fine", "role": "Admin"},
    "a name with a colon": {"name": "oidc:ann", "role": "viewer"},
    "an empty name": {"name": "", "role": "viewer"},
    "a long name": {"name": "n" * 64, "role": "viewer"},
    "a name with a line break": {"name": "fine\n", "role": "viewer"},
    "an administrator with a scope": {"name": "fine", "role": "admin", "definitions": ["OrderFulfillment"]},
    "an empty scope": {"name": "fine", "role": "service", "definitions": []},
    "a scope that is no name": {"name": "fine", "role": "service", "definitions": ["*"]},
    "an end in the past": {"name": "fine", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"},
    "an end without a zone": {"name": "fine", "role": "viewer", "expires_at": "2090-01-01T00:00:00"},
    "an end that is none": {"name": "fine", "role": "viewer", "expires_at": "never"},
    "a blank reason": {"name": "fine", "role": "viewer", "reason": " "},
    "a secret of its own": {"name": "fine", "role": "viewer", "secret": "hunter2"},
    "an id of its own": {"name": "fine", "role": "viewer", "id": "00000000"},
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_a_key_that_makes_no_sense_is_not_made(guarded: Guarded, body: dict[str, object]) -> None:
    """A wrong body gets 422 that says where, and no key is made."""
    before = guarded.api.fetch("SELECT count(*) AS rows FROM api_key")
    answer = guarded.post("/v1/keys", body)
    assert (answer.status, answer.content_type) == (422, "application/problem+json"), answer.body
    assert answer.json["errors"]
    assert guarded.api.fetch("SELECT count(*) AS rows FROM api_key") == before


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [
        ("/v1/keys/00000000/revoke", {"reason": "gone"}, 404),
        ("/v1/keys/nothing/revoke", {"reason": "gone"}, 404),
        ("/v1/keys/%00/revoke", {"reason": "gone"}, 404),
        ("/v1/keys/00000000/revoke", {"reason": " "}, 422),
        ("/v1/keys/00000000/revoke", {}, 422),
    ],
)
def test_what_is_no_key_cannot_be_revoked(guarded: Guarded, target: str, body: object, status: int) -> None:
    """An id that nobody has is not found, and a reason must say something."""
    assert guarded.post(target, body).status == status


@pytest.mark.parametrize("query", ["?limit=0", "?limit=201", "?limit=x", "?state=valid", "?limit=1&limit=2"])
def test_a_list_of_keys_is_asked_for_strictly(guarded: Guarded, query: str) -> None:
    """A parameter that is wrong or unknown gets 422, a cursor that is none 400."""
    assert guarded.get(f"/v1/keys{query}").status == 422
    assert guarded.get("/v1/keys?cursor=elsewhere").status == 400


def test_no_secret_is_ever_written(guarded: Guarded) -> None:
    """Tokens that were sent, good and bad, are in no log line, no metric and no answer but the one that made them."""
    made = guarded.made(name=_name(), role="viewer")
    good, wrong = made["secret"], f"saga_{made['id']}_{secrets.token_urlsafe(36)}"
    jwt = f"{secrets.token_urlsafe(20)}.{secrets.token_urlsafe(20)}.{secrets.token_urlsafe(20)}"
    answers = [_who(guarded.api, each) for each in (good, wrong, jwt, good[:-1])]
    answers.append(guarded.get("/v1/nothing", good))
    answers.append(guarded.post("/v1/keys", {"name": good}, good))
    answers.append(guarded.post("/v1/sagas", {"definition": good}, good))
    answers.append(guarded.get("/v1/keys?limit=200"))
    metrics = guarded.api.get("/metrics").body.decode()
    ready = guarded.api.get("/readyz").body.decode()
    assert guarded.post(f"/v1/keys/{made['id']}/revoke", {"reason": "done"}).status == 200
    said = [guarded.api.child.output(), metrics, ready, *(answer.body.decode() for answer in answers)]
    said += [str(answer.headers) for answer in answers]
    assert "refused" in said[0]
    for token in (*guarded.tokens.values(), good, wrong, jwt):
        secret = token[14:] if token.startswith("saga_") else token
        assert not any(secret in text for text in said)


def test_the_offline_way_prints_the_token_and_nothing_else(guarded: Guarded) -> None:
    """`saga keys bootstrap` prints a token that works; a third of a name is refused with exit code 4."""
    name = _name()
    environment = guarded.api.environment
    done = [saga(environment, "keys", "bootstrap", name, "--role", "operator") for _ in range(3)]
    assert [each.returncode for each in done] == [0, 0, 4]
    for each in done[:2]:
        assert re.fullmatch(r"saga_[0-9a-f]{8}_[A-Za-z0-9_-]{48}\n", each.stdout)
        assert each.stderr == ""
    assert done[2].stdout == ""
    assert done[2].stderr.startswith(f"saga: two valid keys are called {name}")
    _soon(lambda: _who(guarded.api, done[0].stdout.strip()).status == 200)
    assert _who(guarded.api, done[0].stdout.strip()).json["role"] == "operator"
    [row] = guarded.api.fetch("SELECT actor, reason FROM audit_log WHERE subject = $1", f"key:{done[0].stdout[5:13]}")
    assert (row["actor"], row["reason"]) == ("console", "made beside the database")
