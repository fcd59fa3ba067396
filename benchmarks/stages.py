"""The stages of the benchmark. Each sets up what it needs and adds its figures to the results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from benchmarks import listeners, load, measure
from benchmarks.bulk import beside_bulk
from benchmarks.finished import insert_finished
from benchmarks.lists import measure_lists
from benchmarks.runs import Run, empty_tables, measure_runs, warm_up
from benchmarks.servers import SAMPLES, Bench, Site, say
from benchmarks.starts import measure_starts

Figures = dict[str, Any]
"""Figure -> number, list or table, as the JSON line has them."""

IDLE_S = 3.0
SCRAPES = 500
NAIVE_POLL_S = 0.25  # its progress is a sum over all its sagas


class Plan(msgspec.Struct, frozen=True):
    """How much of everything."""

    runs: int = 3
    warm_up: int = 60_000
    sagas: int = 50_000
    failing: int = 30_000
    travel: int = 20_000
    naive_1: int = 600  # about 10 seconds a run
    naive_8: int = 1_250
    latency: int = 800
    latency_per_second: float = 20.0
    in_flight: int = 20_000
    finished: int = 1_000_000
    hung: int = 100_000
    samples: int = 10_000
    starts: int = 4_000  # one a request
    starts_bulk: int = 20_000
    listeners: int = 100
    listed: int = 1_000_000
    requests: int = 200  # per filter


QUICK = Plan(
    runs=1,
    warm_up=10_000,
    sagas=20_000,
    failing=5_000,
    travel=10_000,
    naive_1=300,
    naive_8=1_000,
    latency=200,
    in_flight=5_000,
    finished=50_000,
    hung=20_000,
    samples=3_000,
    starts=1_000,
    starts_bulk=5_000,
    listed=100_000,
    requests=50,
)


def prepare(bench: Bench, site: Site, plan: Plan) -> Figures:
    """Start a coordinator and the lean participant, look at its memory, and warm the broker up."""
    restore(bench, site)
    time.sleep(IDLE_S)  # what is measured is a coordinator that has been idle for a while
    idle = measure.rss_megabytes(bench.coordinator_pid)
    say(f"idle coordinator: {idle:.0f} MB resident")
    asyncio.run(warm_up(bench, site, plan.warm_up))
    return {"rss_idle_mb": round(idle)}


def restore(bench: Bench, site: Site) -> None:
    """Bring about what every stage begins with and leaves behind: the engine alone, and the lean participant."""
    bench.start_lean_participant(site)
    bench.start_coordinator(site)


def throughput(bench: Bench, site: Site, plan: Plan) -> Figures:
    """Sagas per second, saga.events off, and what one of them costs."""
    plans = [load.Sagas.completing(plan.sagas) for _ in range(plan.runs)]
    runs = asyncio.run(measure_runs(bench, site, "throughput", plans))
    typical = _typical(runs)
    return {
        "sagas_per_second": round(typical.sagas_per_second),
        "sagas_per_second_range": _range(runs),
        "cpu_us_per_saga": {name: round(us) for name, us in typical.cpu_us.items()},
        "wal_bytes_per_saga": round(measure.median(run.wal_bytes for run in runs)),
        "transitions_per_statement": round(typical.batch),
        "statement_ms": round(typical.statement_ms, 1),
        "hot_updates_share": round(measure.median(run.postgres_hot for run in runs), 3),
    }


def failing(bench: Bench, site: Site, plan: Plan) -> Figures:
    """Sagas per second whose step 4 fails, so that three steps are undone."""
    plans = [load.Sagas.failing(plan.failing) for _ in range(plan.runs)]
    runs = asyncio.run(measure_runs(bench, site, "failing at step 4", plans))
    return {
        "failing_sagas_per_second": round(_typical(runs).sagas_per_second),
        "failing_sagas_per_second_range": _range(runs),
    }


def travel(bench: Bench, site: Site, plan: Plan) -> Figures:
    """A group, a condition and built payloads: a trip per command against an order per command, run by turns."""
    orders, trips = [], []
    for _ in range(plan.runs):
        one = [load.Sagas.completing(plan.travel)]
        orders += asyncio.run(measure_runs(bench, site, "orders", one))
        one = [load.Sagas.travelling(plan.travel)]
        trips += asyncio.run(measure_runs(bench, site, "trips", one))
    # Each trip run against the order run before it: this machine's pace changes from minute to minute.
    ratios = [
        4 * order.sagas_per_second / (5 * trip.sagas_per_second) for order, trip in zip(orders, trips, strict=True)
    ]
    typical = _typical(trips)
    return {
        "trips_per_second": round(typical.sagas_per_second),
        "trips_per_second_range": _range(trips),
        "trip_cpu_us": {name: round(us) for name, us in typical.cpu_us.items()},
        "trip_statements": round(typical.statements),
        "ratio_trip_per_command": round(measure.median(ratios), 3),
        "ratio_trip_per_command_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def in_flight(bench: Bench, site: Site, plan: Plan) -> Figures:
    """Memory of the coordinator while many sagas wait for silent participants."""

    async def measure_it() -> float:
        async with load.Driver(bench, site, window=load.WINDOW) as driver:
            await empty_tables(driver)
            sagas = load.Sagas.completing(plan.in_flight)
            driver.prepare(sagas)
            silent = bench.participants[0]
            silent.pause()
            try:
                await driver.start(sagas)
                await asyncio.sleep(IDLE_S)
                resident = measure.rss_megabytes(bench.coordinator_pid)
            finally:
                silent.resume()
            await driver.finish(sagas)
            await load.verify(driver.connection, sagas)
            return resident

    resident = asyncio.run(measure_it())
    say(f"{plan.in_flight:,} sagas in flight, participants silent: coordinator {resident:.0f} MB resident")
    return {f"rss_{plan.in_flight}_in_flight_mb": round(resident)}


def finished(bench: Bench, site: Site, plan: Plan) -> Figures:
    """Throughput beside many finished sagas, against the same with none, one after the other."""

    async def insert() -> None:
        connection = await bench.connect(site)
        await insert_finished(connection, plan.finished)
        await connection.close()

    async def forget() -> None:
        async with load.Driver(bench, site, window=load.WINDOW) as driver:
            await empty_tables(driver)

    def plans() -> list[load.Sagas]:
        return [load.Sagas.completing(plan.sagas) for _ in range(plan.runs)]

    without = asyncio.run(measure_runs(bench, site, "0 finished sagas", plans()))
    asyncio.run(insert())
    beside = asyncio.run(measure_runs(bench, site, f"{plan.finished:,} finished sagas", plans(), empty=False))
    asyncio.run(forget())
    rates = [measure.median(run.sagas_per_second for run in runs) for runs in (without, beside)]
    return {
        "sagas_per_second_0_finished": round(rates[0]),
        f"sagas_per_second_{plan.finished}_finished": round(rates[1]),
        "ratio_finished": round(rates[1] / rates[0], 3),
    }


def metrics(bench: Bench, site: Site, plan: Plan) -> Figures:
    """What a scrape costs (p99) beside many sagas, a tenth of them suspended, and reading the gauges of rows."""
    asyncio.run(measure_runs(bench, site, "a saga to copy", [load.Sagas.completing(min(1_000, plan.sagas))]))

    async def fill() -> None:
        connection = await bench.connect(site)
        await insert_finished(connection, plan.finished)
        suspended = "UPDATE saga SET status = 'suspended' WHERE id IN (SELECT id FROM saga ORDER BY id LIMIT $1)"
        await connection.execute(suspended, plan.finished // 10)
        await connection.execute("VACUUM (ANALYZE) saga", timeout=600)
        await connection.close()

    async def forget() -> None:
        async with load.Driver(bench, site, window=load.WINDOW) as driver:
            await empty_tables(driver)

    asyncio.run(fill())
    bench.start_coordinator(site)
    refreshed = measure.wait_for_gauges(bench.metrics_port, plan.finished // 10)
    scrapes = measure.time_scrapes(bench.metrics_port, SCRAPES)
    asyncio.run(forget())
    return {
        "metrics_sagas": plan.finished,
        "scrape_median_ms": round(measure.percentile(scrapes, 0.5) * 1000, 1),
        "scrape_ms": round(measure.percentile(scrapes, 0.99) * 1000, 1),
        "gauges_refresh_ms": round(refreshed * 1000, 1),
    }


def events(bench: Bench, site: Site, plan: Plan) -> Figures:
    """Throughput with saga.events on, one event per transition, against the same with them off."""
    rates = []
    for on in (False, True):
        bench.start_coordinator(site, events=on)
        plans = [load.Sagas.completing(plan.sagas) for _ in range(plan.runs)]
        runs = asyncio.run(measure_runs(bench, site, f"saga.events {'on' if on else 'off'}", plans))
        rates.append(_typical(runs).sagas_per_second)
    bench.start_coordinator(site)
    return {
        "events_off_sagas_per_second": round(rates[0]),
        "events_on_sagas_per_second": round(rates[1]),
        "ratio_events": round(rates[1] / rates[0], 3),
    }


def streams(bench: Bench, site: Site, plan: Plan) -> Figures:
    """Throughput of one process with clients that listen to everything and read nothing, and with readers, beside none.

    Runs by turns, because this machine's pace changes from minute to minute.
    """
    rates: dict[str, list[float]] = {name: [] for name in (*listeners.KINDS, "none")}
    costs: dict[str, list[float]] = {name: [] for name in rates}
    bench.start_coordinator(site, role="all")
    for _ in range(plan.runs):
        for name, found in rates.items():
            with listeners.listening(bench.port, name, plan.listeners):
                one = [load.Sagas.completing(plan.sagas)]
                [run] = asyncio.run(measure_runs(bench, site, f"listeners: {name}", one))
            found.append(run.sagas_per_second)
            costs[name].append(run.cpu_us["coordinator"])
    bench.start_coordinator(site)
    none = measure.median(rates["none"])
    return {
        "streams_none_sagas_per_second": round(none),
        **{f"ratio_streams_{name}": round(measure.median(rates[name]) / none, 3) for name in listeners.KINDS},
        "streams_cpu_us_per_saga": {name: round(measure.median(found)) for name, found in costs.items()},
    }


def latency(bench: Bench, site: Site, plan: Plan) -> Figures:
    """How long one saga takes at a steady, low rate, started through POST /v1/sagas."""
    bench.start_coordinator(site, role="all")
    asyncio.run(load.time_whole_sagas(bench, site, 40, plan.latency_per_second))
    before = measure.read_counters(bench.metrics_port).rebalances
    times = asyncio.run(load.time_whole_sagas(bench, site, plan.latency, plan.latency_per_second))
    bench.count_rebalances(int(measure.read_counters(bench.metrics_port).rebalances - before))
    bench.start_coordinator(site)
    figures: Figures = {
        f"{name}p{share}_ms": round(measure.percentile(values, share / 100) * 1000, 1)
        for name, values in (("", times.wholes), ("answer_", times.answers))
        for share in (50, 99)
    }
    say(f"latency of {plan.latency} sagas at {plan.latency_per_second:g} per second: {figures}")
    return figures


def starts(bench: Bench, site: Site, plan: Plan) -> Figures:
    """Sagas started per second through the API, while the same process runs them."""
    bench.start_coordinator(site, role="all")
    figures = asyncio.run(measure_starts(bench, site, plan.starts, plan.starts_bulk, plan.runs))
    bench.start_coordinator(site)
    return figures


def samples(bench: Bench, site: Site, plan: Plan) -> Figures:
    """Throughput with the four sample participants, each with its own tables, inbox and outbox."""
    own = bench.new_site("samples")  # they would read the commands that the lean participant has answered

    async def check(sagas: load.Sagas) -> None:
        connection = await bench.connect(own)
        for name in SAMPLES:
            found = await connection.fetchval(
                f"SELECT count(*) FROM {name}.effects WHERE order_id >= $1 AND order_id < $1 || 'x'",  # noqa: S608
                sagas.prefix,
            )
            if found != sagas.count:
                raise RuntimeError(f"{name} shows {found} effects of {sagas.count} sagas")
        await connection.close()

    bench.start_coordinator(own)
    bench.start_sample_participants(own)
    plans = [load.Sagas.completing(plan.samples) for _ in range(plan.runs)]
    runs = asyncio.run(measure_runs(bench, own, "sample participants", plans))
    asyncio.run(check(plans[-1]))
    bench.drop_site(own)
    restore(bench, site)
    typical = _typical(runs)
    return {
        "sample_participants_sagas_per_second": round(typical.sagas_per_second),
        "sample_participants_cpu_us_per_saga": round(typical.cpu_us["participants"]),
    }


def naive(bench: Bench, site: Site, plan: Plan) -> Figures:
    """The naive variant with 1 and with 8 partitions, each with a database and topics of its own."""
    figures: Figures = {}
    for partitions, count in ((1, plan.naive_1), (8, plan.naive_8)):
        own = bench.new_site(f"naive{partitions}", partitions)
        bench.start_lean_participant(own)
        bench.start_naive(own)
        # A few sagas first, so that it too is measured warm; that run does not count.
        plans = [load.Sagas.completing(each) for each in (max(50, count // 5), *[count] * plan.runs)]
        name = f"naive, partitions: {partitions}"
        runs = asyncio.run(measure_runs(bench, own, name, plans, progress=load.VERSIONS, poll_s=NAIVE_POLL_S))[1:]
        figure = f"naive_{partitions}_partition{'s' if partitions > 1 else ''}"
        figures[figure] = round(_typical(runs).sagas_per_second, 1)
        figures[f"{figure}_range"] = _range(runs, 1)
        bench.drop_site(own)
    restore(bench, site)
    return figures


def lists(bench: Bench, site: Site, plan: Plan) -> Figures:
    """Pages of lists beside many sagas, some in flight and a tenth suspended, for each documented filter."""
    own = bench.new_site("lists")
    bench.start_coordinator(own, role="all")
    figures = measure_lists(bench, own, plan.listed, min(plan.in_flight, plan.listed // 10), plan.requests)
    bench.drop_site(own)
    restore(bench, site)
    return figures


def bulk(bench: Bench, site: Site, plan: Plan) -> Figures:
    """Throughput of orders while a bulk retry works on many suspended sagas, against the same without it."""
    bench.start_coordinator(site, role="all")
    figures = asyncio.run(beside_bulk(bench, site, plan.hung, plan.sagas, plan.runs))
    restore(bench, site)
    return figures


STAGES: dict[str, Callable[[Bench, Site, Plan], Figures]] = {
    "throughput": throughput,
    "failing": failing,
    "travel": travel,
    "in_flight": in_flight,
    "naive": naive,
    "latency": latency,
    "starts": starts,
    "events": events,
    "streams": streams,
    "samples": samples,
    "finished": finished,
    "metrics": metrics,
    "lists": lists,
    "bulk": bulk,
}


def _typical(runs: Sequence[Run]) -> Run:
    middle = measure.median(run.sagas_per_second for run in runs)
    return next(run for run in runs if run.sagas_per_second == middle)


def _range(runs: Sequence[Run], digits: int | None = None) -> list[float]:
    rates = [run.sagas_per_second for run in runs]
    return [round(min(rates), digits), round(max(rates), digits)]
