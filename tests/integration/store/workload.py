"""Batches as engine and API write them: a real definition and real decisions, no Kafka."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any, Self, TypeAlias
from uuid import uuid4

import asyncpg
import msgspec

from coordinator.saga import machine
from coordinator.saga.content import content_of
from coordinator.saga.effects import IssueCommand, Moved
from coordinator.saga.events import CompensationCompleted, Event, Failure, StepCompleted, StepFailed
from coordinator.saga.model import TERMINAL, Direction, Saga, Undo, UndoEffect, command_id, dump_state
from coordinator.store.batch import Batch, Token
from coordinator.store.postgres import PostgresStore
from coordinator.store.replicas import Replicas
from sagas.order_fulfillment import order_fulfillment

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

PARTS = 4
TABLES = (
    *("saga", "saga_key", "saga_log", "saga_label", "saga_tally"),
    *("outbox", "shard", "dead_letter", "incident", "audit_log"),
)
NAME, VERSION = order_fulfillment.name, order_fulfillment.version
RESULTS: dict[str, dict[str, Any]] = {
    "reserve_inventory": {"reservation_id": "0198c0de-0000-7000-8000-000000000001"},
    "process_payment": {"payment_id": "0198c0de-0000-7000-8000-000000000002", "amount_cents": 4_200},
    "create_shipment": {"shipment_id": "0198c0de-0000-7000-8000-000000000003"},
    "send_confirmation": {"notice_id": "0198c0de-0000-7000-8000-000000000004"},
}


def order(order_id: str) -> dict[str, Any]:
    """Make an order of ordinary size."""
    return {
        "order_id": order_id,
        "customer_id": "customer-1",
        "email": "ann@example.com",
        "items": [{"sku": "sku-book", "quantity": 2}],
        "amount_cents": 4_200,
        "currency": "EUR",
        "card": {"token": "tok_visa"},
        "address": {"country": "DE", "city": "Berlin", "street": "Unter den Linden 1"},
    }


class Made:
    """A saga of a test: what its row holds, and what of its messages is in the outbox."""

    def __init__(self, saga: Saga, business_key: str) -> None:
        self.id = saga.id
        self.saga = saga
        self.business_key = business_key
        self.part = int(saga.id[:2], 16) % PARTS
        self.unsent: list[Token] = []


class Workload:
    """Makes batches of starts and replies; nothing is written before the caller commits them."""

    def __init__(self, store: PostgresStore, definition_id: int, now_ms: int) -> None:
        self.store = store
        self.now_ms = now_ms
        self._definition_id = definition_id
        self._dice = random.Random(7)
        self._next: dict[str, Saga] = {}

    @classmethod
    async def ready(cls, store: PostgresStore) -> Self:
        """Register the definition and read the clock."""
        registered = await Replicas(store, "workload").register([content_of(order_fulfillment)])
        return cls(store, registered.ids[NAME, VERSION], await store.now_ms())

    def starts(self, count: int = 1, business_key: str | None = None) -> tuple[Batch, list[Made]]:
        """Make the start of new sagas."""
        batch, made = Batch(), []
        for _ in range(count):
            saga_id = str(uuid4())
            moved = machine.begin(order_fulfillment, saga_id, now_ms=self.now_ms)
            one = Made(moved.saga, business_key or f"order-{saga_id}")
            self._start(batch, one)
            self._write(batch, one, moved, "SagaStarted")
            made.append(one)
        return batch, made

    async def started(self, count: int = 1) -> list[Made]:
        """Start sagas for real; their commands count as sent, so that the outbox is empty."""
        batch, made = self.starts(count)
        await self.store.commit(batch)
        await self.store.acknowledge([token for one in made for token in one.unsent])
        for one in made:
            one.unsent.clear()
        return made

    def answers(self, made: Sequence[Made], *, refuse: str | None = None) -> Batch:
        """Make the answer to what each saga waits for; the action of step `refuse` is refused."""
        batch = Batch()
        for one in made:
            before, event = one.saga, self._answer(one.saga, refuse)
            roll = self._dice.random()
            moved = machine.decide(order_fulfillment, before, event, now_ms=self.now_ms, roll=roll)
            assert isinstance(moved, Moved), moved
            self._write(batch, one, moved, type(event).__name__)
            saga = moved.saga
            state = dump_state(saga)
            batch.move(saga.id, before.version, saga.version, saga.status, state, saga.waking_ms, False, saga.waits[1])
        return batch

    async def run(self, made: Sequence[Made], *, refuse: str | None = None) -> None:
        """Answer until every saga has ended, one statement per round, as the replies of one poll come."""
        while waiting := [one for one in made if one.saga.status not in TERMINAL]:
            sent = [token for one in made for token in one.unsent]
            batch = self.answers(waiting, refuse=refuse)
            batch.tokens = sent
            committed = await self.store.commit(batch)
            self.now_ms = committed.now_ms
            gone = set(sent)
            for one in made:
                one.saga = self._next[one.id]
                one.unsent = [token for token in one.unsent if token not in gone]

    def _start(self, batch: Batch, one: Made) -> None:
        saga = one.saga
        value = msgspec.json.encode(order(one.business_key))
        batch.start(
            NAME,
            one.business_key,
            saga.id,
            hashlib.sha256(value).digest(),
            one.part,
            self._definition_id,
            None,
            value,
            saga.version,
            saga.waking_ms,
            saga.status,
            dump_state(saga),
            saga.waits[1],
            self.now_ms + order_fulfillment.shortest_ms,
        )

    def _write(self, batch: Batch, one: Made, moved: Moved, event: str) -> None:
        saga = moved.saga
        self._next[saga.id] = saga
        batch.log(saga.id, saga.version, one.part, event, None, saga.status, b'{"now_ms":%d}' % self.now_ms)
        for position, effect in enumerate(moved.effects):
            assert isinstance(effect, IssueCommand), effect
            step = order_fulfillment.steps[effect.step]
            token = Token(saga.id, saga.version, position)
            topic = f"saga.{step.participant}.commands"
            name = step.action if effect.direction is Direction.ACTION else step.compensation or ""
            payload = msgspec.json.encode(order(one.business_key))
            batch.send(token, one.part, topic, one.part, name, None, payload)
            one.unsent.append(token)

    def _answer(self, saga: Saga, refuse: str | None) -> Event:
        for step, state in zip(order_fulfillment.steps, saga.steps, strict=True):
            head = (step.name, step.participant)
            if state.undo is Undo.ISSUED:
                identity = command_id(saga.id, 1, step.name, Direction.COMPENSATION)
                return CompensationCompleted(identity, *head, state.undo_attempt, UndoEffect.UNDONE)
            if state.deadline_ms is not None:
                identity = command_id(saga.id, 1, step.name, Direction.ACTION)
                if step.name == refuse:
                    return StepFailed(identity, *head, state.attempt, Failure("refused", "it cannot be"))
                result = msgspec.Raw(msgspec.json.encode(RESULTS[step.name]))
                return StepCompleted(identity, *head, state.attempt, result)
        raise AssertionError(f"saga {saga.id} waits for nothing")


async def digest(connection: Connection) -> dict[str, str]:
    """Say what all tables hold, in a form that two moments can be compared by."""
    return {
        table: await connection.fetchval(
            f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} AS t"  # noqa: S608
        )
        for table in TABLES
    }
