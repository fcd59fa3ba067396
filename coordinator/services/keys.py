"""API keys: who has which, made and ended for the record (docs/adr/0022-who-may-do-what.md)."""

from __future__ import annotations

import re

import msgspec

from coordinator.errors import Conflict, NotFound, Unavailable
from coordinator.services import tokens
from coordinator.store.keys import KeyStore, KeyView, NewKey, PlaceTaken

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
TRIES = 5


class MadeKey(msgspec.Struct, frozen=True):
    """A key that was just made, and its token, which is never to be had again."""

    key: KeyView
    token: str


class Keys:
    """Looks after the keys of an installation; everything raises Unavailable."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store

    async def page(self, after: str, limit: int) -> list[KeyView]:
        """Keys, valid or not, in the order of their ids, from behind `after`."""
        return await self._store.page(after, limit)

    async def create(
        self,
        name: str,
        role: str,
        actor: str,
        reason: str,
        request_id: str,
        definitions: list[str] | None = None,
        expires_ms: int | None = None,
    ) -> MadeKey:
        """Make a key; raises Conflict where two valid ones have this name."""
        for _ in range(TRIES):
            token = tokens.new_token()
            key_id = tokens.id_of(token) or ""
            key = NewKey(key_id, name, tokens.hash_of(token), role, definitions, expires_ms)
            try:
                created = await self._store.create(key, actor, reason, request_id)
            except PlaceTaken:
                continue  # somebody was faster; there may be another place
            if not created:
                raise _two_are_enough(name)
            return MadeKey(await self._present(key_id), token)
        raise Unavailable("keys of this name are being made all the time")

    async def ensure(self, name: str, role: str, token: str, actor: str) -> KeyView:
        """Make the key of a token that somebody has written down, unless it is there; raises Conflict.

        A key that was revoked, or has expired, stays so: look at the answer's state.
        """
        key_id = tokens.id_of(token)
        if key_id is None:
            raise Conflict("this is no token of ours: it was cut or misspelt")
        for _ in range(TRIES):
            found = await self._store.get(key_id)
            if found is not None:
                key_view, kept = found
                if not tokens.matches(token, kept):
                    raise Conflict(f"another token has the id {key_id}")
                return key_view
            try:
                key = NewKey(key_id, name, tokens.hash_of(token), role)
                if not await self._store.create(key, actor, "provisioned from a file", ""):
                    raise _two_are_enough(name)
            except PlaceTaken:
                continue
        raise Unavailable("keys of this name are being made all the time")

    async def revoke(self, key_id: str, actor: str, reason: str, request_id: str) -> KeyView:
        """End a key; one that was ended before stays as it is. Raises NotFound."""
        await self._store.revoke(key_id, actor, reason, request_id)
        return await self._present(key_id)

    async def _present(self, key_id: str) -> KeyView:
        found = await self._store.get(key_id)
        if found is None:
            raise NotFound("there is no key with this id")
        return found[0]


def _two_are_enough(name: str) -> Conflict:
    return Conflict(f"two valid keys are called {name}: revoke the one that is not used any more")
