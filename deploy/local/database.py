"""What every local Postgres can do, whichever way it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from deploy.local.choice import LocalStackError
from deploy.local.waiting import run_async


class Database(ABC):
    """A Postgres that is ready for use; methods that this kind cannot do raise LocalStackError."""

    kind: str

    def __init__(self, admin_url: str, description: str) -> None:
        self.admin_url = admin_url
        """URL of a database that exists, for a user who may create others."""
        self.description = description

    def url(self, database: str) -> str:
        """Return the TCP URL of a database by name."""
        return urlunsplit(urlsplit(self.admin_url)._replace(path="/" + quote(database, safe="")))

    def execute(self, statement: str) -> None:
        """Run one SQL statement in the admin database, outside of any transaction."""
        run_async(_execute(self.admin_url, statement))

    def create_database(self, name: str) -> str:
        """Create a database and return its URL."""
        self.execute(f"create database {_quoted(name)} template template0 encoding 'UTF8'")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database and end the sessions in it; one that is gone is fine."""
        self.execute(f"drop database if exists {_quoted(name)} with (force)")

    def stop(self, *, immediate: bool = False) -> None:  # noqa: ARG002 - for those that can
        """Stop it fast (open transactions roll back) or `immediate`: recovery is left to the start."""
        raise self._not_ours("stop")

    def kill(self) -> None:
        """End all its processes at once, as kill -9 does."""
        raise self._not_ours("kill")

    def start(self) -> None:
        """Start it again on the same data and port and wait until it serves."""
        raise self._not_ours("start")

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        raise self._not_ours("pause")

    def resume(self) -> None:
        """Let it go on after `pause`."""
        raise self._not_ours("resume")

    def facts(self) -> dict[str, Any]:
        """Return what another process needs in order to use this server, as JSON."""
        return {"kind": self.kind, "admin_url": self.admin_url, "description": self.description}

    @abstractmethod
    def close(self) -> None:
        """End it for good; its data is not needed any more."""

    def _not_ours(self, verb: str) -> LocalStackError:
        return LocalStackError(
            f"cannot {verb} this Postgres ({self.kind}): another owner runs it. Start a LocalStack of your own"
        )


class ForeignDatabase(Database):
    """A server that somebody else runs: it can be used, not steered."""

    def __init__(self, admin_url: str, description: str, *, kind: str = "external") -> None:
        super().__init__(admin_url, description)
        self.kind = kind

    def close(self) -> None:
        """Leave it running."""


def check_connection(url: str) -> None:
    """Connect once; raises OSError, asyncpg.PostgresError or asyncpg.InterfaceError if that fails."""
    run_async(_execute(url, "select 1"))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(statement, timeout=60)
    finally:
        await connection.close(timeout=5)


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
