"""What a batch operation does to sagas when commits are lost, late or contended: each once, and the others too."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from coordinator.engine.clock import DatabaseClock
from coordinator.engine.flow import Flow
from coordinator.engine.observer import Observer
from coordinator.errors import Unavailable
from coordinator.observability.metrics import Metrics
from coordinator.services.batch_acts import BatchActs, request_id_of_batch
from coordinator.services.batch_operations import Asked, BatchOperations, NotAsConfirmed, TooMany
from coordinator.services.batch_worker import BatchWorker
from coordinator.services.publishing import Publishing
from coordinator.services.sagas import StartRequest
from coordinator.settings import FlowSettings
from coordinator.store.batch import Batch
from coordinator.store.batches import FIRST_ID, BatchItem, BatchRecord, BatchStore
from coordinator.store.postgres import Committed
from coordinator.store.reads import ListFilter
from tests.e2e.world import eventually
from tests.integration.api.office import Commit, Office, SystemChance, SystemClock
from tests.integration.api.server import order

SCOPE = frozenset({"OrderFulfillment"})
RESERVED = {
    "step": "reserve_inventory",
    "resolution": "completed",
    "result": {"reservation_id": "reservation-1"},
}


class Desk:
    """An office with what batch operations need; every batch operation is about sagas of its own."""

    def __init__(self, office: Office, in_flight_max: int = 0) -> None:
        self.office = office
        self.batches = BatchStore(office.store, office.reads)
        self.operations = BatchOperations(self.batches, office.reads, SystemChance(), 50)
        flow = Flow(FlowSettings(in_flight_max=in_flight_max), office.registry.participants)
        self.acts = BatchActs(
            office.store,
            self.batches,
            Publishing(office.relay, office.topology),
            office.registry,
            office.topology,
            SystemClock(),
            DatabaseClock(SystemClock()),
            SystemChance(),
            Observer(Metrics(), SystemClock(), None, log_transitions=False),
            flow,
        )

    async def begun(self, count: int, verb: str = "retry", **members: Any) -> tuple[BatchRecord, list[BatchItem]]:
        """Begin an operation over new suspended sagas; answers it with its items."""
        await self.acts.know_the_time()
        since_ms = await self.batches.now_ms()
        mark = secrets.token_hex(6)
        for number in range(count):
            wanted = order(f"{mark}-{number}")
            saga = (await self.office.service.start(StartRequest(wanted["definition"], None, wanted["input"]))).saga
            await self.office.suspend(saga.id)
        chosen = ListFilter(("suspended",), None, None, since_ms)
        asked = Asked("anna", verb, members, {"status": "suspended"}, chosen, SCOPE)
        dry = await self.operations.dry_run(asked)
        assert dry.count == count
        begun = await self.operations.create(asked, dry.confirmation, "at night", 100, "r")
        record = await self.batches.get(begun.id)
        assert record is not None
        return record, await self.batches.next_items(record.id, FIRST_ID, 1000)

    async def acts_of(self, record: BatchRecord) -> list[int]:
        """How often each saga of an operation was acted on."""
        rows = await self.office.ask(
            "SELECT count(a.id) AS acts FROM batch_operation_item AS i LEFT JOIN audit_log AS a"
            " ON a.saga_id = i.saga_id AND a.request_id = $2 WHERE i.operation_id = $1 GROUP BY i.saga_id",
            record.id,
            request_id_of_batch(record),
        )
        return [row["acts"] for row in rows]


@pytest.fixture
async def desk(offices: Callable[[], Any]) -> AsyncIterator[Desk]:
    """Give a desk in an office of its own."""
    async with offices() as office:
        yield Desk(office)


async def test_an_act_that_was_not_written_down_is_found(desk: Desk) -> None:
    """A process dies between the act and its outcome: who goes on says `done`, and does nothing again."""
    record, items = await desk.begun(10)
    first = await desk.acts.act(record, items)
    again = await desk.acts.act(record, items)
    assert again == first
    assert {(outcome.outcome, outcome.version_after) for outcome in again} == {("done", 3)}
    assert await desk.acts_of(record) == [1] * 10


async def test_a_saga_that_hangs_again_is_not_retried_twice(desk: Desk) -> None:
    """It was acted on, and is suspended again by the time that another process goes on: once is what was asked."""
    record, items = await desk.begun(2)
    await desk.acts.act(record, items)
    await desk.office.ask(
        "UPDATE saga SET status = 'suspended', version = 9, wake_at = NULL, deadline = NULL WHERE id = $1",
        items[0].saga_id,
    )
    assert [outcome.outcome for outcome in await desk.acts.act(record, items)] == ["done", "done"]
    assert await desk.acts_of(record) == [1, 1]


async def test_an_act_whose_answer_was_lost_happens_once(desk: Desk) -> None:
    """The commit happened and the connection broke: asked again, everything is done, and once."""
    record, items = await desk.begun(5)
    left = [1]

    async def lose_the_answer(commit: Commit, batch: Batch) -> Committed:
        committed = await commit(batch)
        if left and left.pop():
            raise Unavailable("the connection was lost")
        return committed

    desk.office.store.around = lose_the_answer
    with pytest.raises(Unavailable):
        await desk.acts.act(record, items)
    assert {outcome.outcome for outcome in await desk.acts.act(record, items)} == {"done"}
    assert await desk.acts_of(record) == [1] * 5


async def test_a_step_that_flow_control_holds_is_named_in_the_log(desk: Desk) -> None:
    """Whoever decides the saga again from its log must come to the same: that nothing was issued."""
    limited = Desk(desk.office, in_flight_max=1)
    record, items = await limited.begun(1, "resolve", **RESERVED)
    assert [outcome.outcome for outcome in await limited.acts.act(record, items)] == ["done"]
    [row] = await limited.office.ask(
        "SELECT data FROM saga_log WHERE saga_id = $1 AND version = 3 AND event = 'ResolveRequested'", items[0].saga_id
    )
    assert msgspec.json.decode(row["data"])["held"] == ["process_payment"]


async def test_a_saga_that_moves_in_between_holds_nobody_up(desk: Desk) -> None:
    """Somebody is faster with one saga of a statement: that one is refused, and all others are done."""
    record, items = await desk.begun(8)
    moved = [items[5].saga_id]

    async def somebody_is_faster(commit: Commit, batch: Batch) -> Committed:
        if moved:
            await desk.office.ask("UPDATE saga SET version = version + 1 WHERE id = $1", moved.pop())
        return await commit(batch)

    desk.office.store.around = somebody_is_faster
    outcomes = {outcome.saga_id: outcome for outcome in await desk.acts.act(record, items)}
    refused = outcomes.pop(items[5].saga_id)
    assert (refused.outcome, refused.detail) == ("refused", "the saga is at version 3 by now, not at 2")
    assert {outcome.outcome for outcome in outcomes.values()} == {"done"}


async def test_what_breaks_over_one_saga_holds_nobody_up(desk: Desk) -> None:
    """A state that cannot be read is that saga's outcome; nothing of it is written, and the others are done."""
    record, items = await desk.begun(8)
    await desk.office.ask("UPDATE saga SET state = 'nonsense' WHERE id = $1", items[3].saga_id)
    outcomes = await desk.acts.act(record, items)
    assert [outcome.outcome for outcome in outcomes] == ["done"] * 3 + ["failed"] + ["done"] * 4
    assert sorted(await desk.acts_of(record)) == [0] + [1] * 7


