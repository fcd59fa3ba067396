"""Two roles: the owner migrates; the application works, makes and drops nothing, and cannot change what was done."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest

from coordinator.errors import ConfigurationError, Unavailable
from coordinator.store.database import connect, statement
from coordinator.store.migrations import is_current, migrate
from coordinator.store.roles import FUNCTIONS, RIGHTS, let_in, standing
from deploy.local.database import APPLICATION_ROLE
from deploy.local.stack import LocalStack
from tests.integration.store.workload import Connection, Workload

PASSWORD = "p@ss'w/rd%:x"
KINDS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
CHANGES = ("UPDATE audit_log SET reason = 'nothing'", "DELETE FROM audit_log", "TRUNCATE audit_log")
REFUSED = (
    *CHANGES,
    "ALTER TABLE audit_log DISABLE TRIGGER ALL",
    "DROP TRIGGER audit_log_append_only ON audit_log",
    "DROP TABLE audit_log",
    "UPDATE saga_log SET status = 'completed'",
    "DELETE FROM saga_log",
    "TRUNCATE saga_log",
    "DELETE FROM saga",
    "TRUNCATE saga",
    "UPDATE saga_key SET business_key = 'other'",
    "UPDATE alembic_version SET version_num = '0000'",
    "CREATE TABLE mine (name text)",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "ALTER TABLE saga ADD COLUMN mine text",
    "DROP TABLE saga_log",
    "CREATE INDEX mine ON saga (status)",
    "CREATE OR REPLACE FUNCTION saga_drop_log_days(older_than_days integer) RETURNS SETOF text LANGUAGE sql AS ''",
    "COPY saga TO PROGRAM 'true'",
    "COPY saga_key FROM PROGRAM 'true'",
    "COPY saga TO '/tmp/sagas'",
    "SET session_replication_role = replica",
    "CREATE ROLE mine",
)


@pytest.fixture
async def application(application_url: str) -> AsyncIterator[Connection]:
    """Give a connection as the coordinator has it."""
    connection = await connect(application_url)
    yield connection
    await connection.close()


@pytest.fixture
async def role(stack: LocalStack) -> AsyncIterator[str]:
    """Give the name of a role that does not exist yet; whatever it owns goes with it."""
    name = f'role-"{secrets.token_hex(4)}"'
    yield name
    admin = await asyncpg.connect(stack.postgres.admin_url)
    await admin.execute(f"DROP ROLE IF EXISTS {_quoted(name)}")
    await admin.close()


@pytest.mark.parametrize("text", REFUSED)
async def test_the_application_is_refused_what_it_has_no_right_to(
    application: Connection, workload: Workload, text: str
) -> None:
    """It can neither change nor remove what is in the audit or in the log, makes no tables, and runs no programs."""
    await workload.started()
    assert await application.fetchval("SELECT current_user") == APPLICATION_ROLE
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await application.execute(text)


@pytest.mark.parametrize("text", CHANGES)
@pytest.mark.parametrize("replaying", [False, True], ids=["a session", "a session that replays"])
async def test_the_owner_is_refused_changes_of_the_audit(plain: Connection, text: str, replaying: bool) -> None:
    """Whoever owns the table is told in a sentence that the audit is append-only, whatever rows there are."""
    async with plain.transaction():
        if replaying:
            await plain.execute("SET LOCAL session_replication_role = replica")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="the audit is append-only: what was done is"):
            async with plain.transaction():
                await plain.execute(text)


async def test_every_table_has_its_rights(plain: Connection) -> None:
    """A table of the schema is in the list of rights; whoever adds one must say what the application does with it."""
    found = await plain.fetch(
        "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition"
    )
    assert {row["name"] for row in found} == set(RIGHTS)


@pytest.mark.parametrize("table", RIGHTS)
async def test_the_application_has_the_rights_of_the_list(plain: Connection, table: str) -> None:
    """Exactly those, and none that it could pass on."""
    rows = await plain.fetch(
        "SELECT kind, has_table_privilege($1, $2, kind) AS has,"
        " has_table_privilege($1, $2, kind || ' WITH GRANT OPTION') AS passes FROM unnest($3::text[]) AS kind",
        APPLICATION_ROLE,
        table,
        KINDS,
    )
    assert {row["kind"] for row in rows if row["has"]} == set(RIGHTS[table].split(", "))
    assert not any(row["passes"] for row in rows)


async def test_the_application_makes_and_drops_days_of_the_log(application: Connection, plain: Connection) -> None:
    """It asks the owner's functions, which do no more than that: bounded, and with names of this schema only."""
    try:
        assert await application.fetchval(statement("ensure_log_days"), 25) > 0
        assert await application.fetch(statement("drop_log_days"), 1) == []
        assert await plain.fetchval("SELECT relowner::regrole::text FROM pg_class WHERE relname LIKE 'saga_log_2%'")
        for text, argument in (("ensure_log_days", 61), ("ensure_log_days", -1), ("drop_log_days", 0)):
            with pytest.raises(asyncpg.RaiseError, match="the log"):
                await application.fetchval(statement(text), argument)
        for signature in FUNCTIONS:
            row = await plain.fetchrow(
                "SELECT prosecdef, proconfig, has_function_privilege('public', oid, 'EXECUTE') AS open FROM pg_proc"
                " WHERE oid = $1::text::regprocedure",
                signature,
            )
            assert row is not None
            assert tuple(row) == (True, ["search_path=public, pg_temp"], False)
    finally:
        await plain.execute("SELECT saga_drop_log_days(1)")


