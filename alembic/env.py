"""Runs the migrations over asyncpg; the URL comes from `saga migrate` through the configuration's attributes."""

from __future__ import annotations

import asyncio

import asyncpg
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from alembic import context

LOCK = 7_203_911_845  # any number, the same for every migrator: one at a time


def run(connection: Connection) -> None:
    """Migrate inside one transaction, holding the migrators' lock."""
    context.configure(connection=connection, transaction_per_migration=False)
    with context.begin_transaction():
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        context.run_migrations()


async def migrate(url: str) -> None:
    """Connect, migrate, disconnect."""
    # The driver reads the URL itself: so it means what it means to every other process, and no error shows it.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url), poolclass=pool.NullPool
    )
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


asyncio.run(migrate(context.config.attributes["url"]))
