"""Who asks: what is no token, what is a wrong one, and what the answer gives away."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from fastapi import FastAPI

from coordinator.api.access import Anybody, Mode
from coordinator.api.authentication import TOKEN_MAX, Tokens
from coordinator.api.limiting import Buckets
from coordinator.errors import Unavailable
from coordinator.services import tokens
from coordinator.services.keyring import KeyRing
from coordinator.services.oidc import Person, TokenRefused
from coordinator.store.keys import ValidKey
from tests.unit.api.hall import Record, client, hall
from tests.unit.services.test_keyring import Hands, Kept

TOKEN = tokens.new_token()
KEY_ID = str(tokens.id_of(TOKEN))
STRANGER = tokens.new_token()
NO_LIMIT = Buckets(0, 1, time.monotonic)


class Sso:
    """An issuer that knows two words."""

    async def verify(self, token: str) -> Person:
        """Whom a token names."""
        if token == "ann.ann.ann":
            return Person("oidc:ann", "operator", frozenset({"Order"}))
        if token == "bob.bob.bob":
            return Person("oidc:bob", None, None)
        if token == "away.away.away":
            raise Unavailable("10.0.0.7 does not answer")
        raise TokenRefused("no such word")


def _keys(*, expired: bool = False) -> Kept:
    kept = Kept()
    if not expired:
        kept.keys[KEY_ID] = ValidKey(KEY_ID, "deploy", tokens.hash_of(TOKEN), "operator", None)
    return kept


def _app(
    kept: Kept, *, mode: Mode = Mode.REQUIRED, record: Record | None = None, failed: Buckets = NO_LIMIT, rate: float = 0
) -> FastAPI:
    asked = Buckets(rate, 2, Hands().monotonic)
    return hall(Tokens(mode, KeyRing(kept, Hands()), Sso(), asked, failed), record)


async def _whoami(app: FastAPI, *headers: tuple[str, str], address: str = "127.0.0.1") -> httpx.Response:
    async with client(app, address) as asking:
        answer = await asking.get("/v1/whoami", headers=list(headers))
    await asyncio.sleep(0)  # a read's refusal is told beside its answer
    return answer


WRONG = {
    "no token": [],
    "no scheme": [("authorization", TOKEN)],
    "an empty token": [("authorization", "Bearer ")],
    "only a scheme": [("authorization", "Bearer")],
    "Basic": [("authorization", "Basic YW5uOnNlY3JldA==")],
    "two headers": [("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")],
    "two tokens": [("authorization", f"Bearer {TOKEN} {TOKEN}")],
    "a list": [("authorization", f"Bearer {TOKEN}, Bearer {TOKEN}")],
    "an unknown key": [("authorization", f"Bearer {STRANGER}")],
    "a known id with another secret": [("authorization", f"Bearer saga_{KEY_ID}_{STRANGER[14:]}")],
    "a token that was cut": [("authorization", f"Bearer {TOKEN[:-1]}")],
    "a token in quotes": [("authorization", f'Bearer "{TOKEN}"')],
    "a key's id": [("authorization", f"Bearer {KEY_ID}")],
    "a tab for a space": [("authorization", f"Bearer\t{TOKEN}")],
    "a long one": [("authorization", "Bearer " + "a" * TOKEN_MAX)],
    "a refused access token": [("authorization", "Bearer who.who.who")],
    "another header": [("x-api-key", TOKEN)],
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
async def test_who_is_not_known_gets_401(headers: list[tuple[str, str]]) -> None:
    """Whatever is wrong with a token the answer is the same, with a challenge, and repeats nothing of it."""
    record = Record()
    answer = await _whoami(_app(_keys(), record=record), *headers, ("x-request-id", "same"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Bearer realm="saga"')
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith("who asks is not known here")
    secret = TOKEN[14:]
    assert secret not in answer.text
    assert [(told.actor, told.action, told.status) for told in record.told] == [("nobody", "GET /v1/whoami", 401)]
    assert secret not in record.told[0].reason
    assert "127.0.0.1" in record.told[0].reason


async def test_a_token_in_the_query_is_no_token() -> None:
    """What stands in a URL ends up in logs: it lets nobody in."""
    async with client(_app(_keys())) as asking:
        assert (await asking.get(f"/v1/whoami?access_token={TOKEN}")).status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_a_key_and_a_person_cannot_be_confused(scheme: str) -> None:
    """A key acts as key:NAME, a person as oidc:NAME; the scheme's case does not matter."""
    app = _app(_keys())
    key = await _whoami(app, ("authorization", f"{scheme} {TOKEN}"))
    assert (key.json()["actor"], key.json()["role"], key.json()["definitions"]) == ("key:deploy", "operator", None)
    person = await _whoami(app, ("authorization", f"{scheme} ann.ann.ann"))
    assert (person.json()["actor"], person.json()["definitions"]) == ("oidc:ann", ["Order"])


