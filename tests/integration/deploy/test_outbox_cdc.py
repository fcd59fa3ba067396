"""What deploy/debezium offers for change data capture, against the tables as the migrations make them."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import asyncpg
import pytest

from coordinator.store.migrations import migrate
from deploy.local.places import PROJECT

FOLDER = PROJECT / "deploy" / "debezium"
ROUTER_COLUMNS = {"id", "aggregatetype", "aggregateid", "type", "payload"}

# The table is empty again when a statement ends; what passed through it is kept here.
WATCH = """
CREATE TABLE passed AS SELECT * FROM outbox_cdc;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO passed SELECT * FROM fresh; RETURN NULL; END';
CREATE TRIGGER keep AFTER INSERT ON outbox_cdc REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION keep();
"""

INSERT = """
INSERT INTO outbox (saga_id, saga_version, position, part, created_at, destination, partition, type, traceparent,
    payload)
VALUES ($1, 2, 0, 13, now(), $2, 5, $3, $4, $5)
"""


@pytest.fixture
async def database(fresh_database: str) -> Any:
    """Give a connection to a migrated database in which outbox_cdc.sql was run."""
    await migrate(fresh_database)
    connection = await asyncpg.connect(fresh_database)
    await connection.execute((FOLDER / "outbox_cdc.sql").read_text())
    await connection.execute(WATCH)
    yield connection
    await connection.close()


async def test_a_command_passes_through_with_all_that_its_record_needs(
    database: asyncpg.Connection[asyncpg.Record],
) -> None:
    """An outbox row appears once in outbox_cdc, with ce_id, partition and reply partition, and leaves nothing there."""
    saga_id = uuid.uuid4()
    command_id = f"{saga_id}:1:process_payment:action"
    payload = json.dumps({"command_id": command_id, "attempt": 3}).encode()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await database.execute(INSERT, saga_id, "saga.payment.commands", "ProcessPayment", trace, payload)
    [row] = await database.fetch("SELECT * FROM passed")
    assert dict(row) | {"created_at": None} == {
        "id": f"{command_id}#3",
        "aggregatetype": "saga.payment.commands",
        "aggregateid": str(saga_id),
        "type": "ProcessPayment",
        "payload": payload,
        "partition": 5,
        "reply_partition": 13,
        "created_at": None,
        "traceparent": trace,
        "specversion": "1.0",
        "source": "saga-coordinator",
        "content_type": "application/json",
        "reply_topic": "saga.replies",
    }
    assert await database.fetchval("SELECT count(*) FROM outbox_cdc") == 0
    assert await database.fetchval("SELECT id FROM outbox_event") == row["id"]


async def test_a_refused_start_passes_through(database: asyncpg.Connection[asyncpg.Record]) -> None:
    """A message that is no command has the id that the view gives it."""
    saga_id = uuid.uuid4()
    await database.execute(INSERT, saga_id, "saga.events", "SagaStartRefused", None, b'{"reason": "conflict"}')
    assert await database.fetchval("SELECT id FROM passed") == f"{saga_id}:refused"
    assert await database.fetchval("SELECT id FROM outbox_event") == f"{saga_id}:refused"


async def test_the_connector_names_columns_that_there_are(database: asyncpg.Connection[asyncpg.Record]) -> None:
    """Each column that connector.json places somewhere exists, and so do the ones the router takes by default."""
    config = json.loads((FOLDER / "connector.json").read_text())["config"]
    placement = config["transforms.outbox.table.fields.additional.placement"]
    named = {field.split(":")[0] for field in placement.split(",")}
    found = await database.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'outbox_cdc' AND table_schema = 'public'"
    )
    columns = {row["column_name"] for row in found}
    assert config["table.include.list"] == "public.outbox_cdc"
    assert named | ROUTER_COLUMNS == columns
    assert config["publication.name"] == await database.fetchval("SELECT pubname FROM pg_publication_tables")
    assert re.fullmatch(r"\$\{env:[A-Z_]+\}", config["database.password"])
