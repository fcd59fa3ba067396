"""Running the migrations of alembic/, and telling whether a database has them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg

from coordinator.errors import ConfigurationError, Unavailable
from coordinator.store.database import connect
from coordinator.store.roles import let_in


def scripts_folder() -> Path:
    """The folder alembic/ of the checkout, or of the working directory for an installed package."""
    candidates = [Path(__file__).resolve().parents[2] / "alembic", Path.cwd() / "alembic"]
    for folder in candidates:
        if (folder / "env.py").is_file():
            return folder
    raise ConfigurationError(
        f"the folder alembic/ with the migrations is in none of: {', '.join(map(str, candidates))}"
    )


def head() -> str:
    """The newest migration: files in alembic/versions begin with their revision, and revisions are numbered."""
    revisions = sorted(file.name.partition("_")[0] for file in (scripts_folder() / "versions").glob("[0-9]*.py"))
    if not revisions:
        raise ConfigurationError("there are no migrations in alembic/versions")
    return revisions[-1]


async def migrate(url: str, application_url: str | None = None) -> None:
    """Bring a database to the newest migration as its owner, and give the application's role its rights.

    Any number of processes may call this at once. Raises Unavailable when Postgres does not answer.
    """
    connection = await connect(url, engine=False)
    await connection.close()
    # Only `saga migrate` needs Alembic, which is two fifths of what a serving process would import.
    from alembic.config import Config  # noqa: PLC0415

    from alembic import command  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(scripts_folder()).replace("%", "%%"))
    config.attributes["url"] = url
    # env.py runs an event loop of its own.
    await asyncio.to_thread(command.upgrade, config, "head")
    if application_url is not None and application_url != url:
        await let_in(url, application_url)


async def is_current(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Whether the database stands at the newest migration; raises Unavailable when this role may not know."""
    try:
        found = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return False
    except asyncpg.InsufficientPrivilegeError as error:
        raise Unavailable(f"the database has not let this role in: run `saga migrate` ({error})") from error
    return bool(found == head())
