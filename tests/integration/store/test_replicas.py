"""Versions between processes: what may be replaced, what is refused, and which replicas count."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from coordinator.engine.registry import Registry, VersionHeld
from coordinator.errors import ConfigurationError, Unavailable
from coordinator.saga.content import Content, content_of
from coordinator.saga.definition import SagaDefinition, seconds
from coordinator.services.versions import Versions
from coordinator.store.batch import Batch
from coordinator.store.migrations import migrate
from coordinator.store.postgres import PostgresStore
from coordinator.store.reads import SagaReads
from coordinator.store.replicas import LIVE_S, InUse, Replicas
from deploy.local.stack import LocalStack
from sagas.order_fulfillment import order_fulfillment as first
from tests.integration.api.office import SystemClock
from tests.integration.store.workload import NAME, Connection, Workload

second = replace(first, version=2)
SUSPEND_ONE = """
UPDATE saga SET status = 'suspended', wake_at = NULL, deadline = NULL WHERE ctid = (SELECT min(ctid) FROM saga)
"""
CHANGE = "step reserve_inventory: timeout was 120000 ms, is 9000 ms"


def changed(definition: SagaDefinition) -> SagaDefinition:
    """Make the definition with another timeout, under the same version."""
    step = replace(definition.steps[0], timeout=seconds(9))
    return replace(definition, steps=(step, *definition.steps[1:]))


class Process:
    """What of a coordinator's process has to do with versions."""

    def __init__(self, store: PostgresStore, *definitions: SagaDefinition, patience_s: float = 0.0) -> None:
        self.identity = f"host:1:{secrets.token_hex(4)}"
        self.registry = Registry(definitions)
        self.versions = Versions(Replicas(store, self.identity), self.registry, SystemClock(), patience_s)

    async def up(self) -> Process:
        """Register, as at start-up."""
        await self.versions.register()
        return self

    def newest(self) -> int:
        """Say on which version a new saga would begin."""
        return self.registry.choose(NAME, None).version


@pytest.fixture(scope="module")
async def url(stack: LocalStack) -> AsyncIterator[str]:
    """Give the owner's URL of a migrated database of this module's own: its definitions come and go."""
    name = f"versions_{secrets.token_hex(4)}"
    url = await asyncio.to_thread(stack.create_database, name)
    await migrate(url, stack.application_url(url))
    yield url
    await asyncio.to_thread(stack.postgres.drop_database, name)


@pytest.fixture
async def tables(url: str) -> AsyncIterator[Connection]:
    """Give a connection to look at the tables with; they are empty when a test begins."""
    connection = await asyncpg.connect(url)
    await connection.execute("TRUNCATE saga_definition, replica, saga, saga_key, saga_log, outbox")
    yield connection
    await connection.close()


@pytest.fixture
def application_url(stack: LocalStack, url: str) -> str:
    """Give the URL of that database for the coordinator, whose role owns nothing."""
    return stack.application_url(url)


@pytest.fixture
async def store(application_url: str, tables: Connection) -> AsyncIterator[PostgresStore]:
    """Give the store of a process."""
    store = PostgresStore(application_url)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
async def reads(application_url: str) -> AsyncIterator[SagaReads]:
    """Give what the API and the CLI read with."""
    reads = SagaReads(application_url, 1)
    yield reads
    await reads.stop()


async def expire(tables: Connection, process: Process) -> None:
    """Make a replica's last heartbeat as old as that of one that was killed a while ago."""
    update = "UPDATE replica SET seen_at = seen_at - $2 * interval '1 second' WHERE id = $1"
    await tables.execute(update, process.identity, float(LIVE_S))


async def sagas_of(store: PostgresStore, process: Process, count: int) -> Batch:
    """Start sagas on the version 1 of a process."""
    workload = Workload(store, process.registry.ids[NAME, 1], await store.now_ms())
    batch, _ = workload.starts(count)
    await store.commit(batch)
    return batch


