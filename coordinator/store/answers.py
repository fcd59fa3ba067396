"""Answers that are kept under Idempotency-Keys, over a session of their own: no start waits behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

import asyncpg
import msgspec

from coordinator.store.gathering import Gathering
from coordinator.store.postgres import PostgresStore

TOGETHER: Final = 100


class AskedUnder(msgspec.Struct, frozen=True):
    """A request that came with a key: whose it is, and the hash of all that it says."""

    actor: str
    key: str
    fingerprint: bytes


class KeptAnswer(msgspec.Struct, frozen=True):
    """What a request was answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class Held(msgspec.Struct, frozen=True):
    """The key is ours under `claim`; `since_ms` is when the same request first came, if it may have done something."""

    claim: str
    since_ms: int | None


class InFlight(msgspec.Struct, frozen=True):
    """The same request is being answered elsewhere."""


class OfAnother(msgspec.Struct, frozen=True):
    """The key stands for another request."""


Claimed = Held | KeptAnswer | InFlight | OfAnother


class _Kept(msgspec.Struct, frozen=True):
    asked: AskedUnder
    claim: str
    answer: KeptAnswer


class KeptAnswers:
    """The table of answers; every method raises Unavailable. Calls that come together share a statement."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._claims: Gathering[AskedUnder, Claimed] = Gathering(self._claim, _key_of, TOGETHER)
        self._keeps: Gathering[_Kept, None] = Gathering(self._keep, lambda kept: kept.claim, TOGETHER)

    async def claim(self, asked: AskedUnder) -> Claimed:
        """Take a request's key for it, or say what stands in the way."""
        return await self._claims.ask(asked)

    async def keep(self, asked: AskedUnder, claim: str, answer: KeptAnswer) -> None:
        """Keep what a request was answered, if the key is still its own."""
        await self._keeps.ask(_Kept(asked, claim, answer))

    async def free(self, asked: AskedUnder, claim: str) -> None:
        """Let the key be used for any request: this one began nothing."""
        await self._store.fetch("free_answer", asked.actor, asked.key, claim)

    async def reopen(self, asked: AskedUnder, claim: str) -> None:
        """Let the same request try again at once: what came of it is not known."""
        await self._store.fetch("reopen_answer", asked.actor, asked.key, claim)

    async def _claim(self, all_asked: Sequence[AskedUnder]) -> list[Claimed]:
        claims = {_key_of(asked): str(uuid4()) for asked in all_asked}
        rows = [(asked.actor, asked.key, asked.fingerprint, claims[_key_of(asked)]) for asked in all_asked]
        found = await self._store.fetch("claim_answers", *zip(*sorted(rows), strict=True))
        answers = {row["claim"]: _claimed(row) for row in found}
        return [answers[claims[_key_of(asked)]] for asked in all_asked]

    async def _keep(self, all_kept: Sequence[_Kept]) -> list[None]:
        rows = [
            (
                kept.asked.actor,
                kept.asked.key,
                kept.claim,
                kept.answer.status,
                msgspec.json.encode(kept.answer.headers).decode(),
                kept.answer.body,
            )
            for kept in all_kept
        ]
        await self._store.fetch("keep_answers", *zip(*sorted(rows), strict=True))
        return [None] * len(rows)


def _key_of(asked: AskedUnder) -> tuple[str, str]:
    return asked.actor, asked.key


def _claimed(row: asyncpg.Record) -> Claimed:
    if row["tries"] is not None:
        return Held(row["claim"], row["created_ms"] if row["tries"] > 1 else None)
    if row["same"] is False:
        return OfAnother()
    if row["status"] is None:
        return InFlight()
    return KeptAnswer(row["status"], msgspec.json.decode(row["headers"], type=dict[str, str]), row["body"])
