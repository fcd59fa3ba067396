"""`saga doctor` with the servers themselves: in each test something is really broken, found, and told how to mend."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from coordinator import doctor_postgres
from coordinator.exits import ExitCode
from coordinator.kafka import TopicSpec, ensure_topics
from coordinator.store.migrations import migrate
from deploy.local.stack import LocalStack
from tests.integration.cli.terminal import Terminal

OUTBOX = """
INSERT INTO outbox (saga_id, saga_version, position, part, created_at, destination, partition, type, payload)
SELECT id, 90, 0, 0, now() - interval '5 minutes', 'nowhere', 0, 'X', '\\x7b7d' FROM saga LIMIT 1
"""
DROP_DAYS = """
DO $$
DECLARE day text;
BEGIN
    FOR day IN SELECT relname FROM pg_class
        WHERE relkind = 'r' AND relname > 'saga_log_' || to_char((now() AT TIME ZONE 'UTC')::date, 'YYYYMMDD')
            AND relname LIKE 'saga\\_log\\_2%'
    LOOP
        EXECUTE 'DROP TABLE ' || day;
    END LOOP;
END $$
"""
Found = dict[str, list[dict[str, str]]]


@pytest.fixture(scope="module")
def migrated(stack: LocalStack) -> Iterator[str]:
    """Give a database that is migrated, which tests may break and must mend."""
    name = f"doctor_{secrets.token_hex(4)}"
    url = stack.create_database(name)
    asyncio.run(migrate(url))
    yield url
    stack.postgres.drop_database(name)


def examined(terminal: Terminal, **changes: str) -> Found:
    """What the doctor finds with the coordinator's settings, but for changes; the code is 1 if something is bad."""
    environment = {name: value for name, value in terminal.api.environment.items() if name.startswith("SAGA_")}
    done = terminal.run("doctor", "-o", "json", env={**environment, **changes})
    found: Found = {}
    for each in json.loads(done.stdout):
        found.setdefault(each["check"], []).append(each)
    bad = any(each["state"] == "bad" for findings in found.values() for each in findings)
    assert done.exit_code == (ExitCode.NO if bad else 0), done.output
    return found


def says(found: Found, check: str, state: str, *words: str) -> None:
    """Of a check one finding has this state, and its words, or its advice, tell this."""
    told = [f"{each['found']} {each['advice']}" for each in found[check] if each["state"] == state]
    assert any(all(word in text for word in words) for text in told), found[check]


