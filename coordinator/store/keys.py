"""API keys in Postgres: the valid ones for every request, and all of them for those who look after them."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import msgspec

from coordinator.errors import Unavailable
from coordinator.observability.acts import say_act
from coordinator.store.database import statement
from coordinator.store.postgres import PostgresStore
from coordinator.wire.rfc3339 import format_ms


class ValidKey(msgspec.Struct, frozen=True):
    """A key that may be used now; `definitions` None means all."""

    id: str
    name: str
    secret_hash: bytes
    role: str
    definitions: frozenset[str] | None


class KeyView(msgspec.Struct, frozen=True):
    """A key as people see it, without its secret; moments are RFC 3339 text, `definitions` null means all.

    `state` is valid, expired or revoked. `last_used_at` lags by about a minute.
    """

    id: str
    name: str
    role: str
    definitions: list[str] | None
    state: str
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    revoked_by: str | None
    revoked_because: str | None
    last_used_at: str | None


class NewKey(msgspec.Struct, frozen=True):
    """A key to be made; `expires_ms` None means that it does not expire."""

    id: str
    name: str
    secret_hash: bytes
    role: str
    definitions: Sequence[str] | None = None
    expires_ms: int | None = None


class PlaceTaken(Exception):
    """The id, or the place among its name's keys, was taken meanwhile; nothing was written."""


class KeyStore:
    """Reads and writes of keys on the store's side session; everything raises Unavailable."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    async def valid(self) -> tuple[bool, list[ValidKey]]:
        """Whether there ever was a key, and the valid ones."""
        rows = await self._store.fetch("valid_keys")
        keys = [
            ValidKey(
                row["id"],
                row["name"],
                row["secret_hash"],
                row["role"],
                None if row["definitions"] is None else frozenset(row["definitions"]),
            )
            for row in rows
            if row["id"] is not None
        ]
        return rows[0]["made"], keys

    async def page(self, after: str, limit: int) -> list[KeyView]:
        """Keys in the order of their ids, from behind `after`."""
        return [_view(row) for row in await self._store.fetch("list_keys", after, limit)]

    async def get(self, key_id: str) -> tuple[KeyView, bytes] | None:
        """A key, and the hash of its secret."""
        rows = await self._store.fetch("get_key", key_id)
        return (_view(rows[0]), rows[0]["secret_hash"]) if rows else None

    async def create(self, key: NewKey, actor: str, reason: str, request_id: str) -> bool:
        """Add a key, audited; False when its name has two valid ones. Raises PlaceTaken."""
        definitions = None if key.definitions is None else sorted(set(key.definitions))
        values = (key.id, key.name, key.secret_hash, key.role, definitions, key.expires_ms, actor, reason, request_id)
        try:
            rows = await self._store.run(lambda connection: connection.fetch(statement("create_key"), *values))
        except asyncpg.UniqueViolationError as error:
            raise PlaceTaken(str(error.constraint_name)) from error
        except asyncpg.UndefinedTableError as error:
            raise Unavailable("the database lacks migrations: run `saga migrate`") from error
        if rows:
            _say("create_key", key.id, actor, reason, request_id)
        return bool(rows)

    async def revoke(self, key_id: str, actor: str, reason: str, request_id: str) -> bool:
        """End a key, audited; False when there is none that could be ended."""
        rows = await self._store.fetch("revoke_key", key_id, actor, reason, request_id)
        if rows:
            _say("revoke_key", key_id, actor, reason, request_id)
        return bool(rows)

    async def touch(self, key_ids: Sequence[str]) -> None:
        """Note that keys were used."""
        await self._store.fetch("touch_keys", sorted(key_ids))


def _say(action: str, key_id: str, actor: str, reason: str, request_id: str) -> None:
    say_act(actor=actor, action=action, reason=reason, request_id=request_id, subject=f"key:{key_id}")


def _view(row: asyncpg.Record) -> KeyView:
    def moment(name: str) -> str | None:
        return None if row[name] is None else format_ms(row[name])

    return KeyView(
        row["id"],
        row["name"],
        row["role"],
        row["definitions"],
        row["state"],
        format_ms(row["created_ms"]),
        row["created_by"],
        moment("expires_ms"),
        moment("revoked_ms"),
        row["revoked_by"],
        row["revoked_because"],
        moment("last_used_ms"),
    )
