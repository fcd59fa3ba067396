"""What the engine may expect of its store, asked of the real Postgres and of the simulator's: they answer alike."""

from __future__ import annotations

import random
import secrets

import pytest

from coordinator.engine.ports import Store
from coordinator.store.batch import Batch, Fence, Token
from coordinator.store.postgres import FenceLost, Hold, KeyTaken, PostgresStore, RowMoved
from tests.integration.store.workload import NAME, Made, Workload
from tests.simulation.database import Database
from tests.simulation.faults import RATES, Faults
from tests.simulation.process import Life
from tests.simulation.store import Link, SimulatedStore

EPOCH_MS = 1_700_000_000_000
FIRST = Token("00000000-0000-0000-0000-000000000000", 0, 0)
FAR_MS = 10**10


class Port:
    """A store, a maker of batches for it, and partitions that nobody else uses."""

    def __init__(self, store: Store, workload: Workload) -> None:
        self.store = store
        self.workload = workload
        self.part = 1_000 + secrets.randbelow(20_000)

    def starts(self, count: int = 1, business_key: str | None = None) -> tuple[Batch, list[Made]]:
        """Make new sagas of this port's partition."""
        batch, made = self.workload.starts(count, business_key)
        batch.starts = [(*row[:4], self.part, *row[5:]) for row in batch.starts]
        batch.logs = [(*row[:2], self.part, *row[3:]) for row in batch.logs]
        batch.out = [(*row[:3], self.part, *row[4:]) for row in batch.out]
        for one in made:
            one.part = self.part
        return batch, made

    async def begun(self, count: int = 1) -> list[Made]:
        """Begin sagas of this port's partition."""
        batch, made = self.starts(count)
        await self.store.commit(batch)
        return made

    async def standing(self, made: list[Made]) -> list[tuple[str, int, str]]:
        """How sagas stand, in the order of their ids."""
        rows = await self.store.load([one.id for one in made])
        return sorted((row.id, row.version, row.status) for row in rows)

    async def unsent(self, after: Token = FIRST, limit: int = 100, older_ms: int = -1_000) -> list[Token]:
        """The outbox of this port's partition."""
        return [row.token for row in await self.store.unsent([self.part], older_ms, after, limit)]

    async def fence(self, owner: str = "one", first: int = 5) -> Fence:
        """Own the partition."""
        [claim] = await self.store.claim({self.part: first}, owner, "cluster")
        return Fence(self.part, claim.epoch, owner, claim.next_offset, claim.next_offset + 2, applied=2)


@pytest.fixture(params=["postgres", "simulated"])
async def port(request: pytest.FixtureRequest, store: PostgresStore, workload: Workload) -> Port:
    """Give the one store, and then the other."""
    if request.param == "postgres":
        return Port(store, workload)
    chance = random.Random(1)
    link = Link(Database(lambda: EPOCH_MS), Faults(chance, without=RATES), chance)
    simulated = SimulatedStore(link, Life("one"))
    return Port(simulated, Workload(simulated, 1, EPOCH_MS))  # type: ignore[arg-type]  # it commits and acknowledges


async def test_a_batch_is_written_whole(port: Port) -> None:
    """Rows, keys, messages and the log of a start and of its answers are there after their commits."""
    made = await port.begun(2)
    assert await port.standing(made) == sorted((one.id, 1, "started") for one in made)
    keys = [(NAME, one.business_key) for one in made]
    taken = await port.store.taken_keys([*keys, (NAME, "nobody's")])
    assert sorted((key.business_key, key.saga_id) for key in taken) == sorted(
        (one.business_key, one.id) for one in made
    )
    answers = port.workload.answers(made)
    answers.tokens = [token for one in made for token in one.unsent[:1]]
    await port.store.commit(answers)
    assert await port.standing(made) == sorted((one.id, 2, "pending") for one in made)
    assert await port.unsent() == sorted(token for one in made for token in one.unsent if token.saga_version == 2)
    logged = await port.store.logged([(made[0].id, 2), (made[0].id, 3)])
    assert [(saga_id, version) for saga_id, version, _ in logged] == [(made[0].id, 2)]


