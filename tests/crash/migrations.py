"""Databases that are migrated by a program that is killed, and what a schema consists of."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from alembic.config import Config

from alembic import command
from coordinator.store.migrations import scripts_folder
from deploy.local.processes import Child
from deploy.local.stack import LocalStack
from tests.crash.hook import AT, last_words
from tests.crash.points import Armed

MIGRATED_S: Final = 30.0
BEFORE: Final = "0002"  # the version that a running system may be at

SCHEMA: Final = """
SELECT 'column', table_name, concat_ws(' ', column_name, data_type, is_nullable, column_default)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'function', oid::regprocedure::text, prosrc || coalesce(proacl::text, '')
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'rights', relname, coalesce(relacl::text, '') FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'version', 'alembic_version', version_num FROM alembic_version
ORDER BY 1, 2, 3
"""
STARTED: Final = "SELECT to_regclass('alembic_version') IS NOT NULL"

Schema = list[tuple[str, str, str]]


class Patient:
    """A database of its own, which is migrated."""

    def __init__(self, stack: LocalStack, name: str, url: str) -> None:
        self._stack = stack
        self._name = name
        self._url = url

    def migrate(self, armed: Armed | None = None) -> Child:
        """Run `saga migrate`, to be killed at a point or not."""
        environment = self._stack.coordinator_environment(self._url)
        if armed is not None:
            environment[AT] = str(armed)
        arguments = ("-m", "tests.crash.coordinator", "migrate")
        return self._stack.processes.python(self._name, *arguments, environment=environment)

    async def migrate_in_peace(self) -> None:
        """Run it to its end."""
        child = self.migrate()
        assert await asyncio.to_thread(child.wait, MIGRATED_S) == 0, child.output()[-3000:]

    async def be_killed(self, armed: Armed) -> None:
        """Run it, and have it killed."""
        child = self.migrate(armed)
        assert await asyncio.to_thread(child.wait, MIGRATED_S) == -signal.SIGKILL, child.output()[-3000:]
        assert last_words(armed) in child.output()

    async def bring_to(self, revision: str) -> None:
        """Migrate up to an older version."""
        config = Config()
        config.set_main_option("script_location", str(scripts_folder()))
        config.attributes["url"] = self._url
        await asyncio.to_thread(command.upgrade, config, revision)

    async def versions(self) -> list[str]:
        """The version that the database is at; none while it is empty."""
        if not (await self._fetch(STARTED))[0][0]:
            return []
        return [row["version_num"] for row in await self._fetch("SELECT version_num FROM alembic_version")]

    async def schema(self) -> Schema:
        """Everything that a migration makes."""
        return [tuple(row) for row in await self._fetch(SCHEMA)]

    async def _fetch(self, query: str) -> list[Any]:
        connection = await asyncpg.connect(self._url)
        try:
            return await connection.fetch(query)
        finally:
            await connection.close()


@asynccontextmanager
async def patient(stack: LocalStack) -> AsyncIterator[Patient]:
    """Make a database, and drop it afterwards."""
    name = f"crash_{secrets.token_hex(4)}"
    url = await asyncio.to_thread(stack.create_database, name)
    try:
        yield Patient(stack, name, url)
    finally:
        await asyncio.to_thread(stack.postgres.drop_database, name)
