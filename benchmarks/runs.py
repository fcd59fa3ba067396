"""One measured run of sagas, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from benchmarks import measure
from benchmarks.load import APPLIED, POLL_S, WINDOW, Driver, Sagas, verify
from benchmarks.servers import Bench, Site, say


class Run(msgspec.Struct):
    """What a run did and cost; per-saga figures count the sagas of this run only.

    Processor time is in microseconds per saga by group of processes; `postgres_updates` are updates of saga rows per
    saga, `postgres_hot` is the share of them that touched no index.
    """

    sagas: int
    seconds: float
    sagas_per_second: float
    cpu_us: dict[str, float]
    wal_bytes: float
    statements: float = 0.0
    statement_ms: float = 0.0
    batch: float = 0.0
    postgres_updates: float = 0.0
    postgres_hot: float = 0.0
    rebalances: int = 0


async def measure_run(bench: Bench, driver: Driver, sagas: Sagas) -> Run:
    """Run sagas through the coordinator that is up, check in Postgres that each ended as it should, and account."""
    driver.prepare(sagas)
    postgres, counters, cpu = await _readings(bench, driver)
    seconds = await driver.run(sagas)
    cpu_after = bench.cpu_seconds()
    postgres_after, counters_after, _ = await _readings(bench, driver)
    await verify(driver.connection, sagas)
    statements = counters_after.statements - counters.statements
    updates = postgres_after.updates - postgres.updates
    # A new epoch of a partition is a take-over that Postgres knows of; the client's count sees the harmless ones too.
    epochs = postgres_after.epochs - postgres.epochs
    rebalances = max(epochs, int(counters_after.rebalances - counters.rebalances))
    bench.count_rebalances(rebalances)
    return Run(
        sagas=sagas.count,
        seconds=seconds,
        sagas_per_second=sagas.count / seconds,
        cpu_us={name: (cpu_after[name] - cpu[name]) / sagas.count * 1e6 for name in cpu},
        wal_bytes=(postgres_after.wal_bytes - postgres.wal_bytes) / sagas.count,
        statements=statements,
        statement_ms=(counters_after.statement_s - counters.statement_s) / max(1.0, statements) * 1000,
        batch=(counters_after.transitions - counters.transitions) / max(1.0, statements),
        postgres_updates=updates / sagas.count,
        postgres_hot=(postgres_after.hot_updates - postgres.hot_updates) / max(1, updates),
        rebalances=rebalances,
    )


async def _readings(bench: Bench, driver: Driver) -> tuple[measure.Postgres, measure.Counters, dict[str, float]]:
    counters = measure.read_counters(bench.metrics_port) if bench.metrics_port else measure.Counters()
    return await measure.read_postgres(driver.connection), counters, bench.cpu_seconds()


async def measure_runs(
    bench: Bench,
    site: Site,
    name: str,
    plans: Sequence[Sagas],
    *,
    progress: str = APPLIED,
    poll_s: float = POLL_S,
    empty: bool = True,
) -> list[Run]:
    """Measure one run after another, each on `empty` tables unless told otherwise, and tell about each."""
    runs = []
    async with Driver(bench, site, window=WINDOW, progress=progress, poll_s=poll_s) as driver:
        for number, sagas in enumerate(plans, 1):
            if empty:
                await empty_tables(driver)
            run = await measure_run(bench, driver, sagas)
            say(f"{name}, run {number} of {len(plans)}: {in_one_line(run)}")
            runs.append(run)
    return runs


async def warm_up(bench: Bench, site: Site, count: int) -> None:
    """Let sagas run until the broker's virtual machine has compiled what it needs."""
    async with Driver(bench, site, window=WINDOW) as driver:
        for part in _shares(count, 10_000):
            sagas = Sagas.completing(part)
            driver.prepare(sagas)
            say(f"warm-up: {part / await driver.run(sagas):,.0f} sagas/s")


async def empty_tables(driver: Driver) -> None:
    """Forget all sagas, so that every run finds the same tables; the coordinator has none in progress."""
    await driver.connection.execute("TRUNCATE saga, saga_key, saga_log, saga_label, saga_tally")
    await driver.connection.execute("CHECKPOINT")


def in_one_line(run: Run) -> str:
    """The run for a person who is tuning."""
    cpu = " ".join(f"{name} {us:.0f}" for name, us in run.cpu_us.items())
    return (
        f"{run.sagas_per_second:,.0f} sagas/s; us of CPU per saga: {cpu}; {run.wal_bytes:,.0f} B of WAL; "
        f"{run.statements:,.0f} statements of {run.batch:.0f} transitions in {run.statement_ms:.1f} ms; "
        f"{run.postgres_updates:.2f} updates, {run.postgres_hot:.0%} HOT; {run.rebalances} rebalances"
    )


def _shares(count: int, most: int) -> list[int]:
    return [min(most, count - done) for done in range(0, count, most)]
