"""Stacks that are really broken: a real Prometheus scrapes them, and the alert of each runbook fires, then rests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local.choice import LocalStackError
from deploy.local.prometheus import find_tool
from deploy.local.stack import LocalStack
from tests.e2e.definitions import PATIENT, hasty
from tests.e2e.orders import REFUSED, order
from tests.e2e.world import Coordinator, World, event_headers
from tests.integration.deploy.broken import Prometheus
from tests.needs import need_real_kafka

pytestmark = pytest.mark.timeout(240)

AGED = "UPDATE saga SET wake_at = now() - interval '2 minutes', deadline = now() - interval '2 minutes' WHERE id = $1"

DISCARDED = """
    UPDATE dead_letter
    SET state = 'discarded', next_try_at = NULL, changed_at = now(), changed_by = 'ann', changed_because = 'rubbish'
"""


STALLED = "SELECT destination FROM outbox WHERE created_at < now() - interval '5 seconds'"

DAYS_TO_COME = """
    SELECT relname AS day FROM pg_class
    WHERE relname ~ '^saga_log_[0-9]{8}$' AND relname > 'saga_log_' || to_char(now() + interval '2 days', 'YYYYMMDD')
"""


async def configure(world: World, topic: str, configs: dict[str, str]) -> None:
    """Change the settings of a topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=world.stack.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])
    finally:
        await admin.close()


@pytest.fixture(scope="module")
async def world(real_kafka_of_module: LocalStack) -> AsyncIterator[World]:
    """Give the four participants."""
    world = World(real_kafka_of_module)
    try:
        await world.open()
        yield world
    finally:
        await world.close()


@pytest.fixture(scope="module")
def real_kafka_of_module(stack: LocalStack) -> LocalStack:
    """Give a stack with real Kafka."""
    need_real_kafka(stack)
    return stack


