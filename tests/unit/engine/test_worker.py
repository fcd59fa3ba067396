"""The batch worker decides ahead, and never on a saga that is being written."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

from coordinator.engine.cache import SagaCache
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.observer import Observer
from coordinator.engine.ownership import Owned, Ownership
from coordinator.engine.registry import Registry
from coordinator.engine.relay import Relay
from coordinator.engine.timers import Timers
from coordinator.engine.topology import Topology
from coordinator.engine.worker import BatchWorker
from coordinator.kafka.batches import Published
from coordinator.kafka.records import Outgoing
from coordinator.observability.metrics import Metrics
from coordinator.store.batch import Batch, Token
from coordinator.store.postgres import Committed, RowMoved
from coordinator.wire.cloudevents import message_headers, reply_headers
from coordinator.wire.messages import StartRequested, StepCompleted
from coordinator.wire.strict_json import encode
from sagas import definitions

NOW_MS = 1_795_440_497_196


class Arrived:
    """A record as the inbox gives it."""

    topic = "saga.replies"
    timestamp = NOW_MS

    def __init__(self, offset: int, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
        self.partition = 0
        self.offset = offset
        self.key = key
        self.value = value
        self.headers = headers


class SlowStore:
    """Commits when it is let; `refuse` makes the next commit find that a row has moved on."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.committed = 0
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.refuse = 0

    async def commit(self, batch: Batch) -> Committed:
        self.batches.append(batch)
        self.began.set()
        await self.go.wait()
        if self.refuse:
            self.refuse -= 1
            raise RowMoved("by the test")
        self.committed += 1
        return Committed(NOW_MS, NOW_MS)

    async def load(self, saga_ids: Sequence[str]) -> list[Any]:
        del saga_ids
        return []

    async def taken_keys(self, keys: Sequence[tuple[str, str]]) -> list[Any]:
        del keys
        return []


class SwiftBus:
    """Acknowledges everything and keeps it."""

    healthy = True

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []

    async def publish(self, messages: Sequence[Outgoing]) -> Published:
        self.sent += messages
        return Published([message.token for message in messages], [], [], None)


class RealClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Dice:
    """Chance from a fixed seed."""

    def __init__(self) -> None:
        self._random = random.Random(3)

    def roll(self) -> float:
        return self._random.random()

    def bits(self, count: int) -> int:
        return self._random.getrandbits(count)


