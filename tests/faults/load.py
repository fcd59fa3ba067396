"""Sagas that keep moving while something goes wrong, and how long they stand still because of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx

from tests.checker.checks import Expected, judge
from tests.checker.evidence import gather
from tests.e2e.definitions import PATIENT
from tests.e2e.orders import REFUSED, order
from tests.e2e.world import PARTITIONS, Coordinator, World, eventually
from tests.faults.definitions import CURT
from tests.faults.record import Figure, record

Say = Callable[[str], None]

SEED = 20_261_126
PACE_S = 1.5  # how long each participant takes
BATCH = 5
BATCH_S = 0.5  # between two batches
MET_MIN = 15  # a fault that meets fewer sagas has shown nothing
PROBES = 24  # so many that each partition has some
ASK_S = 10.0
SETTLE_S = 90.0

IN_PROGRESS = "status NOT IN ('completed', 'failed', 'suspended', 'abandoned')"
MOVED = """
SELECT count(DISTINCT s.part) FROM saga AS s JOIN unnest($1::uuid[], $2::int[]) AS b (id, version) USING (id)
WHERE s.version > b.version
"""
COMPLETED = "SELECT count(*) FROM saga WHERE id = ANY($1::uuid[]) AND status = 'completed'"
BLAMED = """
SELECT l.saga_id::text, l.step_name, l.at::text,
    (SELECT max(b.at)::text FROM saga_log AS b WHERE b.saga_id = l.saga_id AND b.version < l.version)
