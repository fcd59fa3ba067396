"""The local stack keeps its promises: what was written survives, what was started ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local.choice import LocalStackError
from deploy.local.kafka_memory import start_in_memory
from deploy.local.places import PROJECT, RunDirectory
from deploy.local.processes import ChildDied, Processes, port_open
from deploy.local.stack import LocalStack
from deploy.local.waiting import run_async


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the module's own stack has said while it started."""
    return []


@pytest.fixture(scope="module")
def own_stack(said: list[str]) -> Iterator[LocalStack]:
    """Give a stack that may be killed and paused, unlike the shared one."""
    with LocalStack(say=said.append) as stack:
        yield stack


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Give a starter of processes with a run directory of its own."""
    run = RunDirectory()
    with Processes(run) as starter:
        yield starter
    run.close()


async def produce(servers: str, topic: str, value: bytes) -> None:
    """Produce one record and wait until the broker has acknowledged it."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True)
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, partition=0)
    finally:
        await producer.stop()


async def first_record(servers: str, topic: str) -> bytes | None:
    """Read the oldest record of a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        record = await consumer.getone()
        value: bytes | None = record.value
        return value
    finally:
        await consumer.stop()


async def fetch_value(url: str, query: str) -> object:
    """Run a query that gives one value."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def test_both_choices_are_said_with_a_reason(own_stack: LocalStack, said: list[str]) -> None:
    """One line names the Kafka and one the Postgres that were taken, with the address and why."""
    for what, server in (("kafka", own_stack.kafka), ("postgres", own_stack.postgres)):
        lines = [line for line in said if line.startswith(f"{what}: {server.kind}, ")]
        assert len(lines) == 1
        assert server.description in lines[0]
        assert "that works" in lines[0] or "asks for it" in lines[0]


def test_a_record_survives_kill_9_of_the_broker(own_stack: LocalStack, topic_prefix: str) -> None:
    """What Kafka acknowledged is still there after SIGKILL and a start on the same port."""
    kafka = own_stack.kafka
    if not kafka.durable:
        pytest.skip(f"needs a broker that keeps records, this is {kafka.description}")
    topic = f"{topic_prefix}survives"
    own_stack.create_topics({topic: 2})
    run_async(produce(kafka.bootstrap_servers, topic, b"acknowledged"))
    kafka.kill()
    assert not listening(kafka.bootstrap_servers)
    kafka.start()
    assert run_async(first_record(kafka.bootstrap_servers, topic)) == b"acknowledged"


def test_a_paused_broker_answers_again_after_resume(own_stack: LocalStack, topic_prefix: str) -> None:
    """A frozen broker keeps its port open and serves as before once it is let go."""
    topic = f"{topic_prefix}paused"
    own_stack.create_topics({topic: 1})
    own_stack.kafka.pause()
    try:
        assert listening(own_stack.kafka.bootstrap_servers)
    finally:
        own_stack.kafka.resume()
    run_async(produce(own_stack.kafka.bootstrap_servers, topic, b"later"))
    assert run_async(first_record(own_stack.kafka.bootstrap_servers, topic)) == b"later"


@pytest.mark.parametrize("way", ["immediate", "kill"])
def test_committed_rows_survive_a_crash_of_postgres(own_stack: LocalStack, way: str) -> None:
    """A committed row is there after an immediate stop or a SIGKILL; an uncommitted one is not."""
    url = own_stack.create_database(f"crash_{way}")

    async def crash_with_an_open_transaction() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("create table kept (name text)")
        await connection.execute("insert into kept values ('committed')")
        await connection.execute("begin; insert into kept values ('open')")
        if way == "kill":
            own_stack.postgres.kill()
        else:
            own_stack.postgres.stop(immediate=True)
        connection.terminate()

    run_async(crash_with_an_open_transaction())
    own_stack.postgres.start()
    assert run_async(fetch_value(url, "select string_agg(name, ',') from kept")) == "committed"


@pytest.mark.parametrize(
    ("setting", "value"), [("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")]
)
def test_speed_is_not_bought_with_durability(own_stack: LocalStack, setting: str, value: str) -> None:
    """Postgres runs with the settings that make a commit a commit."""
    assert run_async(fetch_value(own_stack.postgres.admin_url, f"show {setting}")) == value


def test_topics_are_never_made_by_accident(real_kafka: LocalStack, topic_prefix: str) -> None:
    """Asking for a topic that nobody created does not create it."""

    async def partitions_of_unknown_topic() -> set[int] | None:
        producer = AIOKafkaProducer(bootstrap_servers=real_kafka.kafka.bootstrap_servers)
        await producer.start()
        try:
            await producer.client.force_metadata_update()
            await producer.client.add_topic(f"{topic_prefix}unknown")
            partitions: set[int] | None = producer.client.cluster.partitions_for_topic(f"{topic_prefix}unknown")
            return partitions
        finally:
            await producer.stop()

    assert run_async(partitions_of_unknown_topic()) is None


