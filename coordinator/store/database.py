"""Connections to Postgres: the statements of queries/, and sessions that behave the same everywhere.

`statement(name)` reads queries/<name>.sql once. Engine sessions plan each statement once and generically: the
batch statement is wide, and planning it anew would cost more than running it.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import asyncpg

from coordinator.errors import ConfigurationError, Unavailable

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 15.0  # a backend that hangs longer than this is treated as gone
APPLICATION_NAME = "saga-coordinator"

GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)

_WRONG_URL = (
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.exceptions.ClientConfigurationError,
)

_SESSION = {
    "application_name": APPLICATION_NAME,
    "timezone": "UTC",
    "jit": "off",
    "idle_in_transaction_session_timeout": "10s",
}
# Lookups by key must stay lookups by key, whatever the statistics of a table that was empty a minute ago say.
_ENGINE_SESSION = {
    **_SESSION,
    "lock_timeout": "200ms",
    "enable_seqscan": "off",
    "enable_memoize": "off",  # a batch asks for each row once, so there is nothing to remember
    "plan_cache_mode": "force_generic_plan",
}


@cache
def statement(name: str) -> str:
    """The text of queries/<name>.sql."""
    return resources.files("coordinator.store.queries").joinpath(f"{name}.sql").read_text()


async def connect(url: str, *, engine: bool = True) -> asyncpg.Connection[asyncpg.Record]:
    """Open one long-lived session; raises Unavailable when Postgres does not answer."""
    try:
        return await asyncpg.connect(
            url,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings=_ENGINE_SESSION if engine else _SESSION,
        )
    except _WRONG_URL as error:
        raise ConfigurationError(f"database.url: {error}") from error
    except GONE as error:
        raise Unavailable(f"Postgres does not answer: {error or type(error).__name__}") from error
    except ValueError:  # its text would show the URL, or the half of a password
        raise ConfigurationError("database.url cannot be read: are all its parts percent-encoded?") from None


async def check_durability(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Refuse a server that may lose what it acknowledged (design section 6)."""
    for setting in ("synchronous_commit", "fsync", "full_page_writes"):
        if await connection.fetchval("SELECT current_setting($1)", setting) == "off":
            raise ConfigurationError(
                f"Postgres runs with {setting}=off: acknowledged sagas could be lost. Switch it on."
            )
