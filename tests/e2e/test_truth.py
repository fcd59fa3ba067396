"""Counters against rows: whatever happened to sagas, through whichever process, the log and /metrics say the same."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from coordinator.engine.topology import Topology
from coordinator.errors import Unavailable
from coordinator.kafka import Publisher
from coordinator.saga.events import (
    AbandonRequested,
    CompensateRequested,
    ResumeRequested,
    RetryRequested,
    SuspendRequested,
)
from coordinator.services.sagas import StartRequest
from coordinator.services.verbs import VerbRefused, VerbStale
from coordinator.store.batch import Batch
from coordinator.store.postgres import Committed
from tests.e2e.definitions import PATIENT, definitions, hasty
from tests.e2e.orders import REFUSED, STEPS, order
from tests.e2e.world import PARTITIONS, Coordinator, World, event_headers, eventually
from tests.integration.api.office import Commit, Office

COUNTED = ("started", "completed", "failed", "abandoned", "compensating", "suspended")
VERBS: dict[str, Any] = {
    each.__name__.removesuffix("Requested").lower(): each
    for each in (AbandonRequested, CompensateRequested, ResumeRequested, RetryRequested, SuspendRequested)
}
# What docs/metrics.md says of the counters: an entry that changes the status, but for going on after a suspension.
ROWS = """
    WITH entry AS (
        SELECT s.definition_id, l.saga_id, l.version, l.status,
               lag(l.status) OVER (PARTITION BY l.saga_id ORDER BY l.version) AS before,
               (SELECT b.status FROM saga_log AS b WHERE b.saga_id = l.saga_id AND b.version < l.version
                    AND b.status <> 'suspended' ORDER BY b.version DESC LIMIT 1) AS went
        FROM saga_log AS l JOIN saga AS s ON s.id = l.saga_id
    )
    SELECT d.name, CASE WHEN e.version = 1 THEN 'started' ELSE e.status END AS what, count(*)
    FROM entry AS e JOIN saga_definition AS d ON d.id = e.definition_id
    WHERE e.version = 1
        OR (e.status <> e.before AND e.status IN ('completed', 'failed', 'abandoned', 'suspended'))
        OR (e.status = 'compensating' AND e.before <> 'compensating'
            AND NOT (e.before = 'suspended' AND e.went = 'compensating'))
    GROUP BY 1, 2