async def test_a_row_that_has_moved_on_refuses_the_batch(port: Port) -> None:
    """A second answer to the same version writes nothing, and neither does what stands beside it."""
    fence = await port.fence()
    made = await port.begun(2)
    await port.store.commit(port.workload.answers(made[:1]))
    again = port.workload.answers(made)
    again.fences = [fence]
    with pytest.raises(RowMoved):
        await port.store.commit(again)
    assert await port.standing(made) == sorted([(made[0].id, 2, "pending"), (made[1].id, 1, "started")])
    [shard] = await port.store.shards([port.part])
    assert shard.next_offset == fence.from_offset


async def test_a_taken_key_refuses_the_batch(port: Port) -> None:
    """Two sagas under one key begin neither together nor one after the other."""
    key = f"same-{secrets.token_hex(4)}"
    both, made = port.starts(2, key)
    with pytest.raises(KeyTaken):
        await port.store.commit(both)
    first, _ = port.starts(1, key)
    await port.store.commit(first)
    second, late = port.starts(1, key)
    with pytest.raises(KeyTaken):
        await port.store.commit(second)
    assert await port.standing([*made, *late]) == []


async def test_a_fence_lets_the_owner_pass_once(port: Port) -> None:
    """A batch passes from the recorded offset on, in the owner's epoch; another owner's claim ends that."""
    fence = await port.fence()
    passing = Batch()
    passing.fences = [fence]
    await port.store.commit(passing)
    [shard] = await port.store.shards([port.part])
    assert (shard.next_offset, shard.epoch, shard.owner) == (fence.next_offset, fence.epoch, "one")
    for wrong in (fence, fence._replace(owner="two", from_offset=7), fence._replace(epoch=9, from_offset=7)):
        refused = Batch()
        refused.fences = [wrong]
        with pytest.raises(FenceLost):
            await port.store.commit(refused)
    later = await port.fence("two")
    assert (later.epoch, later.from_offset) == (fence.epoch + 1, fence.next_offset)
    refused = Batch()
    refused.fences = [fence._replace(from_offset=7, next_offset=8)]
    with pytest.raises(FenceLost):
        await port.store.commit(refused)


async def test_a_partition_begins_anew(port: Port) -> None:
    """The owner may rewind it, nobody else; on another cluster its offsets mean nothing."""
    fence = await port.fence(first=5)
    assert await port.store.rewind([(port.part, fence.epoch + 1, 1)]) == {}
    assert [shard.next_offset for shard in await port.store.shards([port.part])] == [5]
    assert await port.store.rewind([(port.part, fence.epoch, 1)]) == {port.part: fence.epoch + 1}
    assert await port.store.rewind([(port.part, fence.epoch, 1)]) == {}
    [shard] = await port.store.shards([port.part])
    assert (shard.next_offset, shard.epoch, shard.owner) == (1, fence.epoch + 1, "one")
    [claim] = await port.store.claim({port.part: 3}, "one", "another cluster")
    assert (claim.epoch, claim.next_offset) == (fence.epoch + 2, 3)


async def test_a_batch_of_before_its_log_was_cut_finds_its_offset_no_more(port: Port) -> None:
    """It stayed on its way while the partition was read anew, up to the very offset that it expects."""
    late, anew = Batch(), Batch()
    fence = await port.fence(first=7)
    late.fences = [fence]
    epochs = await port.store.rewind([(port.part, fence.epoch, 0)])
    anew.fences = [fence._replace(epoch=epochs[port.part], from_offset=0, next_offset=fence.from_offset)]
    await port.store.commit(anew)
    with pytest.raises(FenceLost):
        await port.store.commit(late)


async def test_a_timer_waits_for_the_outbox(port: Port) -> None:
    """A guarded move is refused while its saga has an unsent message, and passes once Kafka has it."""
    made = await port.begun()
    guarded = port.workload.answers(made)
    guarded.moves = [(*move[:6], 1, move[7]) for move in guarded.moves]
    with pytest.raises(RowMoved):
        await port.store.commit(guarded)
    assert await port.store.unsent_sagas([made[0].id, FIRST.saga_id]) == {made[0].id}
    await port.store.acknowledge(made[0].unsent[:1])
    await port.store.commit(guarded)
    assert await port.standing(made) == [(made[0].id, 2, "pending")]


