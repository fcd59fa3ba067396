"""Participants over REST: what all processes know of each, added up, and how far each is behind."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from coordinator.engine.clock import DatabaseClock
from coordinator.engine.flow import Flow
from coordinator.kafka.lags import Lag, lags
from coordinator.services.pulses import LIVE_S, Pulses
from coordinator.settings import FlowSettings
from deploy.local.stack import LocalStack
from tests.integration.api.desk import Desk
from tests.integration.api.office import SystemClock

PARTICIPANTS = "/v1/participants"


class Process:
    """An engine process as far as participants are concerned."""

    def __init__(self, desk: Desk, name: str, *parts: int) -> None:
        self.desk = desk
        self.flow = Flow(FlowSettings(breaker_timeouts=3), desk.office.registry.participants)
        self.flow.own(parts, 2)
        self.now = DatabaseClock(SystemClock())
        self.pulses = Pulses(desk.office.store, self.flow, self.now, name)

    async def write(self) -> None:
        """Write down what is known."""
        self.now.observe(await self.desk.office.store.now_ms())
        await self.pulses.run_once()


async def _inventory(desk: Desk) -> Any:
    answer = await desk.get(f"{PARTICIPANTS}/inventory", "viewer")
    assert answer.status_code == 200
    return answer.json()


async def test_while_no_engine_runs_little_is_known(desk: Desk) -> None:
    """Without an engine there are names, limits, queues and lags, and what only engines know is null."""
    await desk.office.ask("DELETE FROM participant_state")
    shown = await _inventory(desk)
    assert [shown[name] for name in ("in_flight", "breaker", "since", "recent")] == [None] * 4
    assert (shown["held"], shown["lag"], shown["lag_unknown"], shown["processes"]) == (0, 7, None, [])
    assert shown["group"] == f"{desk.office.topology.prefix}inventory"
    names = [one["name"] for one in (await desk.get(PARTICIPANTS)).json()["participants"]]
    assert names == desk.office.registry.participants


async def test_what_processes_know_is_added_up(desk: Desk) -> None:
    """Replies, failures and latencies are those of all processes together, and the worst breaker is shown."""
    await desk.office.ask("DELETE FROM participant_state")
    one, other = Process(desk, "one", 0), Process(desk, "other", 1)
    for process in (one, other):
        await process.write()
    now_ms = one.now.now_ms()
    one.flow.heard(["inventory"], now_ms)
    one.flow.answered("inventory", now_ms, [10] * 98, failed=False)
    one.flow.answered("inventory", now_ms, [1000] * 2, failed=True)
    other.flow.timed_out(["inventory"] * 3, now_ms)
    for process in (one, other):
        await process.write()
    shown = await _inventory(desk)
    recent = shown["recent"]
    assert (recent["replies"], recent["failures"], recent["timeouts"]) == (100, 2, 3)
    assert recent["failure_rate"] == round(5 / 103, 4)
    assert (recent["p50_ms"], 1000 <= recent["p99_ms"] <= 1125) == (10, True)
    assert (shown["breaker"], shown["why"]) == ("open", "3 timeouts in a row")
    assert shown["last_reply_at"] is not None
    assert [(each["process"], each["partitions"], each["breaker"]) for each in shown["processes"]] == [
        ("one", 1, "closed"),
        ("other", 1, "open"),
    ]


async def test_who_is_gone_does_not_count(desk: Desk) -> None:
    """A process that has lost its partitions says so at once, and one that died is left out after some seconds."""
    await desk.office.ask("DELETE FROM participant_state")
    loser, dead = Process(desk, "loser", 0), Process(desk, "dead", 1)
    for process in (loser, dead):
        await process.write()
    assert len((await _inventory(desk))["processes"]) == 2
    loser.flow.own([], 2)
    await loser.write()
    assert [each["process"] for each in (await _inventory(desk))["processes"]] == ["dead"]
    await desk.office.ask("UPDATE participant_state SET at = at - $1 * interval '1 second'", LIVE_S + 1)
    assert (await _inventory(desk))["processes"] == []
    await desk.office.ask("UPDATE participant_state SET at = at - interval '1 day'")
    await Process(desk, "new", 0).write()
    assert (await desk.office.ask("SELECT count(*) AS rows FROM participant_state WHERE process = 'dead'"))[0][0] == 0


async def test_who_stops_in_order_leaves_nothing_behind(desk: Desk) -> None:
    """A process that is told to stop takes back what it wrote, so that its breakers count no more."""
    await desk.office.ask("DELETE FROM participant_state")
    process = Process(desk, "leaving", 0)
    await process.write()
    assert len((await _inventory(desk))["processes"]) == 1
    stopping = asyncio.Event()
    stopping.set()
    await process.pulses.run(stopping)
    assert (await _inventory(desk))["processes"] == []


async def test_what_is_no_participant_is_not_found(desk: Desk) -> None:
    """A name that no definition has is 404, and a service may not inspect."""
    assert (await desk.get(f"{PARTICIPANTS}/nobody")).status_code == 404
    assert (await desk.get(PARTICIPANTS, "service")).status_code == 403


async def test_a_lag_is_what_a_group_has_not_committed(real_kafka: LocalStack, topic_prefix: str) -> None:
    """The lag counts what no partition has committed; of a group that has committed nothing it is not known."""
    servers = real_kafka.kafka.bootstrap_servers
    topic, group = f"{topic_prefix}commands", f"{topic_prefix}group"
    counts = {topic: 2, f"{topic_prefix}other": 1}
    real_kafka.create_topics(counts)
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    for number in range(10):
        await producer.send_and_wait(topic, b"x", partition=number % 2)
    await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id=group, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    await consumer.commit({TopicPartition(topic, 0): 2})
    found = await lags(servers, {topic: group, f"{topic_prefix}other": "nobody"}, counts)
    await consumer.stop()
    assert found[topic] == Lag(8)
    assert found[f"{topic_prefix}other"].records is None
    assert "the consumer group nobody has committed nothing" in str(found[f"{topic_prefix}other"].unknown)
