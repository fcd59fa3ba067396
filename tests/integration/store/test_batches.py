"""The one statement of the hot path: all of it or nothing, and one winner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from coordinator.store.batch import Act, Batch, Fence
from coordinator.store.postgres import (
    Committed,
    Contended,
    FenceLost,
    KeyTaken,
    PostgresStore,
    RowMoved,
    Unacceptable,
)
from tests.integration.store.workload import Connection, Workload, digest

Refusal = Callable[[Workload, Batch], Awaitable[None]]
ROUNDS = 20


async def a_row_that_moved(workload: Workload, batch: Batch) -> None:
    """Add the move of a saga from a version that it does not have."""
    [active] = await workload.started()
    batch.move(active.id, 7, 8, "pending", b"{}", workload.now_ms, False)


async def an_unsent_command(workload: Workload, batch: Batch) -> None:
    """Add a timeout of a saga whose command is still in the outbox."""
    start, [active] = workload.starts()
    await workload.store.commit(start)
    batch.move(active.id, 1, 2, "pending", b"{}", workload.now_ms, True)


async def a_partition_of_another(workload: Workload, batch: Batch) -> None:
    """Add a fence with an epoch that somebody has raised meanwhile."""
    [claim] = await workload.store.claim({50: 0}, "us", "cluster")
    await workload.store.claim({50: 0}, "them", "cluster")
    batch.fences.append(Fence(50, claim.epoch, "us", claim.next_offset, claim.next_offset + 1, 1))


async def an_offset_of_another(workload: Workload, batch: Batch) -> None:
    """Add a fence that begins at an offset where the partition does not stand."""
    [claim] = await workload.store.claim({51: 0}, "us", "cluster")
    batch.fences.append(Fence(51, claim.epoch, "us", claim.next_offset + 1, claim.next_offset + 2, 1))


async def a_key_that_is_taken(workload: Workload, batch: Batch) -> None:
    """Add the start of a saga whose business key another saga has."""
    [active] = await workload.started()
    start, _ = workload.starts(1, active.business_key)
    batch.starts.extend(start.starts)


async def a_word_that_no_status_is(workload: Workload, batch: Batch) -> None:
    """Add a move to a status that the dictionary does not have."""
    [active] = await workload.started()
    batch.move(active.id, 1, 2, "finished", b"{}", None, False)


REFUSALS: list[tuple[Refusal, type[Exception]]] = [
    (a_row_that_moved, RowMoved),
    (an_unsent_command, RowMoved),
    (a_partition_of_another, FenceLost),
    (an_offset_of_another, FenceLost),
    (a_key_that_is_taken, KeyTaken),
    (a_word_that_no_status_is, Unacceptable),
]


@pytest.mark.parametrize(("spoil", "refusal"), REFUSALS, ids=[spoil.__name__ for spoil, _ in REFUSALS])
async def test_a_refused_batch_leaves_nothing(
    plain: Connection, workload: Workload, spoil: Refusal, refusal: type[Exception]
) -> None:
    """One row that does not fit, and no table holds anything of the whole batch, its good rows included."""
    good = await workload.started(3)
    [claim] = await workload.store.claim({52: 0}, "us", "cluster")
    batch = workload.answers(good)
    begin, _ = workload.starts(2)
    batch.starts.extend(begin.starts)
    batch.logs.extend(begin.logs)
    batch.out.extend(begin.out)
    batch.fences.append(Fence(52, claim.epoch, "us", claim.next_offset, claim.next_offset + 3, 3))
    batch.open_incident(good[0].id, 2, "result_schema", None, "made up")
    batch.audit(Act("ann", "retry", good[0].id, "made up", 1, 2, "request-1", "suspended", "pending"))
    await spoil(workload, batch)
    before = await digest(plain)
    with pytest.raises(refusal):
        await workload.store.commit(batch)
    assert await digest(plain) == before


async def test_a_batch_is_written_whole(plain: Connection, workload: Workload) -> None:
    """A batch moves saga rows, writes log, outbox and offset, and deletes acknowledged messages, all at once."""
    actives = await workload.started(5)
    [claim] = await workload.store.claim({53: 40}, "us", "cluster")
    batch = workload.answers(actives)
    batch.fences.append(Fence(53, claim.epoch, "us", 40, 47, 5, 1, 1, 0, 0))
    await workload.store.commit(batch)
    ids = [active.id for active in actives]
    versions = await plain.fetch("SELECT version, status FROM saga WHERE id = ANY($1::uuid[])", ids)
    assert [tuple(row) for row in versions] == [(2, "pending")] * 5
    assert await plain.fetchval("SELECT count(*) FROM saga_log WHERE saga_id = ANY($1::uuid[])", ids) == 10
    assert await plain.fetchval("SELECT count(*) FROM outbox WHERE saga_id = ANY($1::uuid[])", ids) == 5
    shard = await plain.fetchrow("SELECT next_offset, applied, duplicate, stale FROM shard WHERE part = 53")
    assert shard is not None
    assert tuple(shard) == (47, 5, 1, 1)
    sent = Batch()
    sent.tokens = actives[0].unsent + actives[1].unsent
    await workload.store.commit(sent)
    left = await plain.fetch("SELECT saga_id::text FROM outbox WHERE saga_id = ANY($1::uuid[])", ids)
    assert {row["saga_id"] for row in left} == set(ids[2:])


async def test_of_two_identical_batches_one_wins(
    plain: Connection, workload: Workload, other_store: PostgresStore
) -> None:
    """Two processes write the same transition at the same moment: one commits, the other is told, never both."""
    for _ in range(ROUNDS):
        actives = await workload.started(10)
        ours, theirs = workload.answers(actives), workload.answers(actives)
        outcomes = await asyncio.gather(workload.store.commit(ours), other_store.commit(theirs), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Committed", "RowMoved"], outcomes
        ids = [active.id for active in actives]
        entries = await plain.fetchval("SELECT count(*) FROM saga_log WHERE saga_id = ANY($1::uuid[])", ids)
        assert entries == 20


async def test_of_two_starts_with_one_key_one_wins(
    plain: Connection, workload: Workload, other_store: PostgresStore
) -> None:
    """Two processes start a saga for one business key at the same moment: one saga exists, and the loser is told."""
    for number in range(ROUNDS):
        key = f"contested-{number}"
        (ours, _), (theirs, _) = workload.starts(1, key), workload.starts(1, key)
        outcomes = await asyncio.gather(workload.store.commit(ours), other_store.commit(theirs), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Committed", "KeyTaken"], outcomes
        assert await plain.fetchval("SELECT count(*) FROM saga WHERE business_key = $1", key) == 1


async def test_of_two_batches_of_one_partition_one_wins(workload: Workload, other_store: PostgresStore) -> None:
    """Two processes consume the same records of one partition: one commits, the fence stops the other."""
    [claim] = await workload.store.claim({54: 0}, "us", "cluster")
    for offset in range(ROUNDS):
        batches = Batch(), Batch()
        for batch in batches:
            batch.fences.append(Fence(54, claim.epoch, "us", offset, offset + 1, 1))
        outcomes = await asyncio.gather(
            workload.store.commit(batches[0]), other_store.commit(batches[1]), return_exceptions=True
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Committed", "FenceLost"], outcomes


async def test_overlapping_batches_do_not_deadlock(workload: Workload, other_store: PostgresStore) -> None:
    """Batches over the same sagas, gathered in opposite orders, wait for each other and never end in a deadlock."""
    for _ in range(ROUNDS):
        actives = await workload.started(60)
        ours, theirs = workload.answers(actives[:50]), workload.answers(actives[:9:-1])
        outcomes = await asyncio.gather(workload.store.commit(ours), other_store.commit(theirs), return_exceptions=True)
        assert any(isinstance(outcome, Committed) for outcome in outcomes), outcomes
        lost = [outcome for outcome in outcomes if not isinstance(outcome, Committed)]
        assert all(isinstance(outcome, RowMoved | Contended) for outcome in lost), outcomes
        assert not any("deadlock" in str(outcome) for outcome in lost)


async def test_a_row_in_other_hands_is_waited_for_briefly(workload: Workload, plain: Connection) -> None:
    """A session that sits on a saga's row delays a batch by its lock timeout and no longer."""
    actives = await workload.started(2)
    async with plain.transaction():
        await plain.execute("SELECT 1 FROM saga WHERE id = $1 FOR UPDATE", actives[0].id)
        with pytest.raises(Contended):
            await asyncio.wait_for(workload.store.commit(workload.answers(actives)), 5)
    await workload.store.commit(workload.answers(actives))
