"""The two roles of the database: the owner, who migrates, and the application, which may do what its work needs.

The application's role makes and drops nothing, and adds to the audit and to the sagas' log without being able to
change them (docs/adr/0023). `saga migrate` gives it its rights, each time anew.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import msgspec
import structlog

from coordinator.errors import ConfigurationError
from coordinator.store.database import connect, statement

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

log = structlog.get_logger()

RIGHTS: Final[dict[str, str]] = {
    "alembic_version": "SELECT",
    "api_key": "SELECT, INSERT, UPDATE",
    "audit_log": "SELECT, INSERT",
    "batch_operation": "SELECT, INSERT, UPDATE, DELETE",
    "batch_operation_item": "SELECT, INSERT, UPDATE, DELETE",
    "dead_letter": "SELECT, INSERT, UPDATE",
    "held_step": "SELECT, INSERT, UPDATE, DELETE",
    "idempotency_key": "SELECT, INSERT, UPDATE, DELETE",
    "incident": "SELECT, INSERT, UPDATE",
    "incident_note": "SELECT, INSERT",
    "installation": "SELECT",
    "outbox": "SELECT, INSERT, DELETE",
    "participant_state": "SELECT, INSERT, UPDATE, DELETE",
    "replica": "SELECT, INSERT, UPDATE, DELETE",
    "saga": "SELECT, INSERT, UPDATE",
    "saga_definition": "SELECT, INSERT, UPDATE",
    "saga_key": "SELECT, INSERT",
    "saga_label": "SELECT, INSERT",
    "saga_log": "SELECT, INSERT",
    "saga_tally": "SELECT, INSERT, DELETE",
    "shard": "SELECT, INSERT, UPDATE",
}
"""What the application may do with each table; a day of the log is reached through saga_log only."""

FUNCTIONS: Final = ("saga_ensure_log_days(integer)", "saga_drop_log_days(integer)", "saga_summarize_log()")
"""What the application may have done by the owner."""

_ITERATIONS = 4096  # as the server has it


class Login(msgspec.Struct, frozen=True):
    """Whom a URL names."""

    role: str | None
    password: str | None


class Standing(msgspec.Struct, frozen=True):
    """Who a session is, and whether it could do to the audit what nobody should."""

    role: str
    is_mighty: bool


def needed_rights() -> tuple[list[str], list[str]]:
    """RIGHTS one by one: the names of tables, and what is done with them."""
    pairs = [(table, right) for table, rights in RIGHTS.items() for right in rights.split(", ")]
    return [table for table, _ in pairs], [right for _, right in pairs]


async def let_in(owner_url: str, application_url: str) -> None:
    """Give the role of the application's URL its rights, and make it where there is none yet.

    Several at once do no harm; with the owner's own role there is nothing to do.
    Raises ConfigurationError, Unavailable.
    """
    login = login_of(application_url)
    if login.role is None:
        raise ConfigurationError("SAGA_DATABASE__URL must name a role when SAGA_DATABASE__MIGRATION_URL is another URL")
    connection = await connect(owner_url, engine=False)
    try:
        if await connection.fetchval("SELECT current_user") == login.role:
            return
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", login.role):
            await _make(connection, login.role, login.password)
        async with connection.transaction():
            await connection.execute(statement("lock_rights"))
            names, rights = list(RIGHTS), list(RIGHTS.values())
            for row in await connection.fetch(statement("write_rights"), login.role, names, rights, FUNCTIONS):
                await connection.execute(row["statement"])
    finally:
        await connection.close()
    log.info("rights_given", role=login.role)


async def standing(connection: Connection) -> Standing:
    """Say who a session of a migrated database is."""
    row = await connection.fetchrow(statement("own_standing"))
    if row is None:
        raise ConfigurationError("the role of SAGA_DATABASE__URL is not among the server's roles")
    return Standing(row["role"], row["is_mighty"])


def login_of(url: str) -> Login:
    """Read role and password out of a URL, in either of the places where they may stand; raises ConfigurationError."""
    try:
        parts = urlsplit(url)
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        role, password = parts.username, parts.password
    except ValueError:  # its text would show the URL
        raise ConfigurationError("SAGA_DATABASE__URL cannot be read: are its parts percent-encoded?") from None
    return Login(
        given.get("user", None if role is None else unquote(role)),
        given.get("password", None if password is None else unquote(password)),
    )


async def _make(connection: Connection, role: str, password: str | None) -> None:
    verifier = None if password is None else _verifier(password)
    text = await connection.fetchval(statement("write_role"), role, verifier)
    try:
        await connection.execute(text)
    except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
        return  # another migrator, of another database of this server for one, was first
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigurationError(
            f"there is no role {role} and SAGA_DATABASE__MIGRATION_URL may not make it: have an administrator run"
            f" CREATE ROLE with LOGIN and its password, then migrate again ({error})"
        ) from error
    log.info("role_made", role=role)


def _verifier(password: str) -> str:
    """What the server keeps of a password (RFC 5803): so the password itself never reaches it, or its log."""
    if not password.isascii():
        raise ConfigurationError(
            "a role with a password beyond ASCII is made by an administrator, with CREATE ROLE; then migrate again"
        )
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_, stored_, server_ = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{salt_}${stored_}:{server_}"
