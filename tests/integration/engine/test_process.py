"""The process itself: a wrong setting ends it at once with a name, something missing is waited for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from deploy.local.processes import Child, free_port
from deploy.local.stack import LocalStack
from tests.e2e.world import Coordinator, World, eventually
from tests.needs import need_real_kafka

WRONG_SETTING = 2
END_S = 30.0

# What is set, and what the process must say before it ends.
WRONG = [
    ({"SAGA_KAFKA__REPLIES_PARTITIONS": "0"}, r"SAGA_KAFKA__REPLIES_PARTITIONS"),
    ({"SAGA_KAFKA__BOOTSTRAP_SERVERS": "localhost:abc"}, r"SAGA_KAFKA__BOOTSTRAP_SERVERS: 'localhost:abc'"),
    ({"SAGA_KAFKA__BOOTSTRAP_SERVERS": "localhost:9092,"}, r"SAGA_KAFKA__BOOTSTRAP_SERVERS: ''"),
    ({"SAGA_KAFKA": "localhost:9092"}, r"SAGA_KAFKA: .*SAGA_KAFKA__BOOTSTRAP_SERVERS"),
    ({"SAGA_KAFKA__BOOTSTRAPSERVERS": "localhost:9092"}, r"SAGA_KAFKA__BOOTSTRAPSERVERS"),
    ({"SAGA_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, r"SAGA_KAFKA__USERNAME: .*SAGA_KAFKA__PASSWORD: "),
    ({"SAGA_KAFKA__SECURITY_PROTOCOL": "SSL", "SAGA_KAFKA__CA_FILE": "/nowhere/ca.pem"}, r"SAGA_KAFKA__CA_FILE: "),
    ({"SAGA_DATABSE__URL": "postgresql://127.0.0.1/saga"}, r"SAGA_DATABSE__URL: .*is SAGA_DATABASE__URL meant"),
    ({"SAGA_API_PORT": "8080"}, r"SAGA_API_PORT: .*is SAGA_API__PORT meant"),
    ({"SAGA_TOPIC_PREFIX": "no spaces!"}, r"SAGA_TOPIC_PREFIX"),
    ({"SAGA_DEFINITIONS": "tests.e2e.nowhere:definitions"}, r"SAGA_DEFINITIONS=tests\.e2e\.nowhere"),
    ({"SAGA_DEFINITIONS": ":definitions"}, r"SAGA_DEFINITIONS: "),
    (
        {"SAGA_PARTICIPANTS": "inventory,paymnet"},
        r"step 'process_payment': there is no participant 'payment'; SAGA_PARTICIPANTS knows inventory, paymnet",
    ),
    ({"SAGA_PARTICIPANTS": "inventory, payment"}, r"SAGA_PARTICIPANTS: "),
    ({"SAGA_DATABASE__URL": "mysql://127.0.0.1/saga"}, r"database\.url|SAGA_DATABASE__URL"),
    ({"SAGA_FLOW__PARTICIPANTS": "payment"}, r"SAGA_FLOW__PARTICIPANTS: must be JSON"),
    ({"SAGA_FLOW__PARTICIPANTS": '{"nobody": 5}'}, r"SAGA_FLOW__PARTICIPANTS: .*'nobody'"),
    ({"SAGA_API__HOST": "0.0.0.0"}, r"api\.host"),
]
# What others set in an environment that is shared, Kubernetes for a service called saga-api included.
OF_OTHERS = {
    "SAGA_PARTICIPANT__INSTANCE": "payment-1",
    "SAGA_TEST_STACK_JSON": "/nowhere.json",
    "SAGA_TAG": "local",
    "SAGA_API_SERVICE_HOST": "10.0.0.1",
    "SAGA_API_SERVICE_PORT": "8080",
    "SAGA_API_PORT": "tcp://10.0.0.1:8080",
    "SAGA_API_PORT_8080_TCP_ADDR": "10.0.0.1",
}


@pytest.fixture
async def empty(stack: LocalStack) -> AsyncIterator[World]:
    """Give a world with an empty database and no topics."""
    need_real_kafka(stack, "static members")
    world = World(stack)
    world.url = await asyncio.to_thread(stack.create_database, world.database)
    try:
        yield world
    finally:
        await world.close()


@pytest.mark.parametrize(("settings", "named"), WRONG, ids=[",".join(settings) for settings, _ in WRONG])
async def test_a_wrong_setting_is_named(empty: World, settings: dict[str, str], named: str) -> None:
    """The process says which setting is wrong and exits at once, without a traceback and without waiting."""
    coordinator = empty.launch("wrong", **{"SAGA_API__INSECURE": "false", **settings})
    assert await asyncio.to_thread(coordinator.child.wait, END_S) == WRONG_SETTING
    output = coordinator.child.output()
    assert re.search(named, output), output
    assert "Traceback" not in output
    assert "waiting" not in output


@pytest.mark.parametrize("module", ["tests.e2e.nowhere:definitions", "tests.e2e.definitions:nothing", ":definitions"])
async def test_definitions_that_are_not_there_are_named(empty: World, module: str) -> None:
    """`saga definitions` says that SAGA_DEFINITIONS is wrong, and exits like a process that would serve."""
    child = _start(empty, "definitions", SAGA_DEFINITIONS=module)
    assert await asyncio.to_thread(child.wait, END_S) == WRONG_SETTING
    assert child.output().startswith("saga: ")
    assert "SAGA_DEFINITIONS" in child.output()
    assert len(child.output().splitlines()) == 1


async def test_what_others_set_is_no_slip(empty: World) -> None:
    """Variables of participants, tests, the compose file and Kubernetes are left alone."""
    child = _start(empty, "definitions", **OF_OTHERS)
    assert await asyncio.to_thread(child.wait, END_S) == 0, child.output()


async def test_a_database_that_may_forget_is_refused(empty: World) -> None:
    """With synchronous_commit=off the process ends and names the setting of Postgres."""
    connection = await asyncpg.connect(empty.url)
    await connection.execute(f'ALTER DATABASE "{empty.database}" SET synchronous_commit = off')
    await connection.close()
    coordinator = empty.launch("careless")
    assert await asyncio.to_thread(coordinator.child.wait, END_S) == WRONG_SETTING
    assert "synchronous_commit=off" in coordinator.child.output()


async def test_what_is_missing_is_waited_for(empty: World) -> None:
    """Without migrations and topics the process lives, is not ready and says why; it heals when they are there."""
    coordinator = empty.launch("patient", "engine")
    await eventually(lambda: _says(coordinator, "saga migrate"), what="says that migrations are missing")
    assert (await coordinator.http.get("/livez")).status_code == 200
    await _run(empty, "migrate")
    await eventually(lambda: _says(coordinator, "saga topics"), what="says that topics are missing")
    await _run(empty, "topics")
    await coordinator.ready()
    assert await coordinator.stop() == 0


async def test_no_servers_at_all_are_waited_for(empty: World) -> None:
    """Without Kafka and Postgres the process lives, is not ready, says so, and ends cleanly when it is told to."""
    nobody = f"127.0.0.1:{free_port()}"
    settings = {"SAGA_KAFKA__BOOTSTRAP_SERVERS": nobody, "SAGA_DATABASE__URL": f"postgresql://saga@{nobody}/saga"}
    coordinator = empty.launch("lonely", **settings)
    await asyncio.to_thread(coordinator.child.wait_for_line, "Postgres does not answer", timeout_s=END_S)
    assert (await coordinator.http.get("/livez")).status_code == 200
    assert not await coordinator.is_ready()
    early = await coordinator.http.get("/v1/sagas")
    assert (early.status_code, early.headers["retry-after"]) == (503, "1")
    assert "waits for Postgres" in early.json()["detail"]
    assert await coordinator.stop() == 0


async def test_two_members_of_one_name_are_one_too_many(empty: World) -> None:
    """Of two processes with the same instance id the older one ends, with a message that names the setting."""
    await asyncio.gather(_run(empty, "migrate"), _run(empty, "topics"))
    same = {"SAGA_KAFKA__INSTANCE_ID": f"{empty.prefix}member"}
    first = await empty.launched("first", "engine", **same)
    second = await empty.launched("second", "engine", **same)
    assert await asyncio.to_thread(first.child.wait, END_S) == WRONG_SETTING
    assert "instance" in first.child.output().splitlines()[-1]
    assert second.child.exit_code is None


async def _says(coordinator: Coordinator, words: str) -> bool:
    """Whether /readyz is red with these words."""
    try:
        answer = await coordinator.http.get("/readyz")
    except httpx.HTTPError:
        return False
    return answer.status_code == 503 and words in answer.text


async def _run(world: World, verb: str) -> None:
    """Run a verb of the command line."""
    child = _start(world, verb)
    assert await asyncio.to_thread(child.wait, END_S) == 0, child.output()


def _start(world: World, verb: str, **settings: str) -> Child:
    return world.stack.processes.python(
        f"{world.database}-{verb}", "-m", "coordinator", verb, environment=world.environment(**settings)
    )
