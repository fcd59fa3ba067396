"""An issuer's keys: how often it is asked, for how long its word counts, and how much it may say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from coordinator.errors import Unavailable
from coordinator.services import jwks
from coordinator.services.jwks import BYTES_MAX, FRESH_S, PAUSE_S, STALE_S, SigningKeys
from coordinator.services.oidc import Issuer
from tests.unit.services import issuers
from tests.unit.services.issuers import KEYS, jwk, token
from tests.unit.services.test_keyring import Hands


class Sso:
    """Shows keys, and counts who asks; `away` makes it fail."""

    def __init__(self) -> None:
        self.keys = KEYS
        self.asked = 0
        self.away = False
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> Any:
        """Show the keys."""
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise OSError("connection refused")
        return self.keys


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_many_tokens_cost_one_question() -> None:
    """However many ask at once, for known keys or unknown ones, the issuer is asked once in PAUSE_S at most."""
    sso, hands = Sso(), Hands()
    keys = SigningKeys(sso, hands)
    await asyncio.gather(*(keys.find("rsa") for _ in range(100)))
    for number in range(100):
        assert await keys.find(f"unknown-{number}") is None
    assert sso.asked == 1
    hands.now += PAUSE_S
    await asyncio.gather(*(keys.find(f"unknown-{number}") for number in range(100)))
    assert sso.asked == 2


async def test_a_new_key_is_found_when_a_token_names_it() -> None:
    """After a rotation the first token of the new key has the keys fetched again."""
    sso, hands = Sso(), Hands()
    keys = SigningKeys(sso, hands)
    await keys.find("rsa")
    sso.keys = {"keys": [jwk("new", issuers.OTHER)]}
    hands.now += PAUSE_S
    assert await keys.find("new") is not None
    assert await keys.find("rsa") is None


async def test_an_issuer_that_is_down_is_believed_for_a_while() -> None:
    """Known keys count on for STALE_S, fetched anew beside the requests; then nobody is judged until it is back."""
    sso, hands = Sso(), Hands()
    keys = SigningKeys(sso, hands)
    await keys.find("rsa")
    sso.away = True
    hands.now += STALE_S - 1
    assert await keys.find("rsa") is not None
    assert await keys.find("unknown") is None
    hands.now += 2
    with pytest.raises(Unavailable):
        await keys.find("rsa")
    sso.away = False
    hands.now += PAUSE_S
    assert await keys.find("rsa") is not None


async def test_a_slow_issuer_delays_nobody_whose_key_is_known() -> None:
    """While the keys are fetched again a token of a known key is judged at once."""
    sso, hands = Sso(), Hands()
    keys = SigningKeys(sso, hands)
    await keys.find("rsa")
    sso.gate = asyncio.Event()
    hands.now += FRESH_S + 1
    async with asyncio.timeout(1):
        assert await keys.find("rsa") is not None
    await _settled()
    assert sso.asked == 2
    sso.gate.set()
    await _settled()


async def test_a_silent_issuer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch that does not end is given up after FETCH_S."""
    monkeypatch.setattr(jwks, "FETCH_S", 0.02)
    sso = Sso()
    sso.gate = asyncio.Event()
    with pytest.raises(Unavailable):
        await SigningKeys(sso, Hands()).find("rsa")


Answerer = Callable[[str], bytes]


@asynccontextmanager
async def _web(answer: Answerer) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve what `answer` says on loopback; gives the URL and the paths that were asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        asked.append(path)
        with_body = answer(path)
        writer.write(with_body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield f"http://127.0.0.1:{port}", asked


def _ok(value: Any) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


async def _verify(**changes: Any) -> None:
    chosen = issuers.settings(**changes)
    assert (await Issuer(chosen, Hands()).verify(token(iss=chosen.issuer))).actor == "oidc:ann"


async def test_keys_are_fetched_from_where_the_settings_say() -> None:
    """With a URL for the keys nothing else is asked."""
    async with _web(lambda _: _ok(KEYS)) as (url, asked):
        await _verify(jwks_url=f"{url}/keys")
    assert asked == ["/keys"]


async def test_keys_are_discovered() -> None:
    """Without a URL for the keys the issuer's own document says where they are."""
    place = ""

    def answer(path: str) -> bytes:
        return _ok(KEYS if path == "/k" else {"issuer": f"{place}/realm", "jwks_uri": f"{place}/k"})

    async with _web(answer) as (url, asked):
        place = url
        await _verify(issuer=f"{url}/realm")
    assert asked == ["/realm/.well-known/openid-configuration", "/k"]


@pytest.mark.parametrize(
    "found",
    [
        {"issuer": "https://evil.example", "jwks_uri": "https://evil.example/k"},
        {"issuer": "ISSUER", "jwks_uri": "http://evil.example/k"},
        {"issuer": "ISSUER", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "ISSUER", "jwks_uri": "https://user:word@example.com/k"},
        {"issuer": "ISSUER", "jwks_uri": ["https://example.com"]},
        {"issuer": "ISSUER"},
        [],
    ],
    ids=str,
)
async def test_a_document_that_leads_astray_is_not_followed(found: Any) -> None:
    """The document must be the issuer's own, and the keys' URL one that can be trusted."""
    place = ""

    def answer(path: str) -> bytes:
        return _ok({**found, "issuer": found["issuer"].replace("ISSUER", place)} if isinstance(found, dict) else found)

    async with _web(answer) as (url, asked):
        place = url
        with pytest.raises(Unavailable):
            await Issuer(issuers.settings(issuer=url), Hands()).verify(token(iss=url))
    assert asked == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        _ok(b'{"keys": ['),
        _ok(b"[" * 100_000),
        _ok(json.dumps({**KEYS, "fat": "x" * BYTES_MAX}).encode()),
        _ok(KEYS).replace(b"connection", b"content-encoding: gzip\r\nconnection"),
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b" " * (4 * BYTES_MAX),
        b"nonsense\r\n\r\n",
        b"",
    ],
    ids=["redirect", "error", "cut", "deep", "fat", "encoded", "endless", "no HTTP", "nothing"],
)
async def test_an_answer_that_is_none_is_not_taken(answer: bytes) -> None:
    """A redirect, an error, an answer that is too large, encoded or no JSON gives no keys, and follows nothing."""
    async with _web(lambda _: answer) as (url, asked):
        with pytest.raises(Unavailable):
            await Issuer(issuers.settings(jwks_url=f"{url}/keys"), Hands()).verify(token())
    assert asked == ["/keys"]


def test_a_strange_key_spoils_no_other() -> None:
    """A key that says alg none is passed over; the issuer's others count as before."""
    strange = {**jwk("strange", issuers.OTHER), "alg": "none"}
    assert list(jwks.read_keys({"keys": [strange, jwk("rsa", issuers.OTHER)]})) == ["rsa"]
