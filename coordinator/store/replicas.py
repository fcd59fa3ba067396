"""Which process runs which definitions: the contents that a replica registers, and its heartbeats.

Contents are compared under a lock, so that of two replicas that begin at once with different contents one is first
and the other sees it. Whatever happens, a saga cannot change its content: the id in its row is that of the content it
began with (docs/adr/0014).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from coordinator.errors import Unavailable
from coordinator.saga.content import Content
from coordinator.store.database import statement
from coordinator.store.postgres import PostgresStore

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

LIVE_S = 15  # a replica that was not seen for so long does not count

Key = tuple[str, int]


class Change(msgspec.Struct, frozen=True):
    """A version that is known with another content: in use by so many sagas in flight and by these live replicas."""

    content: Content
    known: bytes
    present: bool
    in_flight: int
    replicas: list[str]


class InUse(Exception):
    """Contents of these versions are in use and cannot be replaced; nothing was written."""

    def __init__(self, changes: Sequence[Change]) -> None:
        super().__init__(f"{len(changes)} changed definitions are in use")
        self.changes = changes


class Registered(msgspec.Struct, frozen=True):
    """The ids of a replica's definitions, and the versions whose content it has replaced."""

    ids: dict[Key, int]
    replaced: list[Change]


class Known(msgspec.Struct, frozen=True):
    """A content as all replicas know it: whether a live one `runs` it, and those that lack it."""

    id: int
    name: str
    version: int
    present: bool
    runs: bool
    lacking: list[str]


class Replicas:
    """The replicas and contents of an installation, as the replica `identity` sees and writes them."""

    def __init__(self, store: PostgresStore, identity: str) -> None:
        self._store = store
        self._identity = identity

    async def register(self, contents: Sequence[Content]) -> Registered:
        """Give every content its id and begin to count as live, all or nothing; doing it twice does no harm.

        Raises InUse, Unavailable.
        """

        async def register(connection: Connection) -> Registered:
            async with connection.transaction():
                await connection.execute(statement("lock_definitions"))
                return await self._register(connection, contents)

        try:
            return await self._store.run(register)
        except asyncpg.UniqueViolationError as error:  # a coordinator of an older release takes no lock
            raise Unavailable(f"another process registers the same version just now: {error}") from error

    async def beat(self, ids: Mapping[Key, int]) -> list[Known]:
        """Go on to count as live; answers all contents that were ever registered. Raises Unavailable."""
        await self._store.fetch("beat_replica", self._identity, sorted(ids.values()))
        rows = await self._store.fetch("read_definitions", LIVE_S)
        return [Known(**row) for row in rows]

    async def leave(self) -> None:
        """Count no longer. Raises Unavailable."""
        await self._store.fetch("forget_replicas", self._identity)

    async def _register(self, connection: Connection, contents: Sequence[Content]) -> Registered:
        read = statement("read_contents")
        found = [
            (each, await connection.fetch(read, each.name, each.version, each.document, LIVE_S)) for each in contents
        ]
        changes = [change for content, rows in found for change in _changes(content, rows)]
        in_use = [change for change in changes if change.in_flight or change.replicas]
        if in_use:
            raise InUse(in_use)
        ids = {(content.name, content.version): await _place(connection, content, rows) for content, rows in found}
        await connection.execute(statement("forget_replicas"), self._identity)
        await connection.execute(statement("beat_replica"), self._identity, sorted(ids.values()))
        return Registered(ids, [change for change in changes if change.present])


def _changes(content: Content, rows: Sequence[asyncpg.Record]) -> list[Change]:
    return [
        Change(content, row["content"], row["present"], row["in_flight"], row["replicas"])
        for row in rows
        if row["content"] not in (None, content.document)
    ]


async def _place(connection: Connection, content: Content, rows: Sequence[asyncpg.Record]) -> int:
    """Make a content the present one of its version; answers its id."""
    same = next((row for row in rows if row["content"] == content.document), None)
    present = next((row for row in rows if row["present"]), None)
    if present is not None and present["content"] is None:
        await connection.execute(statement("fill_content"), present["id"], content.document)
        return int(present["id"])
    if present is not None and present is not same:
        await connection.execute(statement("set_present"), present["id"], False)
    if same is None:
        return int(await connection.fetchval(statement("add_content"), content.name, content.version, content.document))
    if same is not present:
        await connection.execute(statement("set_present"), same["id"], True)
    return int(same["id"])