async def test_a_session_knows_whether_it_could_change_the_audit(application: Connection, plain: Connection) -> None:
    """The application's role could not; the owner's, and a superuser's, could."""
    assert (await standing(application)).is_mighty is False
    assert (await standing(plain)).is_mighty is True


async def test_migrations_make_the_role_of_the_application(fresh_database: str, role: str) -> None:
    """Many at once make it once, with the URL's password, whatever characters name and password have."""
    url = _as(fresh_database, role, PASSWORD)
    await migrate(fresh_database)
    await asyncio.gather(*(let_in(fresh_database, url) for _ in range(4)))
    connection = await connect(url)
    try:
        assert await is_current(connection)
        assert await connection.fetchval("SELECT count(*) FROM audit_log") == 0
        assert not (await standing(connection)).is_mighty
    finally:
        await connection.close()
        await _drop_owned(fresh_database, role)


async def test_migrations_let_in_a_role_that_is_there(fresh_database: str, role: str) -> None:
    """Its password stays; each migration gives what it lacks, and takes what it has too much of."""
    owner = await asyncpg.connect(fresh_database)
    try:
        text = await owner.fetchval(statement("write_role"), role, PASSWORD)
        await owner.execute(text)
        url = _as(fresh_database, role, PASSWORD)
        await migrate(fresh_database)
        await _is_kept_out(url)
        await migrate(fresh_database, _as(fresh_database, role, "another"))
        await owner.execute(f"GRANT ALL ON audit_log TO {_quoted(role)}")
        await owner.execute(f"REVOKE ALL ON saga FROM {_quoted(role)}")
        await migrate(fresh_database, _as(fresh_database, role, "another"))
        connection = await connect(url)
        assert await connection.fetchval("SELECT count(*) FROM saga") == 0
        await connection.close()
        assert not await owner.fetchval("SELECT has_table_privilege($1, 'audit_log', 'UPDATE')", role)
    finally:
        await owner.close()
        await _drop_owned(fresh_database, role)


async def test_an_owner_who_may_make_no_roles_says_who_should(stack: LocalStack, role: str) -> None:
    """An owner need be nobody special; a role that it may not make is asked of an administrator, and then let in."""
    name = f"owned_{secrets.token_hex(4)}"
    url = await asyncio.to_thread(stack.create_database, name)
    admin, owner = await asyncpg.connect(url), f"owner_{name}"
    try:
        await admin.execute(f"CREATE ROLE {owner} LOGIN PASSWORD 'own'")
        await admin.execute(f"ALTER DATABASE {name} OWNER TO {owner}")
        owner_url, application_url = _as(url, owner, "own"), _as(url, role, PASSWORD)
        with pytest.raises(ConfigurationError, match="have an administrator run CREATE ROLE") as refusal:
            await migrate(owner_url, application_url)
        assert PASSWORD not in str(refusal.value)
        await admin.execute(await admin.fetchval(statement("write_role"), role, PASSWORD))
        await migrate(owner_url, application_url)
        connection = await connect(application_url)
        assert await connection.fetchval(statement("ensure_log_days"), 20) > 0
        await connection.close()
    finally:
        await admin.close()
        await asyncio.to_thread(stack.postgres.drop_database, name)
        admin = await asyncpg.connect(stack.postgres.admin_url)
        await admin.execute(f"DROP ROLE IF EXISTS {owner}")
        await admin.close()


async def test_the_owners_own_url_needs_no_second_role(fresh_database: str) -> None:
    """Who sets one URL only goes on as before: the owner works, too."""
    await migrate(fresh_database, fresh_database)
    connection = await connect(fresh_database)
    assert await is_current(connection)
    await connection.close()


@pytest.mark.parametrize(
    ("owner", "application"),
    [
        ("postgresql://saga:hunter2/x@127.0.0.1:1/saga", "postgresql://app:hunter2@127.0.0.1:1/saga"),
        ("{owner}", "postgresql://app:hunter2/x@127.0.0.1:1/saga"),
        ("{owner}", "postgresql://127.0.0.1:1/saga?password=hunter2"),
        ("{owner}", "postgresql://app:hunter2%C3%BC@127.0.0.1:1/saga"),
    ],
)
def test_no_password_is_said(stack: LocalStack, fresh_database: str, owner: str, application: str) -> None:
    """A URL that cannot be used ends `saga migrate` with a sentence, and no part of a password in it."""
    environment = {
        **stack.environment(application),
        "SAGA_DATABASE__MIGRATION_URL": owner.format(owner=fresh_database),
    }
    child = stack.processes.python("secret", "-m", "coordinator", "migrate", environment=environment)
    assert child.wait(60) == 2, child.output()
    said = child.output()
    assert said.splitlines()[-1].startswith("saga: ")
    assert "hunter2" not in said
    assert "Traceback" not in said


def _as(url: str, role: str, password: str) -> str:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(role, safe='')}:{quote(password, safe='')}@{place}"))


def _quoted(role: str) -> str:
    doubled = role.replace('"', '""')
    return f'"{doubled}"'


async def _is_kept_out(url: str) -> None:
    """Whoever has no rights yet is told what is missing, and may wait for it."""
    connection = await connect(url)
    with pytest.raises(Unavailable, match="run `saga migrate`"):
        await is_current(connection)
    await connection.close()


async def _drop_owned(url: str, role: str) -> None:
    owner = await asyncpg.connect(url)
    await owner.execute(f"DROP OWNED BY {_quoted(role)}")
    await owner.close()
