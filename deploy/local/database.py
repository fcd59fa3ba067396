"""What every local Postgres can do, whichever way it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import asyncpg

from deploy.local.choice import LocalStackError
from deploy.local.waiting import run_async

APPLICATION_ROLE = "saga_app"


class Database(ABC):
    """A Postgres that is ready for use; methods that this kind cannot do raise LocalStackError."""

    kind: str

    def __init__(self, admin_url: str, description: str) -> None:
        self.admin_url = admin_url
        """URL of a database that exists, for a user who may create others."""
        self.description = description
        self._has_application_role: bool | None = None

    def url(self, database: str) -> str:
        """Return the TCP URL of a database by name."""
        return urlunsplit(urlsplit(self.admin_url)._replace(path="/" + quote(database, safe="")))

    def application_url(self, url: str) -> str:
        """Return the URL of the same database for a role that owns nothing, as which the coordinator runs.

        All who share a server agree on its password, which is the administrator's. Where the administrator's URL may
        not make roles, as it can be on a server of somebody else, there is none: then it is the given URL.
        """
        if self._has_application_role is None:
            password = urlsplit(self.admin_url).password
            made = _make_role(self.admin_url, APPLICATION_ROLE, None if password is None else unquote(password))
            self._has_application_role = run_async(made)
        if not self._has_application_role:
            return url
        parts = urlsplit(url)
        credentials, _, place = parts.netloc.rpartition("@")
        _, colon, password = credentials.partition(":")
        return urlunsplit(parts._replace(netloc=f"{APPLICATION_ROLE}{colon}{password}@{place}"))

    def execute(self, statement: str) -> None:
        """Run one SQL statement in the admin database, outside of any transaction."""
        run_async(_execute(self.admin_url, statement))

    def create_database(self, name: str) -> str:
        """Create a database and return its URL, for its owner."""
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


async def _make_role(url: str, role: str, password: str | None) -> bool:
    """Make a role that may log in, if need be; answers whether it is there."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        text = await connection.fetchval(
            "select format('create role %I login password %L', $1::text, $2::text)"
            " where not exists (select from pg_roles where rolname = $1)",
            role,
            password,
        )
        if text is not None:
            await connection.execute(text)
    except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
        return True  # somebody else did at the same time
    except asyncpg.InsufficientPrivilegeError:
        return False
    finally:
        await connection.close(timeout=5)
    return True


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