async def test_two_workers_with_one_operation_do_each_saga_once(desk: Desk) -> None:
    """A lease that ran out under a slow process: both do the same sagas at the same time, and each is done once."""
    record, items = await desk.begun(20)
    outcomes = await asyncio.gather(desk.acts.act(record, items), desk.acts.act(record, items))
    assert {outcome.outcome for both in outcomes for outcome in both} == {"done"}
    for both in outcomes:
        await desk.batches.record(record.id, both)
    counted = await desk.batches.get(record.id)
    assert counted is not None
    assert counted.done == 20
    assert await desk.acts_of(record) == [1] * 20


async def test_a_worker_that_stops_leaves_its_work_to_the_next(desk: Desk) -> None:
    """A process that ends in order gives its leases up, and another goes on at once."""
    record, _ = await desk.begun(30)
    await desk.office.ask("UPDATE batch_operation SET rate = 20 WHERE id = $1", record.id)
    others = "UPDATE batch_operation SET state = 'cancelled', ended_at = now() WHERE state = 'running' AND id <> $1"
    await desk.office.ask(others, record.id)

    async def count() -> int:
        found = await desk.batches.get(record.id)
        return 0 if found is None else found.done

    for owner in ("one", "two"):
        stop = asyncio.Event()
        before = await count()
        work = asyncio.create_task(BatchWorker(desk.batches, desk.acts, SystemClock(), owner).run(stop))

        async def moved(before: int = before) -> bool:
            return await count() > before

        await eventually(moved, within_s=15, what="sagas are done")
        stop.set()
        await work
    rows = await desk.office.ask("SELECT owner FROM batch_operation WHERE id = $1", record.id)
    assert [row["owner"] for row in rows] == [None]


async def test_more_than_the_limit_is_refused(desk: Desk) -> None:
    """A filter that finds more sagas than one operation may have is refused, and says how many are allowed."""
    await desk.begun(50)
    asked = Asked("anna", "retry", {}, {}, ListFilter(("suspended",)), None)
    with pytest.raises(TooMany, match="more than 50 sagas"):
        await desk.operations.dry_run(asked)


async def test_who_may_not_know_of_sagas_finds_none(desk: Desk) -> None:
    """Sagas of foreign definitions are not found, and an operation over them is neither."""
    record, _ = await desk.begun(3)
    foreign = Asked("eve", "retry", {}, {}, ListFilter(("suspended",)), frozenset({"BankTransfer"}))
    assert (await desk.operations.dry_run(foreign)).count == 0
    named = Asked("eve", "retry", {}, {}, ListFilter(("suspended",), "OrderFulfillment"), frozenset({"BankTransfer"}))
    assert (await desk.operations.dry_run(named)).count == 0
    assert await desk.operations.page("f" * 8 + FIRST_ID[8:], None, foreign.scope, 10) == []
    assert (await desk.operations.get(record.id, SCOPE)).id == record.id


async def test_a_confirmation_is_of_whoever_made_it(desk: Desk) -> None:
    """Somebody else's dry run confirms nothing."""
    asked = Asked("anna", "retry", {}, {}, ListFilter(("suspended",), None, "no such key"), SCOPE)
    dry = await desk.operations.dry_run(asked)
    others = Asked("bob", "retry", {}, {}, asked.chosen, SCOPE)
    with pytest.raises(Exception, match="another request"):
        await desk.operations.create(others, dry.confirmation, "why not", 1, "r")
    begun = await desk.operations.create(asked, dry.confirmation, "mine", 1, "r")
    with pytest.raises(NotAsConfirmed) as twice:
        await desk.operations.create(asked, dry.confirmation, "mine", 1, "r")
    assert twice.value.members == {"batch_operation": begun.id}