"""

Told = Counter[tuple[str, str]]


@pytest.fixture
async def office(world: World) -> AsyncIterator[Office]:
    """Give a service of its own, for all verbs, whose commits a test may keep from being heard of."""
    topics = {f"{world.prefix}{name}": PARTITIONS for name in ("replies", "events", "dlq")}
    topics |= {f"{world.prefix}{step.participant}.commands": PARTITIONS for step in STEPS}
    publisher = Publisher(world.stack.kafka.bootstrap_servers, "office")
    await publisher.start()
    office = Office(world.url, Topology(world.prefix, topics), publisher, definitions)
    await office.open()
    yield office
    await office.close()
    await publisher.stop()


async def test_counters_are_what_the_log_says(world: World, office: Office) -> None:
    """After failures, retries, verbs, starts over Kafka, lost answers and a restart: equal, to the last one."""
    api = await world.launched("api", "api")
    first = await world.launched("first", "engine")
    told: Told = Counter()
    await _orders(world, api)
    await _verbs(world, office, api)
    await _unheard(world, office)
    await world.rest()
    told += _read(await first.metrics())
    assert await first.stop() == 0
    second = await world.launched("second", "engine")
    await _orders(world, api)
    await world.rest()
    await eventually(lambda: _is_heard_of(office), what="all commits are heard of")
    here = generate_latest(office.metrics.registry).decode()
    told += _read(await second.metrics()) + _read(await api.metrics()) + _read(here)
    rows: Told = Counter({(row["name"], row["what"]): row["count"] for row in await world.rows(ROWS)})
    assert {what for _, what in rows} == set(COUNTED)
    assert told == rows


async def test_gauges_are_what_the_rows_say(world: World) -> None:
    """The process that owns partition 0 shows as many suspended sagas as there are, the others show none."""
    rows = await world.rows(
        "SELECT d.name, count(*) FROM saga AS s JOIN saga_definition AS d ON d.id = s.definition_id"
        " WHERE s.status = 'suspended' GROUP BY 1"
    )
    wanted = {row["name"]: row["count"] for row in rows}
    assert wanted
    api, engine = world.coordinators[0], world.coordinators[-1]

    async def shown() -> bool:
        text = await engine.metrics()
        found = dict(re.findall(r'saga_suspended_count\{saga_type="(\w+)"\} ([0-9.]+)', text))
        return {name: int(float(count)) for name, count in found.items() if float(count)} == wanted

    await eventually(shown, what=f"{wanted} are shown as suspended", within_s=15)
    assert "saga_suspended_count{" not in await api.metrics()


async def test_nothing_that_is_said_becomes_a_label(world: World) -> None:
    """Definitions, sources, types and steps that somebody makes up are judged, and leave no trace in a scrape."""
    producer = await world.producer()
    said = {
        "definition": "Bomb",
        "input": {},
        "saga_id": "bomb",
        "step_name": "bomb",
        "command_id": "bomb:1:bomb:action",
    }
    judged = 'SELECT sum(applied + duplicate + stale + "foreign" + quarantined) FROM shard'
    before = await world.value(judged)
    kinds = ("SagaStartRequested", "SagaStepCompleted", "SagaStepFailed", "SagaTouched", "Bomb")
    for kind in kinds:
        headers = event_headers(kind, "bomb", bomb="bomb")
        await producer.send_and_wait(f"{world.prefix}replies", msgspec.json.encode(said), b"bomb", 0, headers=headers)
    await world.until(f"SELECT ({judged}) >= $1", before + len(kinds))
    engine = world.coordinators[-1]
    await eventually(lambda: _shows_letters(engine), what="letters are shown", within_s=15)
    for coordinator in (world.coordinators[0], engine):
        assert "bomb" not in (await coordinator.metrics()).lower()


async def _shows_letters(coordinator: Coordinator) -> bool:
    return "saga_dead_letters_open{" in await coordinator.metrics()


async def _orders(world: World, api: Coordinator) -> None:
    """Sagas that complete, that fail at each step, that time out, over the API and over Kafka."""
    good = [order() for _ in range(20)]
    ids = await api.start_many([*good, *(order(**changes) for changes in REFUSED)], PATIENT)
    repeated = await api.start_many(good[:3], PATIENT)
    assert repeated == ids[:3]
    over_kafka = [order() for _ in range(5)]
    await world.request_starts([*over_kafka, *over_kafka[:2]], PATIENT)
    silent = order()
    await world.fault("payment", "drop", command="ProcessPayment", match=silent["order_id"])
    await api.start(silent, hasty("process_payment"))
    for each in over_kafka:
        await world.saga_of(each)


async def _verbs(world: World, office: Office, api: Coordinator) -> None:
    """Sagas that a person has to do with: undoing that gets stuck, cancelling, parking, giving up."""
    stuck = [order(**REFUSED[2]) for _ in range(3)]
    for each in stuck:
        await world.fault("payment", "fail_undo", command="RefundPayment", match=each["order_id"])
    parked = [await api.start(each, PATIENT) for each in stuck]
    for saga_id in parked:
        await world.until("SELECT status = 'suspended' FROM saga WHERE id = $1::uuid", saga_id)
    await _act(world, office, parked[0], "abandon")
    await _act(world, office, parked[1], "retry")  # in vain: it is suspended again
    await world.until("SELECT status = 'suspended' AND version > 10 FROM saga WHERE id = $1::uuid", parked[1])
    slow = [order() for _ in range(4)]
    for each in slow:
        await world.fault("payment", "drop", command="ProcessPayment", match=each["order_id"])
    waiting = [await api.start(each, PATIENT) for each in slow]
    for saga_id in waiting:
        await world.until("SELECT status = 'pending' FROM saga WHERE id = $1::uuid", saga_id)
    await _act(world, office, waiting[0], "compensate")
    await _act(world, office, waiting[1], "suspend")
    await _act(world, office, waiting[1], "compensate")
    await _act(world, office, waiting[2], "suspend")
    await world.mend()
    await _act(world, office, waiting[2], "resume")
    await _act(world, office, waiting[3], "suspend")


async def _unheard(world: World, office: Office) -> None:
    """A start and a verb that are committed, of which nobody hears; the client is told that it is not known."""
    lost: list[int] = []

    async def lose(commit: Commit, batch: Batch) -> Committed:
        await commit(batch)
        lost.append(len(batch.logs))
        raise Unavailable("the connection broke")

    office.store.around = lose
    one = order()
    await office.service.start(StartRequest(PATIENT, None, one))
    slow = order()
    await world.fault("payment", "drop", command="ProcessPayment", match=slow["order_id"])
    office.store.around = None
    saga_id = (await office.service.start(StartRequest(PATIENT, None, slow))).saga.id
    await world.until("SELECT status = 'pending' FROM saga WHERE id = $1::uuid", saga_id)
    office.store.around = lose
    await _act(world, office, saga_id, "suspend")
    office.store.around = None
    assert len(lost) >= 2
    await world.mend()


async def _act(world: World, office: Office, saga_id: str, verb: str) -> None:
    async def done() -> bool:
        version = await world.value("SELECT version FROM saga WHERE id = $1::uuid", saga_id)
        try:
            await office.service.act(saga_id, version, VERBS[verb]("ann", "a test of counters"))
        except (VerbStale, VerbRefused):
            return False
        return True

    await eventually(done, what=f"{verb} of {saga_id}")


async def _is_heard_of(office: Office) -> bool:
    await office.observer.settle_doubts(office.store)
    return not office.observer._doubts._open


def _read(text: str) -> Told:
    """What a process has counted of each definition."""
    found: Told = Counter()
    for family in text_string_to_metric_families(text):
        what = family.name.removeprefix("saga_")
        for sample in family.samples if family.type == "counter" and what in COUNTED else ():
            found[sample.labels["saga_type"], what] += int(sample.value)
    return +found
