"""The batch worker decides ahead, and never on a saga that is being written."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from coordinator.engine.cache import ActiveSaga, SagaCache
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.flow import Flow
from coordinator.engine.observer import Observer
from coordinator.engine.ownership import Owned, Ownership
from coordinator.engine.registry import Registry
from coordinator.engine.relay import Relay
from coordinator.engine.timers import Timers
from coordinator.engine.topology import Topology
from coordinator.engine.worker import BatchWorker
from coordinator.errors import Unavailable
from coordinator.kafka.batches import Published
from coordinator.kafka.records import Outgoing
from coordinator.observability.metrics import Metrics
from coordinator.saga import events, machine
from coordinator.saga.effects import Moved
from coordinator.saga.model import Saga, dump_state
from coordinator.settings import FlowSettings
from coordinator.store.batch import Batch, Token
from coordinator.store.postgres import Committed, Contended, RowMoved, SagaRow, Shard
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
    """Commits when it is let; `refuse`, `lose` and `contend` say how many of the next commits end otherwise."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.committed = 0
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.refuse = 0
        self.lose = 0
        self.contend = 0
        self.now_ms = NOW_MS
        self.locked = ""
        self.unsent: set[str] = set()
        self.refused: list[Batch] = []
        self.saved: list[SagaRow] = []

    async def commit(self, batch: Batch) -> Committed:
        self.batches.append(batch)
        self.began.set()
        await self.go.wait()
        if self.refuse:
            self.refuse -= 1
            raise RowMoved("by the test")
        if self.lose:
            self.lose -= 1
            raise Unavailable("by the test")
        if self.contend:
            self.contend -= 1
            raise Contended("by the test")
        if any(row[0] == self.locked for row in batch.moves):
            self.refused.append(batch)
            raise Contended("the row is locked")
        self.committed += 1
        return Committed(self.now_ms, self.now_ms)

    async def unsent_sagas(self, saga_ids: Sequence[str]) -> set[str]:
        return self.unsent & set(saga_ids)

    async def shards(self, parts: Sequence[int]) -> list[Shard]:
        return [Shard(part, 1, "me", "c", 0) for part in parts]

    async def load(self, saga_ids: Sequence[str]) -> list[SagaRow]:
        return [row for row in self.saved if row.id in saga_ids]

    async def taken_keys(self, keys: Sequence[tuple[str, str]]) -> list[Any]:
        del keys
        return []


class SwiftBus:
    """Acknowledges everything and keeps it."""

    healthy = True

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []

    async def rebuild(self) -> None:
        raise AssertionError("nothing is stuck here")

    async def publish(self, messages: Sequence[Outgoing]) -> Published:
        self.sent += messages
        return Published([message.token for message in messages], [], [], None)


class Inbox:
    """Remembers where it was told to go on."""

    def __init__(self) -> None:
        self.sought: list[tuple[int, int]] = []

    def seek(self, partition: int, offset: int) -> None:
        self.sought.append((partition, offset))


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

    def __init__(self, given: SlowStore | None = None) -> None:
        registry = Registry(definitions)
        registry.bind({("OrderFulfillment", 1): 1})
        counts = {f"saga.{name}.commands": 8 for name in registry.participants}
        topology = Topology("saga.", {**counts, "saga.replies": 16, "saga.events": 8, "saga.dlq": 1})
        clock, chance = RealClock(), Dice()
        now = self.now = DatabaseClock(clock)
        now.observe(NOW_MS)
        self.store, self.bus, self.inbox, self.offset = given or SlowStore(), SwiftBus(), Inbox(), 0
        cache = self.cache = SagaCache()
        store: Any = self.store
        nowhere: Any = self.inbox

        async def sweep(_parts: object) -> None:
            return None

        self.ownership = Ownership(store, nowhere, clock, cache, owner="me", cluster_id="c", sweep=sweep)
        self.ownership.owned[0] = Owned(0, 1, 0)
        self.relay = Relay(self.bus, store, clock)
        timers = Timers(store, nowhere, clock, now, cache)
        observer = Observer(Metrics(), clock, None, log_transitions=False)
        flow = self.flow = Flow(FlowSettings(), registry.participants)
        self.worker = BatchWorker(
            store, self.ownership, self.relay, timers, cache, registry, topology, clock, now, chance, observer, flow
        )

    def let_through(self, ready: list[ActiveSaga]) -> None:
        """Let the gate be open for whatever is due of these sagas now."""
        self.worker._timers.counting_ms = dict.fromkeys((active.id for active in ready), self.now.now_ms())

    def pass_an_hour(self) -> None:
        """Let every deadline pass."""
        self.store.now_ms += 3_600_000
        self.now.observe(self.store.now_ms)

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

    def reply(
        self,
        command: Outgoing,
        step: str = "reserve_inventory",
        participant: str = "inventory",
        result: dict[str, Any] | None = None,
    ) -> Arrived:
        """A step's success, by default the first one's."""
        saga_id = command.key.decode()
        identity = f"{saga_id}:1:{step}:action"
        value = encode(StepCompleted(saga_id, step, identity, 1, result or {"reservation_id": "r-1"}))
        headers = reply_headers("SagaStepCompleted", f"{identity}#reply", participant, saga_id, NOW_MS)
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