async def test_a_changed_version_is_refused_while_sagas_are_in_flight(store: PostgresStore, tables: Connection) -> None:
    """Start-up ends with what has changed, how many sagas are in flight, and what to do; nothing is written."""
    old = await Process(store, first).up()
    await sagas_of(store, old, 3)
    await tables.execute(SUSPEND_ONE)
    await old.versions.leave()
    before = await tables.fetch("SELECT * FROM saga_definition")
    with pytest.raises(ConfigurationError) as refused:
        await Process(store, changed(first), patience_s=60).up()
    assert str(refused.value) == (
        f"OrderFulfillment version 1 has changed while 3 sagas of it are in flight: {CHANGE}. "
        "Give the changed definition a new version and keep version 1 beside it until its sagas have ended."
    )
    assert await tables.fetch("SELECT * FROM saga_definition") == before
    assert not await tables.fetch("SELECT * FROM replica")


async def test_a_changed_version_replaces_the_old_one_when_none_is_in_flight(
    store: PostgresStore, tables: Connection
) -> None:
    """Sagas that have ended hold nothing back, and keep the id of the content on which they ran."""
    old = await Process(store, first).up()
    await sagas_of(store, old, 2)
    await tables.execute("UPDATE saga SET status = 'completed', wake_at = NULL, deadline = NULL")
    await old.versions.leave()
    new = await Process(store, changed(first)).up()
    assert new.newest() == 1
    assert new.registry.ids != old.registry.ids
    assert await tables.fetchval("SELECT count(*) FROM saga WHERE definition_id = $1", old.registry.ids[NAME, 1]) == 2
    assert new.registry.of_id(old.registry.ids[NAME, 1]) is None
    assert new.registry.label_of_id(old.registry.ids[NAME, 1]) == (NAME, 1)


async def test_an_old_content_can_come_back(store: PostgresStore, tables: Connection) -> None:
    """A change that is taken back finds the content's old id again; each version has one present content."""
    ids = []
    for definition in (first, changed(first), first):
        process = await Process(store, definition).up()
        ids.append(process.registry.ids[NAME, 1])
        assert process.newest() == 1
        await process.versions.leave()
    assert ids[0] == ids[2] != ids[1]
    assert await tables.fetchval("SELECT count(*) FROM saga_definition WHERE replaced_at IS NULL") == 1


async def test_a_saga_that_begins_too_late_is_never_run_on_the_new_content(
    store: PostgresStore, tables: Connection
) -> None:
    """A start that was on its way while its content was replaced is of the old one, and holds the next change back."""
    old = await Process(store, first).up()
    await expire(tables, old)  # as seen by others while it hangs
    new = await Process(store, changed(first)).up()
    await sagas_of(store, old, 1)
    [row] = await tables.fetch("SELECT definition_id FROM saga")
    assert new.registry.of_id(row["definition_id"]) is None
    await old.versions.beat()
    with pytest.raises(VersionHeld, match="this process runs the old one"):
        old.newest()
    with pytest.raises(ConfigurationError, match="1 saga of it is in flight"):
        await Process(store, changed(first)).up()


async def test_of_two_contents_that_come_at_once_one_wins(application_url: str, store: PostgresStore) -> None:
    """Two replicas that begin at the same time with different contents: one registers, the other is refused."""
    other = PostgresStore(application_url)
    try:
        for _ in range(5):
            processes = [Process(store, first), Process(other, changed(first))]
            results = await asyncio.gather(*(settled(process) for process in processes))
            assert sorted(results) == ["refused", "up"], results
            await processes[results.index("up")].versions.leave()
    finally:
        await other.stop()


async def settled(process: Process) -> str:
    """Register until it is decided."""
    while True:
        try:
            await process.up()
        except ConfigurationError as error:
            assert "a live replica runs the other content" in str(error)  # noqa: PT017 - the other outcome counts, too
            return "refused"
        except Unavailable:
            await asyncio.sleep(0)  # the other holds the lock
        else:
            return "up"


async def test_a_replica_that_was_killed_is_waited_for(store: PostgresStore, tables: Connection) -> None:
    """A changed content waits while a replica with the old one may only have been killed; its heartbeat runs out."""
    old = await Process(store, first).up()
    new = Process(store, changed(first), patience_s=60)
    with pytest.raises(Unavailable, match=old.identity):
        await new.up()
    await expire(tables, old)
    assert (await new.up()).newest() == 1


