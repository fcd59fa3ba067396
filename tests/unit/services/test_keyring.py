"""The valid keys as a process remembers them: revoked ones are forgotten in time, and nobody is let in on a guess."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from coordinator.errors import Unavailable
from coordinator.services import keyring
from coordinator.services.keyring import EAGER_S, STRANGER_S, TOUCH_S, TRUST_S, KeyRing
from coordinator.store.keys import ValidKey


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        """The time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Nobody sleeps here."""
        raise NotImplementedError


class Kept:
    """The database's keys; `away` makes it fail, `gate` makes a read wait."""

    def __init__(self, *names: str) -> None:
        self.keys = {name: ValidKey(name, f"of-{name}", b"x" * 32, "viewer", None) for name in names}
        self.reads = 0
        self.touched: list[Sequence[str]] = []
        self.away = False
        self.gate: asyncio.Event | None = None

    async def valid(self) -> tuple[bool, list[ValidKey]]:
        """All keys, as they were when the read began."""
        self.reads += 1
        found = list(self.keys.values())
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise Unavailable("Postgres does not answer")
        return bool(found), found

    async def touch(self, key_ids: Sequence[str]) -> None:
        """Note them."""
        if self.away:
            raise Unavailable("Postgres does not answer")
        self.touched.append(key_ids)


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_known_key_costs_no_statement() -> None:
    """Requests within the bound are judged by one read."""
    kept, hands = Kept("a"), Hands()
    ring = KeyRing(kept, hands)
    for _ in range(1_000):
        assert await ring.find("a") is not None
    assert kept.reads == 1


async def test_a_revoked_key_is_refused_within_the_bound_by_every_process() -> None:
    """Two rings know a key; it is revoked; whoever comes more than TRUST_S later is refused by both."""
    kept, hands = Kept("a"), Hands()
    rings = [KeyRing(kept, hands), KeyRing(kept, hands)]
    assert all([await ring.find("a") for ring in rings])
    del kept.keys["a"]
    hands.now += TRUST_S + 0.001
    assert [await ring.find("a") for ring in rings] == [None, None]


async def test_the_process_that_revokes_refuses_at_once() -> None:
    """After `forget` the very next request reads the keys again, even if a read from before is on its way."""
    kept, hands = Kept("a"), Hands()
    ring = KeyRing(kept, hands)
    assert await ring.find("a")
    hands.now += EAGER_S + 0.1
    kept.gate = asyncio.Event()
    assert await ring.find("a")  # judged by what is known; beside it a read begins
    await _settled()
    del kept.keys["a"]
    hands.now += 0.01
    ring.forget()
    asked = asyncio.create_task(ring.find("a"))
    await _settled()
    hands.now += 0.01
    kept.gate.set()
    assert await asked is None


async def test_keys_are_read_again_before_anybody_waits() -> None:
    """With requests coming, a read that takes its time delays none of them."""
    kept, hands = Kept("a"), Hands()
    ring = KeyRing(kept, hands)
    await ring.find("a")
    kept.gate = asyncio.Event()
    hands.now += EAGER_S + 0.1
    async with asyncio.timeout(1):
        assert await ring.find("a")
    await _settled()
    assert kept.reads == 2
    kept.gate.set()
    await _settled()


async def test_a_new_key_works_almost_at_once() -> None:
    """A key that is not known is looked for again, at most ten times a second however many ask."""
    kept, hands = Kept("a"), Hands()
    ring = KeyRing(kept, hands)
    await ring.find("a")
    kept.keys["b"] = ValidKey("b", "of-b", b"x" * 32, "viewer", None)
    hands.now += STRANGER_S + 0.001
    found = await asyncio.gather(*(ring.find(each) for each in ["b", *map(str, range(100))]))
    assert found[0] is not None
    assert found[1:] == [None] * 100
    assert kept.reads == 2


async def test_while_postgres_is_away_nobody_is_let_in() -> None:
    """Beyond the bound a key that was valid is not taken on trust: Unavailable, until Postgres answers again."""
    kept, hands = Kept("a"), Hands()
    ring = KeyRing(kept, hands)
    await ring.find("a")
    kept.away = True
    hands.now += TRUST_S + 0.001
    for _ in range(2):
        with pytest.raises(Unavailable):
            await ring.find("a")
    with pytest.raises(Unavailable):
        await KeyRing(kept, hands).any_made()
    kept.away = False
    assert await ring.find("a")


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that does not come back lets its requests go with Unavailable after PATIENCE_S."""
    monkeypatch.setattr(keyring, "PATIENCE_S", 0.02)
    kept, hands = Kept("a"), Hands()
    ring = KeyRing(kept, hands)
    kept.gate = asyncio.Event()
    with pytest.raises(Unavailable, match="in time"):
        await ring.find("a")
    kept.gate.set()
    await _settled()


async def test_use_is_noted_once_a_minute() -> None:
    """However often a key is used it is written once in TOUCH_S, beside the requests, and a failure harms nobody."""
    kept, hands = Kept("a", "b"), Hands()
    ring = KeyRing(kept, hands)
    for _ in range(200):
        for each in ("b", "a"):
            assert await ring.find(each)
            ring.used(each)
        hands.now += TRUST_S
        await _settled()
    assert 3 <= len(kept.touched) <= 200 / TOUCH_S + 1
    assert kept.touched[-1] == ["a", "b"]


async def test_there_was_a_first_key_for_ever() -> None:
    """Once any key was made this is remembered, whatever becomes of it."""
    kept, hands = Kept(), Hands()
    ring = KeyRing(kept, hands)
    assert not await ring.any_made()
    kept.keys["a"] = ValidKey("a", "of-a", b"x" * 32, "viewer", None)
    hands.now += TRUST_S + 0.001
    assert await ring.any_made()
