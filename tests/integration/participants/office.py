"""A database, topics and participants of one test's own, and the test's end of the wire."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from deploy.local.processes import Child
from deploy.local.stack import LocalStack
from participants.kit.faults import clear_faults, set_fault
from participants.kit.settings import DatabaseSettings, KafkaSettings, Settings
from tests.integration.participants.exchange import REPLY_PARTITIONS, Exchange, Step

ORDER: dict[str, Any] = {
    "order_id": "order-1",
    "customer_id": "customer-1",
    "email": "ann@example.com",
    "items": [{"sku": "sku-book", "quantity": 2}],
    "amount_cents": 4_200,
    "currency": "EUR",
    "card": {"token": "tok_visa"},
    "address": {"country": "DE", "city": "Berlin", "street": "Unter den Linden 1"},
}
COMMAND_PARTITIONS = 4
COMMANDS = {
    "inventory": ("ReserveItems", "ReleaseReservation"),
    "payment": ("ProcessPayment", "RefundPayment"),
    "shipping": ("CreateShipment", "CancelShipment"),
    "notification": ("SendOrderConfirmation", "SendCancellationNotice"),
}


def step(participant: str, **payload: Any) -> Step:
    """Build a step of a new saga; keywords replace fields of the order."""
    action, compensation = COMMANDS.get(participant, ("Act", "Undo"))
    return Step(participant=participant, action=action, compensation=compensation, payload={**ORDER, **payload})


class Office:
    """Everything a test needs of the participants that it runs."""

    def __init__(self, stack: LocalStack, url: str, prefix: str) -> None:
        self.stack = stack
        self.url = url
        self.prefix = prefix
        self.exchange = Exchange(stack.kafka.bootstrap_servers, prefix)
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def open(self, *participants: str) -> None:
        """Create the topics and listen for replies."""
        topics = {f"{self.prefix}{name}.commands": COMMAND_PARTITIONS for name in participants}
        await asyncio.to_thread(self.stack.create_topics, {**topics, self.exchange.replies_topic: REPLY_PARTITIONS})
        await self.exchange.start()

    async def close(self) -> None:
        """Stop listening; the processes end with the stack, or with the test that started them."""
        await self.exchange.stop()
        if self._connection is not None:
            await self._connection.close()

    def settings(self) -> Settings:
        """Give the settings of a participant that runs inside the test."""
        return Settings(
            kafka=KafkaSettings(bootstrap_servers=self.stack.kafka.bootstrap_servers),
            database=DatabaseSettings(url=self.url),
            topic_prefix=self.prefix,
        )

    def launch(self, participant: str, *arguments: str) -> Child:
        """Start a participant's process."""
        environment = {**self.stack.environment(self.url), "SAGA_TOPIC_PREFIX": self.prefix}
        name = f"{self.prefix}{participant}{len(arguments)}"
        return self.stack.processes.python(
            name, "-m", f"participants.{participant}", *arguments, environment=environment
        )

    async def launched(self, participant: str, *arguments: str) -> Child:
        """Start a participant's process and wait until it is ready."""
        child = self.launch(participant, *arguments)
        await asyncio.to_thread(child.wait_for_line, r"(?m)^ready$", timeout_s=30)
        return child

    async def fault(self, participant: str, kind: str, **what: Any) -> None:
        """Set a fault."""
        await set_fault(self.url, participant, kind, **what)

    async def mend(self, participant: str) -> None:
        """Clear a participant's faults."""
        await clear_faults(self.url, participant)

    async def rows(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Ask the participants' database."""
        if self._connection is None:
            self._connection = await asyncpg.connect(self.url)
        return await self._connection.fetch(query, *arguments)

    async def until(self, question: str, *, within_s: float = 15.0) -> None:
        """Wait until a question to the database is answered with true."""
        async with asyncio.timeout(within_s):
            while not (await self.rows(question))[0][0]:  # noqa: ASYNC110 (Postgres rings no bell for this)
                await asyncio.sleep(0.01)

    async def effects(self, step: Step) -> list[str]:
        """List what happened for a step: "done" and "undone" in the order of the clock."""
        query = f"select kind from {step.participant}.effects where saga_id = $1 order by at"  # noqa: S608
        return [row["kind"] for row in await self.rows(query, step.saga_id)]