async def test_a_new_version_waits_for_every_live_replica(store: PostgresStore, tables: Connection) -> None:
    """The newest version starts sagas when each live replica knows it; until then the one before goes on."""
    alone = await Process(store, first).up()
    assert alone.newest() == 1
    updated = await Process(store, first, second).up()
    assert updated.newest() == 1
    with pytest.raises(VersionHeld, match="one live replica does not know it yet"):
        updated.registry.choose(NAME, 2)
    await alone.versions.beat()
    with pytest.raises(VersionHeld, match="this process does not know it yet"):
        alone.registry.choose(NAME, 2)
    await alone.versions.leave()
    await updated.versions.beat()
    assert updated.newest() == 2
    assert updated.registry.choose(NAME, 1).version == 1
    late = await Process(store, first).up()
    await updated.versions.beat()
    assert (updated.newest(), late.newest()) == (1, 1)
    await expire(tables, late)
    await updated.versions.beat()
    assert updated.newest() == 2


async def test_one_process_starts_with_no_delay(store: PostgresStore) -> None:
    """A process that is alone starts sagas on its newest version as soon as it has registered."""
    assert (await Process(store, first, second).up()).newest() == 2


async def test_registering_twice_is_registering_once(store: PostgresStore, tables: Connection) -> None:
    """A registration whose answer was lost is repeated and changes nothing."""
    process = await Process(store, first, second).up()
    before = await tables.fetch("SELECT * FROM saga_definition ORDER BY id")
    await process.up()
    assert await tables.fetch("SELECT * FROM saga_definition ORDER BY id") == before
    assert await tables.fetchval("SELECT count(*) FROM replica") == 1


async def test_definitions_from_before_contents_are_filled_in(store: PostgresStore, tables: Connection) -> None:
    """A row without a content takes that of the first coordinator, and keeps its id and its sagas."""
    old_id = await tables.fetchval(
        "INSERT INTO saga_definition (name, version) VALUES ('OrderFulfillment', 1) RETURNING id"
    )
    process = await Process(store, first).up()
    assert process.registry.ids[NAME, 1] == old_id
    [row] = await tables.fetch("SELECT content, content_hash FROM saga_definition")
    content = content_of(first)
    assert (row["content"], row["content_hash"]) == (content.document, content.digest)


async def test_nothing_is_registered_when_one_version_is_refused(store: PostgresStore, tables: Connection) -> None:
    """A process with one definition that is refused and one that is new registers neither."""
    old = await Process(store, first).up()
    await sagas_of(store, old, 1)
    with pytest.raises(InUse):
        await Replicas(store, "host:2:x").register([content_of(second), content_of(changed(first))])
    assert await tables.fetchval("SELECT count(*) FROM saga_definition") == 1


async def test_the_list_counts_what_runs_on_each_version(
    store: PostgresStore, tables: Connection, reads: SagaReads
) -> None:
    """Each version is listed with its sagas in flight, those that are suspended, and the replicas that know it."""
    old = await Process(store, first).up()
    await Process(store, first, second).up()
    await sagas_of(store, old, 3)
    await tables.execute(SUSPEND_ONE)
    uses = await reads.definitions(LIVE_S)
    assert [(use.name, use.version, use.in_flight, use.suspended, use.known_by, use.replicas) for use in uses] == [
        (NAME, 1, 3, 1, 2, 2),
        (NAME, 2, 0, 0, 1, 2),
    ]
    assert [use.content_hash for use in uses] == [content_of(each).digest.hex() for each in (first, second)]


async def test_a_large_content_is_kept_whole(store: PostgresStore, tables: Connection) -> None:
    """Contents of any size are registered, and their hash is made by the database from what it keeps."""
    document = b'{"name":"Large","steps":[],"text":"' + b"x" * 100_000 + b'"}'
    content = Content("Large", 1, document)
    await Replicas(store, "host:3:x").register([content])
    assert await tables.fetchval("SELECT content_hash FROM saga_definition") == content.digest