def test_creating_a_topic_again_changes_nothing(stack: LocalStack, topic_prefix: str) -> None:
    """Creating topics is safe to repeat."""
    stack.create_topics({f"{topic_prefix}twice": 3})
    stack.create_topics({f"{topic_prefix}twice": 3})


def test_a_fresh_database_is_empty(fresh_database: str) -> None:
    """Each test starts from nothing."""
    count = "select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'public'"
    assert run_async(fetch_value(fresh_database, count)) == 0


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"broker": "external"}, r"BROKER=external .*SAGA_KAFKA__BOOTSTRAP_SERVERS"),
        ({"broker": "rabbit"}, r"BROKER=rabbit is not known; use one of external, jvm, docker, memory"),
        ({"database": "external"}, r"DATABASE=external .*SAGA_DATABASE__URL"),
        ({"database": "sqlite"}, r"DATABASE=sqlite is not known; use one of external, wheel, system, docker"),
    ],
)
def test_a_forced_choice_that_is_wrong_says_what_to_do(
    choice: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A choice that cannot be had ends in an error with advice and leaves no server behind."""
    for variable in ("SAGA_KAFKA__BOOTSTRAP_SERVERS", "SAGA_DATABASE__URL", "BROKER", "DATABASE"):
        monkeypatch.delenv(variable, raising=False)
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(LocalStackError, match=message), LocalStack(**choice, say=lambda _: None):
        pass
    assert {child.pid for child in psutil.Process().children()} <= before


def test_a_given_broker_that_does_not_answer_is_not_used(monkeypatch: pytest.MonkeyPatch, processes: Processes) -> None:
    """An external address where nothing listens is told as such, not taken."""
    monkeypatch.setenv("SAGA_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(LocalStackError, match="nothing answers"), LocalStack(broker="external", say=lambda _: None):
        pass


def test_the_memory_broker_comes_back_with_its_records(processes: Processes, topic_prefix: str) -> None:
    """A stop of the in-memory broker refuses connections; a start serves the same records."""
    broker = start_in_memory(processes)
    topic = f"{topic_prefix}memory"
    broker.create_topics({topic: 1})
    run_async(produce(broker.bootstrap_servers, topic, b"kept"))
    broker.stop()
    broker.start()
    assert run_async(first_record(broker.bootstrap_servers, topic)) == b"kept"
    with pytest.raises(LocalStackError, match="cannot come back"):
        broker.kill()


def test_a_child_that_dies_shows_the_end_of_its_log(processes: Processes) -> None:
    """Whoever waits for a process that ended reads why in the error."""
    child = processes.python("broken", "-c", "raise SystemExit('no such setting')")
    with pytest.raises(ChildDied, match=r"(?s)broken ended with 1 .*no such setting"):
        child.wait_for_line("never written", timeout_s=20)


def test_children_end_with_a_killed_parent_and_the_next_run_clears_up(tmp_path: Path) -> None:
    """After kill -9 of the owner no server stays, and the next run removes the data it left."""
    file = tmp_path / "stack.json"
    command = [sys.executable, "-m", "deploy.local", "--json", str(file)]
    environment = {**os.environ, "BROKER": "memory"}
    owner = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    lines = list(iter(owner.stdout.readline, "running; Ctrl-C ends it\n"))
    data = Path(next(line for line in lines if line.startswith("logs: ")).split()[1]) / "data"
    children = psutil.Process(owner.pid).children(recursive=True)
    facts = json.loads(file.read_text())
    assert listening(facts["kafka"]["bootstrap_servers"])
    owner.kill()
    owner.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
    RunDirectory().close()
    assert not data.exists()


def test_a_stack_of_another_process_is_used_and_left_running(stack: LocalStack, tmp_path: Path) -> None:
    """A stack from a file serves as the original does, but refuses to steer what it does not own."""
    file = tmp_path / "stack.json"
    file.write_text(json.dumps(stack.facts()))
    with LocalStack.of_file(file, say=lambda _: None) as attached:
        assert attached.environment() == stack.environment()
        assert run_async(fetch_value(attached.postgres.admin_url, "select 1")) == 1
        with pytest.raises(LocalStackError, match="another owner runs it"):
            attached.postgres.kill()
    assert run_async(fetch_value(stack.postgres.admin_url, "select 1")) == 1


def test_the_foreground_stack_ends_in_order_on_sigterm(tmp_path: Path) -> None:
    """SIGTERM ends both servers, removes the file that named them and exits with 0."""
    file = tmp_path / "stack.json"
    command = [sys.executable, "-m", "deploy.local", "--json", str(file)]
    environment = {**os.environ, "BROKER": "memory"}
    owner = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    for _ in iter(owner.stdout.readline, "running; Ctrl-C ends it\n"):
        pass
    children = psutil.Process(owner.pid).children(recursive=True)
    owner.send_signal(signal.SIGTERM)
    assert owner.wait(30) == 0
    assert not file.exists()
    assert [child for child in children if child.is_running()] == []


def listening(bootstrap_servers: str) -> bool:
    """Say whether something accepts connections there."""
    return port_open(int(bootstrap_servers.rpartition(":")[2]))()