class Bench:
    """A worker that owns partition 0, over a store that waits to be let."""

    def __init__(self) -> None:
        registry = Registry(definitions)
        registry.bind({("OrderFulfillment", 1): 1})
        counts = {f"saga.{name}.commands": 8 for name in registry.participants}
        topology = Topology("saga.", {**counts, "saga.replies": 16, "saga.events": 8, "saga.dlq": 1})
        clock, chance = RealClock(), Dice()
        now = DatabaseClock(clock)
        now.observe(NOW_MS)
        self.store, self.bus, inbox = SlowStore(), SwiftBus(), object()
        cache = SagaCache()
        store: Any = self.store
        nowhere: Any = inbox

        async def sweep(_parts: object) -> None:
            return None

        self.ownership = Ownership(store, nowhere, clock, cache, owner="me", cluster_id="c", sweep=sweep)
        self.ownership.owned[0] = Owned(0, 1, 0)
        self.relay = Relay(self.bus, store, clock)
        timers = Timers(store, nowhere, clock, now, cache)
        observer = Observer(Metrics(), clock, None, log_transitions=False)
        self.worker = BatchWorker(
            store, self.ownership, self.relay, timers, cache, registry, topology, clock, now, chance, observer
        )
        self.offset = 0

    def start(self, order_id: str) -> Arrived:
        """A start request."""
        order = {
            "order_id": order_id,
            "customer_id": "c-1",
            "email": "ann@example.com",
            "items": [{"sku": "sku-book", "quantity": 1}],
            "amount_cents": 1990,
            "currency": "EUR",
            "card": {"token": "tok_visa"},
            "address": {"country": "DE", "city": "Bonn", "street": "Am Hof 1"},
        }
        headers = message_headers("SagaStartRequested", order_id, "test", None, NOW_MS)
        return self._record(b"key", encode(StartRequested(definition="OrderFulfillment", input=order)), headers)

    def reply(self, command: Outgoing) -> Arrived:
        """The first step's success."""
        saga_id = command.key.decode()
        identity = f"{saga_id}:1:reserve_inventory:action"
        value = encode(StepCompleted(saga_id, "reserve_inventory", identity, 1, {"reservation_id": "r-1"}))
        headers = reply_headers("SagaStepCompleted", f"{identity}#reply", "inventory", saga_id, NOW_MS)
        return self._record(command.key, value, headers)

    def _record(self, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> Arrived:
        self.offset += 1
        return Arrived(self.offset - 1, key, value, headers)


async def test_the_next_batch_is_written_only_after_the_last_one() -> None:
    """One statement is on its way at most, and the second one begins at the offset that the first one reached."""
    bench = Bench()
    await bench.worker.handle([(0, [bench.start("a")])])
    second = asyncio.create_task(bench.worker.handle([(0, [bench.start("b"), bench.start("c")])]))
    await bench.store.began.wait()
    assert len(bench.store.batches) == 1
    assert not second.done()
    bench.store.go.set()
    await second
    await bench.worker.land()
    assert [(fence.from_offset, fence.next_offset) for batch in bench.store.batches for fence in batch.fences] == [
        (0, 1),
        (1, 3),
    ]
    assert bench.store.committed == 2


async def test_nothing_is_published_before_its_batch_is_committed() -> None:
    """A command that no row knows must not exist."""
    bench = Bench()
    await bench.worker.handle([(0, [bench.start("a")])])
    await bench.store.began.wait()
    assert bench.bus.sent == []
    bench.store.go.set()
    await bench.worker.land()
    await bench.relay.drain(5)
    assert [str(message.topic) for message in bench.bus.sent] == ["saga.inventory.commands"]


async def test_a_saga_that_is_being_written_is_not_decided_on() -> None:
    """A second reply of one saga waits for the first, and is built on what that one left."""
    bench = Bench()
    bench.store.go.set()
    await bench.worker.handle([(0, [bench.start("a")])])
    await bench.worker.land()
    await bench.relay.drain(5)
    command = bench.bus.sent[0]
    await bench.worker.handle([(0, [bench.reply(command)])])
    await bench.worker.handle([(0, [bench.reply(command)])])
    await bench.worker.land()
    moved, repeated = bench.store.batches[1:]
    assert [(row[1], row[2]) for row in moved.moves] == [(1, 2)]
    assert repeated.moves == []
    assert (repeated.fences[0].applied, repeated.fences[0].duplicate) == (0, 1)


async def test_a_batch_that_lost_a_row_is_decided_anew() -> None:
    """Nothing of the refused statement remains; the second try carries the same records."""
    bench = Bench()
    bench.store.go.set()
    bench.store.refuse = 1
    await bench.worker.handle([(0, [bench.start("a")])])
    await bench.worker.land()
    assert len(bench.store.batches) == 2
    assert bench.store.committed == 1
    assert bench.ownership.owned[0].next_offset == 1


async def test_tokens_are_deleted_with_the_next_batch() -> None:
    """An outbox row goes with the statement after its acknowledgement, not before."""
    bench = Bench()
    bench.store.go.set()
    await bench.worker.handle([(0, [bench.start("a")])])
    await bench.worker.land()
    await bench.relay.drain(5)
    token = bench.bus.sent[0].token
    assert isinstance(token, Token)
    assert token in bench.relay.known()
    await bench.worker.handle([(0, [bench.start("b")])])
    await bench.worker.land()
    assert bench.store.batches[1].tokens == [token]
    assert token not in bench.relay.known()