FROM saga_log AS l JOIN saga AS s ON s.id = l.saga_id
WHERE l.event = 'DeadlinePassed' AND s.definition_id IN (SELECT id FROM saga_definition WHERE name = ANY($1))
"""
RESTLESS = f"""
SELECT d.name, s.status, s.version, count(*), min(s.deadline - now())::text, min(convert_from(s.state, 'UTF8'))
FROM saga AS s JOIN saga_definition AS d ON d.id = s.definition_id WHERE {IN_PROGRESS} GROUP BY 1, 2, 3
"""  # noqa: S608
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


@dataclass(frozen=True)
class Wish:
    """A saga that somebody wants, and the ways in which it may end."""

    order: dict[str, Any]
    definition: str = PATIENT
    ends: tuple[str, ...] = ("completed",)


class Load:
    """Wishes that keep coming; each is asked for, through any of the coordinators, until it is acknowledged.

    Most are fulfilled by participants that take their time, some are refused at one of the steps, and some have a
    payment that never answers. `through` may change while it runs. `forgotten` are the headers of commands that Kafka
    had acknowledged and has lost: the checker cannot find them any more.
    """

    def __init__(self, world: World, through: Sequence[Coordinator], definition: str, ends: tuple[str, ...]) -> None:
        self.world = world
        self.through = list(through)
        self.wishes: list[Wish] = []
        self.figures: list[Figure] = []
        self.forgotten: list[dict[str, str]] = []
        self._definition = definition
        self._ends = ends
        self._dice = random.Random(SEED)
        self._enough = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Start; comes back when sagas are in progress at every step."""
        for participant in ("inventory", "payment", "shipping"):
            await self.world.fault(participant, "slow", match="slow", seconds=PACE_S)
        await self.world.fault("payment", "silent", command="ProcessPayment", match="silent")
        self._task = asyncio.create_task(self._keep_asking())
        in_progress = f"SELECT count(*) >= {MET_MIN} FROM saga WHERE {IN_PROGRESS}"  # noqa: S608
        await self.world.until(in_progress, within_s=60)
        await self.world.until("SELECT EXISTS (SELECT FROM shipping.shipments)", within_s=60)

    async def ask(self, wishes: Sequence[Wish]) -> list[str]:
        """Ask for sagas until they are acknowledged; answers their ids."""
        self.wishes += wishes
        body = {"sagas": [{"definition": wish.definition, "input": wish.order} for wish in wishes]}
        while True:
            for coordinator in list(self.through):
                with contextlib.suppress(httpx.HTTPError, RuntimeError):  # the latter of a client that was closed
                    answer = await coordinator.http.post("/v1/sagas/bulk", json=body, timeout=ASK_S)
                    items = answer.json()["items"] if answer.status_code == 200 else []
                    saga_ids = [item["saga"]["id"] for item in items if "saga" in item]
                    if len(saga_ids) == len(wishes):
                        self.world.saga_ids.update(saga_ids)
                        return saga_ids
            await asyncio.sleep(0.1)

    async def measure(self, fault: str, bound_s: float, since: float | None = None) -> None:
        """Measure how long it takes, from a moment or from now, until sagas move.

        That is: in each partition one of those in progress has moved, and new ones have completed.
        """
        began = asyncio.get_running_loop().time() if since is None else since
        before = await self._in_progress()
        assert len(before) >= MET_MIN, f"{len(before)} sagas were in progress"
        probes = await self.ask([Wish(order()) for _ in range(PROBES)])
        parts = len({row["part"] for row in before})

        async def moves() -> bool:
            with contextlib.suppress(*AWAY):
                ids, versions = [row["id"] for row in before], [row["version"] for row in before]
                moved = await self.world.value(MOVED, ids, versions)
                return bool(moved == parts and await self.world.value(COMPLETED, probes) == PROBES)
            return False

        await eventually(moves, within_s=bound_s + SETTLE_S, what="sagas move again", explain=self.world.shards)
        self.figures.append(Figure(fault, asyncio.get_running_loop().time() - began, bound_s))

    async def end(self) -> None:
        """Want nothing more; comes back when everything is acknowledged."""
        self._enough.set()
        if self._task is not None:
            await asyncio.wait_for(self._task, SETTLE_S)

    def cancel(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()

    async def judge(self) -> None:
        """Wait until nothing moves; fail unless every wish has one saga that has ended as it may, and no trace else."""
        world = self.world
        try:
            await world.rest(SETTLE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; {[tuple(row) for row in await world.rows(RESTLESS)]}") from None
        found = await gather(world.url, world.stack.kafka.bootstrap_servers, world.plan)
        for headers in self.forgotten:
            found.published[headers["ce_id"]] += 1
            found.published_types[headers["ce_id"]] = headers["ce_type"]
        complaints = judge(found, world.plan, Expected(frozenset(world.saga_ids)))
        assert complaints == [], "\n".join(complaints[:40])
        ends = {saga.business_key: saga.status for saga in found.sagas.values()}
        assert ends.keys() == {wish.order["order_id"] for wish in self.wishes}
        assert [wish for wish in self.wishes if ends[wish.order["order_id"]] not in wish.ends] == []
        assert len(found.sagas) == len(self.wishes)

    async def nobody_was_blamed(self) -> None:
        """No step was called late, but for the payment that never answers."""
        blamed = [tuple(row) for row in await self.world.rows(BLAMED, [self._definition, PATIENT])]
        assert blamed == [], f"called late, and when the transition before it was: {blamed}"

    async def _keep_asking(self) -> None:
        while not self._enough.is_set():
            await self.ask([self._wish() for _ in range(BATCH)])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), BATCH_S)

    def _wish(self) -> Wish:
        kind = self._dice.randrange(10)
        if kind == 0:
            refused = self._dice.choice(REFUSED)
            return Wish(order(customer_id="slow", **refused), self._definition, ("failed",))
        if kind == 1:
            return Wish(order(customer_id="silent"), CURT, ("failed",))
        return Wish(order(customer_id="slow"), self._definition, self._ends)

    async def _in_progress(self) -> list[asyncpg.Record]:
        while True:
            with contextlib.suppress(*AWAY):
                return await self.world.rows(f"SELECT id, part, version FROM saga WHERE {IN_PROGRESS}")  # noqa: S608
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def under_load(
    world: World,
    *through: Coordinator,
    say: Say,
    definition: str = PATIENT,
    ends: tuple[str, ...] = ("completed",),
) -> AsyncIterator[Load]:
    """Have sagas move while something is done to them; fails when anything came of it, or it took too long.

    `ends` are those of sagas that nobody refuses.
    """
    assert PARTITIONS * 4 <= PROBES
    load = Load(world, through, definition, ends)
    try:
        await load.begin()
        yield load
        await load.end()
    finally:
        load.cancel()
        for figure in load.figures:
            say(record(figure, len(load.wishes)))
    await load.judge()
    assert load.figures, "nothing was measured"
    assert [figure for figure in load.figures if not figure.kept] == []