async def test_a_person_without_a_role_is_known_but_may_nothing() -> None:
    """An issuer's own token without a role here gets 403, recorded under the person's name."""
    record = Record()
    answer = await _whoami(_app(_keys(), record=record), ("authorization", "Bearer bob.bob.bob"))
    assert answer.status_code == 403
    assert [(told.actor, told.status) for told in record.told] == [("oidc:bob", 403)]


async def test_a_key_that_cannot_be_looked_up_lets_nobody_in() -> None:
    """While Postgres or the issuer is away the answer is 503 with Retry-After, and no address of ours."""
    kept = _keys()
    kept.away = True
    for token in (TOKEN, "away.away.away"):
        answer = await _whoami(_app(kept), ("authorization", f"Bearer {token}"))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "10.0.0.7" not in answer.text


async def test_who_is_asked_comes_before_what_is_sent() -> None:
    """A stranger's body is not read: 401 comes while it is still on its way."""

    async def endless() -> object:
        raise AssertionError("the body was read")
        yield b""

    async with client(_app(_keys())) as asking:
        answer = await asking.post("/v1/sagas", content=endless(), headers={"content-type": "application/json"})  # type: ignore[arg-type]
    assert answer.status_code == 401


async def test_who_asks_too_often_is_asked_to_wait() -> None:
    """Beyond the limit a principal gets 429 and when to come back; another one is served."""
    app = _app(_keys(), rate=0.5)
    key = ("authorization", f"Bearer {TOKEN}")
    assert [(await _whoami(app, key)).status_code for _ in range(2)] == [200, 200]
    refused = await _whoami(app, key)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert refused.json()["type"] == "urn:saga-coordinator:problem:too-many-requests"
    assert (await _whoami(app, ("authorization", "Bearer ann.ann.ann"))).status_code == 200


async def test_who_guesses_too_often_is_asked_to_wait() -> None:
    """Strangers of one address get 429 beyond the limit; a valid token from there is served, and other addresses."""
    record = Record()
    app = _app(_keys(), record=record, failed=Buckets(1, 3, Hands().monotonic))
    wrong = ("authorization", f"Bearer {STRANGER}")
    assert [(await _whoami(app, wrong)).status_code for _ in range(5)] == [401, 401, 401, 429, 429]
    assert (await _whoami(app, ("authorization", f"Bearer {TOKEN}"))).status_code == 200
    assert (await _whoami(app, wrong, address="10.0.0.9")).status_code == 401
    assert len(record.told) == 4


async def test_loopback_is_open_until_the_first_key() -> None:
    """On loopback nobody needs a token while there never was a key; a wrong one is wrong all the same."""
    app = _app(Kept(), mode=Mode.LOOPBACK)
    assert (await _whoami(app)).json()["actor"] == "anonymous"
    assert (await _whoami(app)).json()["authentication"] == "loopback"
    assert (await _whoami(app, ("authorization", f"Bearer {STRANGER}"))).status_code == 401
    assert (await _whoami(_app(_keys(), mode=Mode.LOOPBACK))).status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8080", 200),
        ("saga.localhost", 200),
        ("coordinator", 200),
        ("evil.example.com", 401),
        ("evil.example.com:8080", 401),
        ("127.0.0.1.evil.example", 401),
        ("10.0.0.1", 401),
        ("[2001:db8::1]", 401),
    ],
)
async def test_a_web_page_cannot_pose_as_this_machine(host: str, status: int) -> None:
    """Without a token a foreign name that was made to point here is not served."""
    assert (await _whoami(_app(Kept(), mode=Mode.LOOPBACK), ("host", host))).status_code == status


async def test_insecure_is_said_everywhere() -> None:
    """Where everybody is let in each answer says so, /readyz says so, and whoami says so."""
    app = hall(Anybody())
    answer = await _whoami(app)
    assert answer.json()["authentication"] == "insecure"
    assert answer.json()["role"] == "admin"
    async with client(app) as asking:
        for path in ("/v1/whoami", "/v1/nothing", "/livez"):
            assert (await asking.get(path)).headers["x-saga-authentication"] == "insecure"
        assert (await asking.get("/readyz")).json()["authentication"] == "insecure"
    async with client(_app(_keys())) as asking:
        ready = await asking.get("/readyz")
        assert ready.json()["authentication"] == "required"
        assert "x-saga-authentication" not in ready.headers


async def test_whoever_has_no_role_may_not_ask_without_end_either() -> None:
    """Somebody whom the issuer knows and nobody here is told 403 as often as others are answered, then 429."""
    app = _app(_keys(), rate=0.001)
    told = [(await _whoami(app, ("authorization", "Bearer bob.bob.bob"))).status_code for _ in range(4)]
    assert told == [403, 403, 429, 429]