async def test_records_given_back_come_before_those_behind_them() -> None:
    """A batch of unknown outcome that was not written is read again; the batch decided behind it does not pass it."""
    bench = Bench()
    await bench.worker.handle([(0, [bench.start("a")])])
    behind = asyncio.create_task(bench.worker.handle([(0, [bench.start("b")])]))
    await bench.store.began.wait()
    bench.store.lose = 1
    bench.store.go.set()
    await behind
    await bench.worker.land()
    assert bench.inbox.sought == [(0, 0)]
    assert bench.store.committed == 0
    assert bench.ownership.owned[0].next_offset == 0


async def test_nothing_is_settled_over_a_record_that_could_not_be() -> None:
    """When one half of a batch was given back, the other half is not written over it."""
    bench = Bench()
    bench.store.go.set()
    bench.store.contend = 6  # the whole batch three times, its first half three times
    await bench.worker.handle([(0, [bench.start("a"), bench.start("b")])])
    await bench.worker.land()
    assert bench.store.committed == 0
    assert bench.ownership.owned[0].next_offset == 0
    assert bench.inbox.sought[-1] == (0, 0)


async def test_too_late_is_believed_of_the_newest_copy_only() -> None:
    """Another process has moved a saga that we remember: a reply to what it issued is applied, not thrown away."""
    bench = Bench()
    bench.store.go.set()
    await bench.worker.handle([(0, [bench.start("a")])])
    await bench.worker.land()
    await bench.relay.drain(5)
    command = bench.bus.sent[0]
    remembered = bench.cache.get(command.key.decode())
    assert remembered is not None
    moved = machine.decide(
        definitions[0], remembered.saga, _completed(remembered.id, "reserve_inventory"), now_ms=NOW_MS, roll=0.5
    )
    assert isinstance(moved, Moved)
    bench.store.saved = [_row(moved.saga)]
    await bench.worker.handle([(0, [bench.reply(command, "process_payment", "payment", {"payment_id": "p-1"})])])
    await bench.worker.land()
    batch = bench.store.batches[-1]
    assert [(row[1], row[2]) for row in batch.moves] == [(2, 3)]
    assert (batch.fences[0].applied, batch.fences[0].stale) == (1, 0)


async def test_a_suspended_saga_is_not_kept_in_memory() -> None:
    """It goes on when somebody else writes its row, and the hint may be lost: it is read when it is needed."""
    bench = Bench()
    bench.store.go.set()
    await bench.worker.handle([(0, [bench.start("a")])])
    await bench.worker.land()
    await bench.relay.drain(5)
    assert len(bench.cache) == 1
    await bench.worker.handle([(0, [bench.reply(bench.bus.sent[0], result={"reservation_id": 7})])])
    await bench.worker.land()
    assert bench.store.batches[-1].moves[0][3] == "suspended"
    assert len(bench.cache) == 0


async def test_one_locked_row_stops_no_other_timer() -> None:
    """A batch of timers that cannot be written is cut until the saga that is in the way stands alone."""
    bench = Bench()
    bench.store.go.set()
    await bench.worker.handle([(0, [bench.start(name) for name in "abcd"])])
    await bench.worker.land()
    ready = [active for active in map(bench.cache.get, _started(bench)) if active is not None]
    bench.store.locked = ready[2].id
    bench.pass_an_hour()
    before = bench.store.committed
    bench.let_through(ready)
    await bench.worker._fire(ready)
    moved = {row[0] for batch in bench.store.batches[1:] if batch not in bench.store.refused for row in batch.moves}
    assert moved == {active.id for active in ready} - {ready[2].id}
    assert bench.store.committed > before


def _started(bench: Bench) -> list[str]:
    return [row[2] for row in bench.store.batches[0].starts]


def _completed(saga_id: str, step: str) -> events.StepCompleted:
    participant = definitions[0].steps[definitions[0].index[step]].participant
    return events.StepCompleted(f"{saga_id}:1:{step}:action", step, participant, 1, msgspec.Raw(b"{}"))


def _row(saga: Saga) -> SagaRow:
    return SagaRow(saga.id, 0, 1, "a", None, b"{}", saga.version, saga.status, dump_state(saga), NOW_MS)