async def test_the_outbox_is_read_page_by_page(port: Port) -> None:
    """In the order of the keys, behind a place, no younger than asked for, and without what is acknowledged."""
    made = await port.begun(5)
    tokens = sorted(one.unsent[0] for one in made)
    assert await port.unsent(limit=3) == tokens[:3]
    assert await port.unsent(after=tokens[2]) == tokens[3:]
    assert await port.unsent(older_ms=60_000) == []
    await port.store.acknowledge([tokens[0], FIRST])
    assert await port.unsent() == tokens[1:]


async def test_what_is_due_is_found_by_its_partition(port: Port) -> None:
    """A saga wakes no later than it is due; one that woke too early is pushed to its deadline."""
    made = await port.begun(2)
    now_ms = await port.store.now_ms()
    assert sorted(await port.store.due([port.part], now_ms + FAR_MS, 10)) == sorted(one.id for one in made)
    assert await port.store.due([port.part], now_ms + FAR_MS, 1) != []
    assert await port.store.due([port.part], now_ms - FAR_MS, 10) == []
    assert await port.store.due([port.part + 1], now_ms + FAR_MS, 10) == []
    [row] = await port.store.load([made[0].id])
    later_ms = row.created_ms + FAR_MS
    moved = port.workload.answers(made[:1])
    moved.moves = [(*move[:5], later_ms, *move[6:]) for move in moved.moves]
    await port.store.commit(moved)
    assert made[0].id in await port.store.due([port.part], later_ms - 1, 10)
    assert await port.store.push_wake({made[0].id: 1, made[1].id: 1}) == [made[0].id]
    assert made[0].id in await port.store.due([port.part], later_ms - 1, 10)
    assert await port.store.push_wake({made[0].id: 2}) == []
    assert made[0].id not in await port.store.due([port.part], later_ms - 1, 10)


async def test_sagas_queue_for_a_participant(port: Port) -> None:
    """Those that are as they were when they were held come to the queue once, and leave it when they are let go."""
    name, made = f"p{secrets.token_hex(4)}", await port.begun(3)
    ids = sorted(one.id for one in made)
    now_ms = await port.store.now_ms()
    holds = [
        Hold(saga_id, version, name, now_ms + 60_000, None) for saga_id, version in zip(ids, (1, 1, 2), strict=True)
    ]
    assert await port.store.hold(holds) == [name, name]
    assert await port.store.hold(holds[:1]) == []
    assert await port.store.held(name, [port.part], 10) == ids[:2]
    assert await port.store.held(name, [port.part + 1], 10) == []
    assert (await port.store.count_held([port.part]))[name] == 2
    assert await port.store.queues([name, "nobody"]) == {name}
    ours = {port.part: (await port.fence()).epoch}
    assert await port.store.release(name, ids, now_ms - 60_000, ours) == 0
    assert await port.store.release(name, [ids[0], ids[2]], now_ms + 60_000, ours) == 1
    assert await port.store.held(name, [port.part], 10) == ids[1:2]


async def test_who_owned_a_partition_before_lets_nobody_go(port: Port) -> None:
    """What it remembers of a saga may be old, and a release has no version to be refused by: its epoch is."""
    name, made = f"p{secrets.token_hex(4)}", await port.begun(1)
    ids, now_ms = [one.id for one in made], await port.store.now_ms()
    before, now = (await port.fence()).epoch, (await port.fence("two")).epoch
    await port.store.hold([Hold(ids[0], 1, name, now_ms + 60_000, None)])
    for epochs in ({port.part: before}, {port.part + 1: now}, {}):
        assert await port.store.release(name, ids, now_ms + 60_000, epochs) == 0
    assert await port.store.held(name, [port.part], 10) == ids
    assert await port.store.release(name, ids, now_ms + 60_000, {port.part: now, port.part + 1: 1}) == 1


def test_the_simulator_knows_every_column() -> None:
    """What a batch can write is what the simulator's database reads: a new kind of row must be taught to it."""
    known = {
        *("fences", "events_through_ms", "moves", "starts", "logs", "out", "tokens", "dead", "incidents"),
        *("resolves", "audits", "closes", "labels", "tallies"),
    }
    assert set(Batch.__slots__) == known
