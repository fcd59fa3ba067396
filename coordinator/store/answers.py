"""Answers that are kept under Idempotency-Keys, over a session of their own: no start waits behind them."""

from __future__ import annotations

from uuid import uuid4

import msgspec

from coordinator.store.postgres import PostgresStore


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
    """The key is ours under `claim`; `again` says that the same request may have done something before."""

    claim: str
    again: bool


class InFlight(msgspec.Struct, frozen=True):
    """The same request is being answered elsewhere."""


class OfAnother(msgspec.Struct, frozen=True):
    """The key stands for another request."""


Claimed = Held | KeptAnswer | InFlight | OfAnother


class KeptAnswers:
    """The table of answers; every method raises Unavailable."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    async def claim(self, asked: AskedUnder) -> Claimed:
        """Take a request's key for it, or say what stands in the way."""
        claim = str(uuid4())
        [row] = await self._store.fetch("claim_answer", asked.actor, asked.key, asked.fingerprint, claim)
        if row["tries"] is not None:
            return Held(claim, row["tries"] > 1)
        if row["same"] is False:
            return OfAnother()
        if row["status"] is None:
            return InFlight()
        return KeptAnswer(row["status"], msgspec.json.decode(row["headers"], type=dict[str, str]), row["body"])

    async def keep(self, asked: AskedUnder, claim: str, answer: KeptAnswer) -> None:
        """Keep what a request was answered, if the key is still its own."""
        headers = msgspec.json.encode(answer.headers).decode()
        await self._store.fetch("keep_answer", asked.actor, asked.key, claim, answer.status, headers, answer.body)

    async def free(self, asked: AskedUnder, claim: str) -> None:
        """Let the key be used for any request: this one began nothing."""
        await self._store.fetch("free_answer", asked.actor, asked.key, claim)

    async def reopen(self, asked: AskedUnder, claim: str) -> None:
        """Let the same request try again at once: what came of it is not known."""
        await self._store.fetch("reopen_answer", asked.actor, asked.key, claim)
