"""A database, topics, participants and coordinators of a module's own: real processes on a real Kafka and Postgres."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local.processes import Child, free_port
from deploy.local.stack import LocalStack
from participants.kit.faults import clear_faults, set_fault
from tests.checker.checks import Expected, check_run
from tests.checker.evidence import Plan
from tests.e2e.definitions import PATIENT
from tests.e2e.orders import SECRETS, STEPS

PARTITIONS = 4
READY_S = 60.0
Saga = dict[str, Any]


class Coordinator:
    """One process of the coordinator."""

    def __init__(self, child: Child, port: int, metrics_port: int) -> None:
        self.child = child
        self.url = f"http://127.0.0.1:{port}"
        self.metrics_port = metrics_port
        # The server closes what is idle for 5 s; a request must not meet that moment.
        self.http = httpx.AsyncClient(base_url=self.url, timeout=30, limits=httpx.Limits(keepalive_expiry=2))

    async def ready(self) -> None:
        """Wait until /readyz is green."""
        async with asyncio.timeout(READY_S):
            while not await self.is_ready():
                if self.child.exit_code is not None:
                    raise AssertionError(
                        f"{self.child.name} ended with {self.child.exit_code}: {self.child.output()[-3000:]}"
                    )
                await asyncio.sleep(0.05)

    async def is_ready(self) -> bool:
        """Whether /readyz is green now."""
        try:
            return (await self.http.get("/readyz", timeout=5)).status_code == 200
        except httpx.HTTPError:
            return False

    async def is_unready(self) -> bool:
        """Whether the process lives and /readyz is red."""
        try:
            return (await self.http.get("/readyz", timeout=5)).status_code == 503
        except httpx.HTTPError:
            return False

    async def metrics(self) -> str:
        """Scrape it."""
        answer = await self.http.get(f"http://127.0.0.1:{self.metrics_port}/metrics")
        assert answer.status_code == 200, answer.text
        return answer.text

    async def start(self, order: Mapping[str, Any], definition: str = PATIENT) -> str:
        """Start one saga; answers its id."""
        answer = await self.http.post("/v1/sagas", json={"definition": definition, "input": order})
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    async def start_many(self, orders: Sequence[Mapping[str, Any]], definition: str = PATIENT) -> list[str]:
        """Start sagas with one call; answers their ids."""
        body = {"sagas": [{"definition": definition, "input": order} for order in orders]}
        answer = await self.http.post("/v1/sagas/bulk", json=body)
        assert answer.status_code == 200, answer.text
        return [item["saga"]["id"] for item in answer.json()["items"]]

    async def get(self, saga_id: str) -> Saga:
        """Read one saga with its log."""
        answer = await self.http.get(f"/v1/sagas/{saga_id}", params={"include": "log"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def kill(self) -> None:
        """End the process with SIGKILL."""
        await asyncio.to_thread(self.child.kill)
        await self.http.aclose()

    async def stop(self) -> int:
        """End the process with SIGTERM; answers its exit code."""
        code = await asyncio.to_thread(self.child.stop, grace_s=30)
        await self.http.aclose()
        return code


class World:
    """Everything that the tests of a module share."""

    def __init__(self, stack: LocalStack, definitions: str = "tests.e2e.definitions:definitions") -> None:
        name = f"e2e_{secrets.token_hex(4)}"
        self.stack = stack
        self.definitions = definitions
        self.database = name
        self.prefix = f"{name}."
        self.plan = Plan(self.prefix, STEPS)
        self.secrets = SECRETS
        self.url = ""
        self.coordinators: list[Coordinator] = []
        self.participants: dict[str, Child] = {}
        self.saga_ids: set[str] = set()
        self.invisible: dict[int, int] = {}
        self._producer: AIOKafkaProducer | None = None
        self._consumer: AIOKafkaConsumer | None = None

    # ------------------------------------------------------------ processes

    async def open(self, participants: Sequence[str] = ("inventory", "payment", "shipping", "notification")) -> None:
        """Make database and topics, and start the participants."""
        self.url = await asyncio.to_thread(self.stack.create_database, self.database)
        makers = [self._child(verb, "-m", "coordinator", verb) for verb in ("migrate", "topics")]
        for participant in participants:
            self.start_participant(participant)
        codes = await asyncio.gather(*(asyncio.to_thread(maker.wait, READY_S) for maker in makers))
        assert codes == [0, 0], "\n".join(maker.output()[-3000:] for maker in makers)
        waits = (
            asyncio.to_thread(child.wait_for_line, r"(?m)^ready$", timeout_s=READY_S)
            for child in self.participants.values()
        )
        await asyncio.gather(*waits)

    async def close(self) -> None:
        """End everything and drop the database."""
        for client in (self._producer, self._consumer):
            if client is not None:
                await client.stop()
        for coordinator in self.coordinators:
            await coordinator.http.aclose()
        children = [*(coordinator.child for coordinator in self.coordinators), *self.participants.values()]
        await asyncio.gather(*(asyncio.to_thread(child.kill) for child in children if child.exit_code is None))
        await asyncio.to_thread(self.stack.postgres.drop_database, self.database)

    def environment(self, **settings: str) -> dict[str, str]:
        """Say what a process of this world needs to know."""
        return {
            **self.stack.coordinator_environment(self.url),
            "SAGA_TOPIC_PREFIX": self.prefix,
            "SAGA_DEFINITIONS": self.definitions,
            "SAGA_KAFKA__GROUP_ID": f"{self.prefix}coordinator",
            "SAGA_KAFKA__REPLIES_PARTITIONS": str(PARTITIONS),
            "SAGA_KAFKA__COMMANDS_PARTITIONS": str(PARTITIONS),
            "SAGA_KAFKA__EVENTS_PARTITIONS": str(PARTITIONS),
            "SAGA_LOG__TRANSITIONS": "false",
            **settings,
        }

    def start_participant(self, participant: str) -> Child:
        """Start a participant's process."""
        arguments = ("-m", f"participants.{participant}", "--instance", f"{self.prefix}{participant}")
        # It has tables of its own in this database, and makes them itself.
        child = self.participants[participant] = self._child(participant, *arguments, SAGA_DATABASE__URL=self.url)
        return child

    def launch(self, name: str, role: str = "all", **settings: str) -> Coordinator:
        """Start a coordinator's process, without waiting for it."""
        metrics_port = free_port()
        port = metrics_port if role == "engine" else free_port()  # an engine listens for its health only
        ports = {"SAGA_API__PORT": str(port), "SAGA_METRICS__PORT": str(metrics_port)}
        command = ("-m", "coordinator", "serve", "--role", role)
        child = self._child(name, *command, SAGA_INSTANCE=name, **ports, **settings)
        coordinator = Coordinator(child, port, metrics_port)
        self.coordinators.append(coordinator)
        return coordinator

    async def launched(self, name: str, role: str = "all", **settings: str) -> Coordinator:
        """Start a coordinator's process and wait until it is ready."""
        coordinator = self.launch(name, role, **settings)
        await coordinator.ready()
        return coordinator

    def _child(self, name: str, *arguments: str, **settings: str) -> Child:
        return self.stack.processes.python(
            f"{self.database}-{name}", *arguments, environment=self.environment(**settings)
        )

    # ------------------------------------------------------------ faults

    async def fault(self, participant: str, kind: str, **what: Any) -> None:
        """Set a fault of a participant."""
        await set_fault(self.url, participant, kind, **what)

    async def mend(self) -> None:
        """Clear all faults."""
        for participant in self.participants:
            await clear_faults(self.url, participant)

    # ------------------------------------------------------------ Kafka

    async def producer(self) -> AIOKafkaProducer:
        """Give a producer for what a test sends by itself."""
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self.stack.kafka.bootstrap_servers, max_request_size=8 * 1024 * 1024, linger_ms=5
            )
            await self._producer.start()
        return self._producer

    async def request_starts(self, orders: Sequence[Mapping[str, Any]], definition: str = PATIENT) -> None:
        """Ask for sagas over Kafka; returns when the requests are durable."""
        producer = await self.producer()
        sent = []
        for number, order in enumerate(orders):
            value = msgspec.json.encode({"definition": definition, "input": order})
            headers = event_headers("SagaStartRequested", "a-shop")
            partition = number % PARTITIONS
            sent.append(await producer.send(f"{self.prefix}replies", value, headers=headers, partition=partition))
        await asyncio.gather(*sent)

    async def end_offsets(self) -> dict[int, int]:
        """Ask where the partitions of the reply topic end."""
        if self._consumer is None:
            self._consumer = AIOKafkaConsumer(
                bootstrap_servers=self.stack.kafka.bootstrap_servers, isolation_level="read_committed"
            )
            await self._consumer.start()
        places = [TopicPartition(f"{self.prefix}replies", part) for part in range(PARTITIONS)]
        return {place.partition: end for place, end in (await self._consumer.end_offsets(places)).items()}

    # ------------------------------------------------------------ Postgres

    async def rows(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Ask the database."""
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()

    async def value(self, query: str, *arguments: object) -> Any:
        """Ask the database for one value."""
        return (await self.rows(query, *arguments))[0][0]

    async def until(self, query: str, *arguments: object, within_s: float = 30.0) -> None:
        """Wait until a query answers true."""
        await eventually(lambda: self.value(query, *arguments), within_s=within_s, what=query, explain=self.shards)

    async def shards(self) -> list[tuple[Any, ...]]:
        """Say who owns which partition, and how far it was read."""
        return [
            tuple(row) for row in await self.rows("SELECT part, owner, epoch, next_offset FROM shard ORDER BY part")
        ]

    async def story(self, saga_id: str) -> list[str]:
        """List the commands that the participants' own tables say took effect for a saga, in the order of the clock."""
        union = " UNION ALL ".join(f"SELECT * FROM {step.participant}.effects" for step in STEPS)  # noqa: S608
        rows = await self.rows(f"SELECT command FROM ({union}) AS e WHERE saga_id = $1 ORDER BY at", saga_id)  # noqa: S608
        return [row["command"] for row in rows]

    async def saga_of(self, order: Mapping[str, Any], within_s: float = 30.0) -> str:
        """Find the saga of an order, once it has begun."""
        query = "SELECT saga_id::text FROM saga_key WHERE business_key = $1"
        await self.until(f"SELECT EXISTS ({query})", order["order_id"], within_s=within_s)
        return str(await self.value(query, order["order_id"]))

    # ------------------------------------------------------------ the end

    async def rest(self, within_s: float = 60.0) -> None:
        """Wait until nothing moves any more: sagas rest, outboxes are empty, every record is consumed."""
        await eventually(self.is_at_rest, within_s=within_s, what="at rest", explain=self.unrest)

    async def check(self, within_s: float = 60.0, *, count: int | None = None) -> None:
        """Wait for rest, then let the independent checker look for anything that is wrong."""
        await self.rest(within_s)
        if count is not None:
            assert await self.value("SELECT count(*) FROM saga") == count
        expected = Expected(frozenset(self.saga_ids), self.invisible, secrets=self.secrets)
        logs = sorted({coordinator.child.log for coordinator in self.coordinators})
        complaints = await check_run(self.url, self.stack.kafka.bootstrap_servers, self.plan, expected, logs)
        assert complaints == [], "\n".join(complaints[:40])

    async def is_at_rest(self) -> bool:
        """Whether nothing moves any more."""
        return not await self.unrest()

    async def unrest(self) -> list[str]:
        """Say what still moves."""
        queries = {
            "sagas in progress": "SELECT count(*) FROM saga WHERE status NOT IN"
            " ('completed', 'failed', 'suspended', 'abandoned')",
            "messages in the outbox": "SELECT count(*) FROM outbox",
            "dead letters to publish": "SELECT count(*) FROM dead_letter WHERE NOT on_topic",
        }
        for participant in self.participants:
            queries[f"replies with {participant}"] = f"SELECT count(*) FROM {participant}.kit_outbox"  # noqa: S608
        text = ", ".join(f"({query})" for query in queries.values())
        row = (await self.rows(f"SELECT {text}"))[0]
        found = [f"{count} {what}" for what, count in zip(queries, row, strict=True) if count]
        read = {row["part"]: row["next_offset"] for row in await self.rows("SELECT part, next_offset FROM shard")}
        behind = {part: end - read.get(part, 0) for part, end in (await self.end_offsets()).items()}
        return found + [f"{lag} records of partition {part}" for part, lag in behind.items() if lag]


async def eventually(
    condition: Callable[[], Awaitable[Any]],
    *,
    within_s: float = 30.0,
    what: str,
    explain: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Wait until a condition holds; fails with what it was, and why it does not hold."""
    try:
        async with asyncio.timeout(within_s):
            while not await condition():  # noqa: ASYNC110 - conditions are about other processes
                await asyncio.sleep(0.05)
    except TimeoutError:
        reason = "" if explain is None else f": {await explain()}"
        raise AssertionError(f"not within {within_s:g} s: {what}{reason}") from None


def event_headers(ce_type: str, source: str, **more: str) -> list[tuple[str, bytes]]:
    """Make the headers of a CloudEvent."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    given = {"ce_specversion": "1.0", "ce_id": str(uuid.uuid4()), "ce_type": ce_type, "ce_source": source}
    given |= {"ce_time": moment, "content-type": "application/json", **more}
    return [(name, value.encode()) for name, value in given.items()]