@pytest.fixture(scope="module")
async def prometheus(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    """Give a Prometheus, or skip with what to install."""
    try:
        find_tool("prometheus")
    except LocalStackError as error:
        pytest.skip(str(error))
    prometheus = Prometheus(stack, tmp_path_factory.mktemp("prometheus"))
    prometheus.start()
    yield prometheus
    await prometheus.close()


@pytest.fixture(scope="module")
async def coordinator(world: World, prometheus: Prometheus) -> Coordinator:
    """Give one coordinator that does everything, scraped and well."""
    settings = {"SAGA_FLOW__BREAKER_TIMEOUTS": "3", "SAGA_FLOW__BREAKER_PAUSE_SECONDS": "60"}
    coordinator = await world.launched("coordinator", **settings)
    prometheus.scrape([coordinator])
    await prometheus.is_silent(
        "SagaCoordinatorDown", "SagaGaugesStale", "SagaPartitionsWithoutOwner", "SagaLogDaysShort"
    )
    return coordinator


async def test_a_refund_that_is_refused(world: World, coordinator: Coordinator, prometheus: Prometheus) -> None:
    """SagaIncidentOpen fires while a suspended saga waits for a person, and rests when it was let go on."""
    stuck = order(**REFUSED[2])
    await world.fault("payment", "fail_undo", command="RefundPayment", match=stuck["order_id"])
    saga_id = await coordinator.start(stuck)
    await prometheus.fires("SagaIncidentOpen", reason="compensation_dead_lettered")
    await world.mend()
    version = (await coordinator.get(saga_id))["version"]
    body = {"reason": "payment is repaired", "expected_version": version}
    assert (await coordinator.http.post(f"/v1/sagas/{saga_id}/retry", json=body)).status_code == 202
    await prometheus.is_silent("SagaIncidentOpen")
    assert (await coordinator.get(saga_id))["status"] == "failed"


async def test_a_refund_that_is_never_answered(world: World, coordinator: Coordinator, prometheus: Prometheus) -> None:
    """SagaCompensationNotEnding fires while a participant is silent about an undo, and rests when it has answered."""
    await world.fault("payment", "slow", command="RefundPayment", seconds=20.0)
    await coordinator.start(order(**REFUSED[2]))
    await prometheus.fires("SagaCompensationNotEnding", saga_type=PATIENT)
    await world.mend()
    await prometheus.is_silent("SagaCompensationNotEnding")


async def test_orders_that_are_refused(world: World, coordinator: Coordinator, prometheus: Prometheus) -> None:
    """SagaErrorRatioHigh fires while most sagas turn back, and rests when they complete again."""
    for _ in range(8):
        await coordinator.start_many([order(**REFUSED[1]) for _ in range(10)])
        await asyncio.sleep(1)  # a rate takes time
        if "SagaErrorRatioHigh" in await prometheus.firing():
            break
    await prometheus.fires("SagaErrorRatioHigh", saga_type=PATIENT)
    await coordinator.start_many([order() for _ in range(300)])
    await prometheus.is_silent("SagaErrorRatioHigh")


async def test_records_that_nobody_can_read(world: World, coordinator: Coordinator, prometheus: Prometheus) -> None:
    """SagaDeadLettersGrowing and SagaDeadLettersWaiting fire when a program sends rubbish, and rest when it is gone."""
    producer = await world.producer()
    for number in range(30):
        headers = event_headers("SagaStepCompleted", "payment")
        await producer.send_and_wait(f"{world.prefix}replies", b"{not json", headers=headers, partition=number % 4)
    await prometheus.fires("SagaDeadLettersGrowing")
    await prometheus.fires("SagaDeadLettersWaiting", kind="record")
    await world.rows(DISCARDED)
    await prometheus.is_silent("SagaDeadLettersGrowing", "SagaDeadLettersWaiting")


async def test_a_participant_that_is_gone(world: World, coordinator: Coordinator, prometheus: Prometheus) -> None:
    """SagaParticipantSilent fires when commands time out one after the other."""
    await asyncio.to_thread(world.participants.pop("inventory").stop)
    await coordinator.start_many([order() for _ in range(10)], hasty("reserve_inventory"))
    await prometheus.fires("SagaParticipantSilent", participant="inventory")
    world.start_participant("inventory")


async def test_a_table_that_is_locked(world: World, coordinator: Coordinator, prometheus: Prometheus) -> None:
    """SagaConsumerBehind fires while nothing can be written, SagaTimersHeld as timeouts wait for it; then both rest."""
    connection = await asyncpg.connect(world.url)
    await world.fault("inventory", "drop", command="ReserveItems")
    hanging = await coordinator.start_many([order() for _ in range(20)], hasty("reserve_inventory"))
    # The engine knows them, and has more timeouts of theirs to come.
    await world.until("SELECT bool_and(version > 1) FROM saga WHERE id = ANY($1::uuid[])", hanging)
    locked = connection.transaction()
    await locked.start()
    await connection.execute("LOCK TABLE saga IN EXCLUSIVE MODE")
    try:
        await world.request_starts([order() for _ in range(400)])
        await prometheus.fires("SagaConsumerBehind")
        await prometheus.fires("SagaTimersHeld")
    finally:
        await locked.rollback()
        await connection.close()
    await world.mend()
    await prometheus.is_silent("SagaConsumerBehind", "SagaTimersHeld")


async def test_a_topic_that_takes_no_messages(world: World, coordinator: Coordinator, prometheus: Prometheus) -> None:
    """SagaRelayStalled fires while a topic refuses what is committed, and rests when it takes it: sagas go on."""
    topic = f"{world.prefix}notification.commands"
    await configure(world, topic, {"max.message.bytes": "100"})
    saga_ids = await coordinator.start_many([order() for _ in range(5)])
    await prometheus.fires("SagaRelayStalled")
    assert {row["destination"] for row in await world.rows(STALLED)} == {topic}
    await configure(world, topic, {"max.message.bytes": "1048576"})
    await prometheus.is_silent("SagaRelayStalled")
    await world.until("SELECT bool_and(status = 'completed') FROM saga WHERE id = ANY($1::uuid[])", saga_ids)


async def test_a_log_without_days(world: World, coordinator: Coordinator, prometheus: Prometheus) -> None:
    """SagaLogDaysShort fires when the log's days to come are gone, and rests when they are made."""
    for row in await world.rows(DAYS_TO_COME):
        await world.rows(f"DROP TABLE {row['day']}")
    await prometheus.fires("SagaLogDaysShort")
    await world.rows("SELECT saga_ensure_log_days(14)")
    await prometheus.is_silent("SagaLogDaysShort")


async def test_a_definition_that_a_release_has_lost(
    world: World, coordinator: Coordinator, prometheus: Prometheus
) -> None:
    """SagaStuck fires for sagas that no process can run any more, and rests when one can again."""
    await world.fault("notification", "drop")
    saga_id = await coordinator.start(order(), hasty("send_confirmation"))
    await coordinator.stop()
    lacking = await world.launched("lacking", SAGA_DEFINITIONS="tests.e2e.definitions:shipped")
    prometheus.scrape([lacking])
    await world.rows(AGED, saga_id)
    await prometheus.fires("SagaStuck", saga_type=hasty("send_confirmation"))
    await world.mend()
    await lacking.stop()
    knowing = await world.launched("knowing")
    prometheus.scrape([knowing])
    await prometheus.is_silent("SagaStuck")
    await knowing.stop()


async def test_an_engine_that_is_gone(world: World, prometheus: Prometheus, coordinator: Coordinator) -> None:
    """SagaCoordinatorDown, SagaPartitionsWithoutOwner and SagaGaugesStale fire when only an API is left."""
    if coordinator.child.exit_code is None:
        await coordinator.stop()
    api, engine = await asyncio.gather(world.launched("api", "api"), world.launched("engine", "engine"))
    prometheus.scrape([api, engine])
    await prometheus.is_silent("SagaPartitionsWithoutOwner", "SagaGaugesStale", "SagaCoordinatorDown")
    await engine.kill()
    await prometheus.fires("SagaCoordinatorDown", instance=f"127.0.0.1:{engine.metrics_port}")
    await prometheus.fires("SagaPartitionsWithoutOwner")
    await prometheus.fires("SagaGaugesStale")
    again = await world.launched("again", "engine")
    prometheus.scrape([api, again])
    await prometheus.is_silent("SagaPartitionsWithoutOwner", "SagaGaugesStale", "SagaCoordinatorDown")
