"""What goes on while a process is killed: one scene per path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from tests.crash.asking import play_start, play_verb
from tests.crash.definitions import HURRIED, HURRIED_ONCE, MOMENT_S
from tests.crash.hook import AT
from tests.crash.points import Armed
from tests.crash.runs import COMPENSATING, HAPPY, SAGAS, Run, ending, orders_of
from tests.crash.stage import COORDINATOR, WAVE_S, Stage
from tests.e2e.definitions import PATIENT
from tests.e2e.world import PARTITIONS, READY_S, event_headers

BAD: Final = 2
PARTICIPANT: Final = "payment"
SLOW_S: Final = 1.5
IDLE_S: Final = 2.5  # longer than the coordinator goes on hoping for a batch that deletes rows in passing
IDLE: Final = frozenset({"O4", "O5"})  # passed only when nothing else is to be done


async def bring_orders(stage: Stage, way: str) -> None:
    """Ask for sagas over Kafka."""
    orders = orders_of(way)
    stage.expect(orders, ending(way))
    await stage.request_starts(orders, PATIENT)


async def bring_slow_orders(stage: Stage, way: str) -> None:
    """Ask for sagas over Kafka whose payment, or its undoing, keeps them waiting."""
    orders = orders_of(way)
    stage.expect(orders, ending(way))
    for one in orders:
        command = "RefundPayment" if way == COMPENSATING else "ProcessPayment"
        await stage.fault("payment", "slow", command=command, match=one["customer_id"], seconds=IDLE_S)
    await stage.request_starts(orders, PATIENT)


async def bring_rubbish(stage: Stage, way: str, places: set[tuple[int, int]]) -> None:
    """Ask for sagas, and send records that nobody can read; `places` gets to know where they are."""
    await bring_orders(stage, way)
    producer = await stage.producer()
    for number in range(BAD):
        headers = event_headers("SagaStepCompleted", "payment")
        part = number % PARTITIONS
        record = await producer.send_and_wait(f"{stage.prefix}replies", b"{", headers=headers, partition=part)
        places.add((record.partition, record.offset))


async def bring_silence(stage: Stage, way: str) -> None:
    """Ask for sagas whose payment, or its undoing, is not answered at first."""
    orders = orders_of(HAPPY, SAGAS // 2)
    stage.expect(orders, ending(way))
    for one in orders:
        customer = one["customer_id"]
        if way == COMPENSATING:
            await stage.fault("payment", "silent", command="ProcessPayment", match=customer)
            await stage.fault("payment", "silent", command="RefundPayment", match=customer, times=1)
        else:
            await stage.fault("payment", "silent", command="ProcessPayment", match=customer, times=1)
    await stage.request_starts(orders, HURRIED_ONCE if way == COMPENSATING else HURRIED)


async def play_orders(stage: Stage, run: Run) -> None:
    """The coordinator dies at a point of replies or of the relay while sagas run."""
    bring, wave_s = (bring_slow_orders, IDLE_S + WAVE_S) if run.point in IDLE else (bring_orders, WAVE_S)
    async with stage.run(run):
        await stage.kill_in_waves(COORDINATOR, run, partial(bring, stage, run.way), wave_s)


async def play_timers(stage: Stage, run: Run) -> None:
    """It dies at a point of timers while a participant is silent."""
    async with stage.run(run):
        wave_s = 3 * MOMENT_S + WAVE_S
        await stage.kill_in_waves(COORDINATOR, run, partial(bring_silence, stage, run.way), wave_s)


async def play_rubbish(stage: Stage, run: Run) -> None:
    """It dies at a point of the quarantine: what was bad is kept once, each by its place."""
    places: set[tuple[int, int]] = set()
    before = await stage.rows("SELECT id FROM dead_letter")
    async with stage.run(run):
        await stage.kill_in_waves(COORDINATOR, run, partial(bring_rubbish, stage, run.way, places))
    query = "SELECT partition, first_offset FROM dead_letter WHERE id <> ALL($1)"
    rows = await stage.rows(query, [row["id"] for row in before])
    assert sorted(map(tuple, rows)) == sorted(places)


async def play_participant(stage: Stage, run: Run) -> None:
    """A participant dies while sagas run."""
    async with stage.run(run):
        await stage.kill_in_waves(PARTICIPANT, run, partial(bring_orders, stage, run.way))


async def play_beginnings(stage: Stage, run: Run) -> None:
    """The coordinator dies while it starts, as often as the hit says, and sagas are in the middle of their way."""
    async with stage.run(run):
        orders = orders_of(run.way)
        stage.expect(orders, ending(run.way))
        undoes = run.way == COMPENSATING
        for one in orders:
            command = "RefundPayment" if undoes else "ProcessPayment"
            await stage.fault("payment", "slow", command=command, match=one["customer_id"], seconds=SLOW_S)
        await stage.request_starts(orders, PATIENT)
        reached = "status IN ('compensating', 'failed')" if undoes else "version >= 2"
        query = f"SELECT count(*) = $2 FROM saga WHERE business_key = ANY($1) AND {reached}"  # noqa: S608
        await stage.until(query, [one["order_id"] for one in orders], len(orders))
        await (await stage.up()).kill()
        armed = Armed(run.point, 1)
        for _ in range(run.hit):
            child = stage.coordinator_launched(**{AT: str(armed)})
            await stage.died(child, armed, READY_S)
        await stage.up()
        stage.took.reached("back")


SCENES: Final[dict[str, Callable[[Stage, Run], Awaitable[None]]]] = {
    "R": play_orders,
    "O": play_orders,
    "T": play_timers,
    "A": play_start,
    "B": play_verb,
    "Q": play_rubbish,
    "P": play_participant,
    "S": play_beginnings,
}
"""By path; migrations need no stage."""


async def play(stage: Stage, run: Run) -> None:
    """Do a run of any path but that of migrations."""
    await SCENES[run.point[0]](stage, run)