def do(url: str, *statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def test_what_is_well_is_said_to_be(terminal: Terminal) -> None:
    """A running process of role `api` alone: the one thing that is bad is that nobody owns a partition."""
    found = examined(terminal)
    bad = {check for check, findings in found.items() if any(each["state"] == "bad" for each in findings)}
    assert bad == {"owners"}, [found[check] for check in bad]
    says(found, "owners", "bad", "4 of 4 partitions have no live owner", "saga serve")
    for check in ("settings", "database", "migrations", "rights", "log days", "clock", "versions", "kafka", "topics"):
        says(found, check, "ok")
    says(found, "server", "ok", terminal.api.url)
    says(found, "clock of Kafka", "skipped")


def test_servers_that_are_away(terminal: Terminal) -> None:
    """Each is bad, what needs it is skipped, and the API is asked all the same."""
    away = {"SAGA_DATABASE__URL": "postgresql://a:hidden@127.0.0.1:9/x", "SAGA_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    found = examined(terminal, **away)
    says(found, "database", "bad", "does not answer", "SAGA_DATABASE__URL")
    says(found, "kafka", "bad", "does not answer", "SAGA_KAFKA__BOOTSTRAP_SERVERS")
    for check in ("migrations", "rights", "log days", "relay", "versions", "topics", "owners", "lag", "participants"):
        says(found, check, "skipped")
    says(found, "server", "ok")
    assert "hidden" not in json.dumps(found)


def test_a_role_that_may_not_log_in(terminal: Terminal, migrated: str) -> None:
    """A wrong password is a setting that is wrong."""
    wrong = migrated.replace("postgresql://saga:", "postgresql://nobody-of-this-name:")
    says(examined(terminal, SAGA_DATABASE__URL=wrong), "database", "bad", "database.url", "mend the setting")


def test_a_database_without_tables(terminal: Terminal, fresh_database: str) -> None:
    """It says what to run; what needs the tables is skipped."""
    found = examined(terminal, SAGA_DATABASE__URL=fresh_database)
    says(found, "migrations", "bad", "at none", "saga migrate")
    says(found, "relay", "skipped", "migrations")


def test_a_database_of_a_newer_version(terminal: Terminal, fresh_database: str) -> None:
    """Migrating would not help, so that is not advised."""
    do(fresh_database, "CREATE TABLE alembic_version (version_num text)", "INSERT INTO alembic_version VALUES ('9999')")
    found = examined(terminal, SAGA_DATABASE__URL=fresh_database)
    says(found, "migrations", "bad", "newer", "use the version")


def test_a_database_that_may_forget(terminal: Terminal, fresh_database: str) -> None:
    """What a coordinator would refuse to start with is named with the remedy."""
    name = fresh_database.rpartition("/")[2]
    do(fresh_database, f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    says(examined(terminal, SAGA_DATABASE__URL=fresh_database), "database", "bad", "synchronous_commit=off", "to on")


def test_a_role_without_rights(terminal: Terminal, migrated: str) -> None:
    """Each right that lacks is named, with the statement that gives it."""
    role = f"poor_{secrets.token_hex(4)}"
    do(
        migrated,
        f"CREATE ROLE {role} LOGIN PASSWORD 'poor'",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT INSERT, UPDATE ON saga TO {role}",
    )
    try:
        rest = migrated.rpartition("@")[2]
        found = examined(terminal, SAGA_DATABASE__URL=f"postgresql://{role}:poor@{rest}")
        says(found, "rights", "bad", "INSERT on audit_log", "DELETE on outbox", "GRANT")
        assert "UPDATE on saga," not in json.dumps(found["rights"])
    finally:
        do(migrated, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_an_owner_that_could_rewrite_the_audit(terminal: Terminal) -> None:
    """It works with the owner's role, and is told to use another; the application's role is as it must be."""
    says(examined(terminal), "rights", "ok", "and no more")
    found = examined(terminal, SAGA_DATABASE__URL=terminal.api.database_url)
    says(found, "rights", "warn", "could change the audit", "SAGA_DATABASE__MIGRATION_URL")


def test_a_function_that_the_role_may_not_run(terminal: Terminal, fresh_database: str) -> None:
    """The days of the log are made by the owner's functions."""
    asyncio.run(migrate(fresh_database, terminal.api.environment["SAGA_DATABASE__URL"]))
    name = fresh_database.rpartition("/")[2]
    application = terminal.api.environment["SAGA_DATABASE__URL"].rpartition("/")[0] + f"/{name}"
    function = "FUNCTION saga_ensure_log_days(integer)"
    role = application.partition("//")[2].partition(":")[0]
    do(fresh_database, f"REVOKE EXECUTE ON {function} FROM PUBLIC", f'REVOKE EXECUTE ON {function} FROM "{role}"')
    found = examined(terminal, SAGA_DATABASE__URL=application)
    says(found, "rights", "bad", "EXECUTE on function saga_ensure_log_days(integer)", "saga migrate")


def test_a_log_without_days_to_come(terminal: Terminal, fresh_database: str) -> None:
    """It says who makes them."""
    asyncio.run(migrate(fresh_database))
    do(fresh_database, DROP_DAYS)
    found = examined(terminal, SAGA_DATABASE__URL=fresh_database)
    says(found, "log days", "bad", "0 days ahead", "an engine makes them")


def test_a_clock_that_is_off(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of this machine goes an hour ahead of that of Postgres."""

    class Ahead:
        @staticmethod
        def time() -> float:
            return time.time() + 3600

    monkeypatch.setattr(doctor_postgres, "time", Ahead)
    says(examined(terminal), "clock", "warn", "3600", "NTP")


def test_messages_that_do_not_leave(terminal: Terminal) -> None:
    """A row of the outbox that nobody has sent for minutes."""
    terminal.started("cli-unsent")
    terminal.api.fetch(OUTBOX)
    try:
        says(examined(terminal), "relay", "bad", "the oldest for 30", "Kafka answers the coordinator")
    finally:
        terminal.api.fetch("DELETE FROM outbox WHERE saga_version = 90")


def test_no_coordinator_is_live(terminal: Terminal, migrated: str) -> None:
    """Migrated, and nobody is there."""
    says(examined(terminal, SAGA_DATABASE__URL=migrated), "versions", "warn", "no coordinator is live", "saga serve")


def test_a_replica_that_lacks_a_version(terminal: Terminal) -> None:
    """A second replica that knows nothing: no version starts sagas until it does."""
    terminal.api.fetch("INSERT INTO replica (id, definition_ids) VALUES ('other', '{}')")
    try:
        says(examined(terminal), "versions", "warn", "known by 1 of 2", "finish the roll-out")
    finally:
        terminal.api.fetch("DELETE FROM replica WHERE id = 'other'")


def test_definitions_that_are_not_those_that_run(terminal: Terminal) -> None:
    """Others are loaded here than the live replica knows."""
    found = examined(terminal, SAGA_DEFINITIONS="tests.unit.describe.several")
    says(found, "versions", "warn", "known by no replica", "roll it out")


def test_definitions_that_do_not_load(terminal: Terminal) -> None:
    """It names the setting; the servers are asked all the same."""
    found = examined(terminal, SAGA_DEFINITIONS="tests.no_such_module")
    says(found, "definitions", "bad", "SAGA_DEFINITIONS", "mend")
    says(found, "topics", "skipped", "cannot be loaded")
    says(found, "database", "ok")


def test_topics_that_are_missing_or_too_small(terminal: Terminal) -> None:
    """Another prefix has none; more partitions are asked for than there are."""
    found = examined(terminal, SAGA_TOPIC_PREFIX="nowhere.")
    says(found, "topics", "bad", "nowhere.replies", "saga topics")
    says(found, "owners", "skipped", "topics")
    found = examined(terminal, SAGA_KAFKA__REPLIES_PARTITIONS="6")
    says(found, "topics", "bad", "replies has 4 of 6", "lower the setting")


def test_topics_that_go_by_the_clocks_of_senders(terminal: Terminal) -> None:
    """Of the topics that others have made it names those, and the command; of those that we make, none."""
    prefix = f"made{secrets.token_hex(4)}."
    environment = terminal.api.environment
    servers = environment["SAGA_KAFKA__BOOTSTRAP_SERVERS"]
    counts = {name.removeprefix("SAGA_KAFKA__"): value for name, value in environment.items() if "PARTITIONS" in name}
    asyncio.run(ensure_topics(servers, [TopicSpec(f"{prefix}replies", int(counts["REPLIES_PARTITIONS"]))]))
    making = [sys.executable, "-m", "coordinator", "topics"]
    subprocess.run(making, env={**os.environ, **environment, "SAGA_TOPIC_PREFIX": prefix}, check=True, timeout=60)
    found = examined(terminal, SAGA_TOPIC_PREFIX=prefix)
    says(found, "topics", "warn", f"in {prefix}replies:", "--add-config message.timestamp.type=LogAppendTime")


def test_replies_that_nobody_reads(terminal: Terminal) -> None:
    """Some thousand records without an engine."""
    settings = terminal.api.environment
    prefix, servers = settings["SAGA_TOPIC_PREFIX"], settings["SAGA_KAFKA__BOOTSTRAP_SERVERS"]
    asyncio.run(_flood(servers, f"{prefix}replies", 1_500))
    says(examined(terminal), "lag", "warn", "replies are unread", "engines")


def test_commands_that_nobody_reads(terminal: Terminal) -> None:
    """A saga's first command waits for a participant that was never there."""
    terminal.started("cli-unread")
    says(examined(terminal), "participants", "warn", "inventory", "start inventory")


def test_settings_that_make_no_sense(terminal: Terminal) -> None:
    """They are the first finding, and name the variable."""
    found = examined(terminal, SAGA_API__PORT="many")
    says(found, "settings", "bad", "SAGA_API__PORT", "docs/settings.md")
    says(found, "server", "ok")


def test_for_people_it_is_a_line_each(terminal: Terminal) -> None:
    """With an arrow to what is to be done."""
    environment: dict[str, Any] = terminal.api.environment
    text = terminal.run("doctor", env=environment).stdout
    assert "-> start an engine (saga serve)" in text


async def _flood(servers: str, topic: str, count: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        sent = [await producer.send(topic, b"x", partition=0) for _ in range(count)]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
