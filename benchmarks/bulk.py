"""A bulk retry over many suspended sagas beside orders that run: what it costs them, and the coordinator's memory."""

from __future__ import annotations

import asyncio
import http.client
import json
from datetime import UTC, datetime
from typing import Any

import asyncpg

from benchmarks import load, measure
from benchmarks.load import DEFINITION
from benchmarks.runs import Run, measure_run
from benchmarks.servers import Bench, Site, say
from coordinator.engine.clock import new_saga_id
from coordinator.wire.murmur2 import partition_of

POLL_S = 0.2
CHUNK = 20_000
BATCHES = "/v1/batch-operations"
COLUMNS = (
    *("id", "part", "definition_id", "created_at", "business_key", "input", "version", "updated_at"),
    *("status", "state"),
)
# What the bulk work moves must not count as progress of the orders: theirs are younger.
PROGRESS = "SELECT coalesce(sum(version), 0)::bigint FROM saga WHERE id > '{boundary}'"


class _Zeros:
    """Dice that count: ids in the order of their numbers."""

    def __init__(self) -> None:
        self.number = 0

    def roll(self) -> float:
        return 0.0

    def bits(self, count: int) -> int:
        if count == 62:
            self.number += 1
            return self.number
        return 0


async def hang(connection: asyncpg.Connection[asyncpg.Record], bench: Bench, site: Site, count: int) -> str:
    """Let so many sagas be suspended in their first step, as copies of one that is; answers the last one's id."""
    sample = await _suspended(connection, bench)
    at = datetime.now(UTC)
    dice = _Zeros()
    for first in range(1, count, CHUNK):  # the sample is one of them
        rows = []
        for _ in range(first, min(first + CHUNK, count)):
            saga_id = new_saga_id(int(at.timestamp() * 1000) - 60_000, dice)
            key = f"hung-{saga_id}"
            body = sample["input"].replace(sample["business_key"].encode(), key.encode())
            part = partition_of(saga_id.encode(), site.partitions)
            rows.append((saga_id, part, sample["definition_id"], at, key, body, 2, at, "suspended", sample["state"]))
        await connection.copy_records_to_table("saga", records=rows, columns=COLUMNS)
    await connection.execute("VACUUM (ANALYZE) saga", timeout=600)
    await connection.execute("CHECKPOINT", timeout=600)
    return str(sample["id"])


async def _suspended(connection: asyncpg.Connection[asyncpg.Record], bench: Bench) -> Any:
    silent = bench.participants[0]
    silent.pause()
    try:
        [(_, one)] = load.Sagas.completing(1).inputs()
        saga = await asyncio.to_thread(_post, bench.port, "/v1/sagas", {"definition": DEFINITION, "input": one})
        act = {"reason": "a sample", "expected_version": saga["version"]}
        await asyncio.to_thread(_post, bench.port, f"/v1/sagas/{saga['id']}/suspend", act)
        return await connection.fetchrow("SELECT * FROM saga WHERE id = $1", saga["id"])
    finally:
        silent.resume()


async def beside_bulk(bench: Bench, site: Site, hung: int, sagas: int, runs: int) -> dict[str, Any]:
    """Measure orders beside `hung` suspended sagas, by turns while a bulk retry of them rests and while it works."""
    connection = await bench.connect(site)
    await connection.execute("TRUNCATE saga, saga_key, saga_log")
    boundary = await hang(connection, bench, site, hung)
    before = most = measure.rss_megabytes(bench.coordinator_pid)
    operation = await asyncio.to_thread(_begin, bench.port, hung)
    ratios, rates = [], []
    async with load.Driver(
        bench, site, window=load.WINDOW, progress=PROGRESS.format(boundary=boundary), poll_s=POLL_S
    ) as driver:
        for _ in range(runs):
            await asyncio.to_thread(_post, bench.port, f"{operation}/pause", {"reason": "measured without"})
            without = await _run(bench, driver, sagas, "bulk retry at rest")
            await asyncio.to_thread(_post, bench.port, f"{operation}/resume", {"reason": "measured with"})
            beside = await _run(bench, driver, sagas, "beside a bulk retry")
            most = max(most, measure.rss_megabytes(bench.coordinator_pid))
            rates.append(beside.sagas_per_second)
            # Each against the run before it: this machine's pace changes from minute to minute.
            ratios.append(beside.sagas_per_second / without.sagas_per_second)
    counts = (await asyncio.to_thread(_get, bench.port, operation))["counts"]
    await asyncio.to_thread(_post, bench.port, f"{operation}/cancel", {"reason": "measured"})
    await connection.close()
    say(f"bulk retry: {counts}; coordinator {before:.0f} MB before, {most:.0f} MB at most")
    return {
        "bulk_sagas": hung,
        "bulk_done_meanwhile": counts["done"],
        "bulk_rss_growth_mb": round(most - before),
        "sagas_per_second_beside_bulk": round(measure.median(rates)),
        "ratio_bulk": round(measure.median(ratios), 3),
        "ratio_bulk_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }


async def _run(bench: Bench, driver: load.Driver, count: int, name: str) -> Run:
    run = await measure_run(bench, driver, load.Sagas.completing(count))
    say(f"{name}: {run.sagas_per_second:,.0f} sagas/s")
    return run


def _begin(port: int, count: int) -> str:
    """Make a dry run and confirm it; answers where the operation is."""
    asked = {"verb": "retry", "filter": {"status": "suspended", "definition": DEFINITION}}
    dry = _post(port, BATCHES, {**asked, "dry_run": True})
    if dry["count"] < count:
        raise RuntimeError(f"the dry run found {dry['count']} of {count} sagas")
    real = {"dry_run": False, "confirmation": dry["confirmation"], "reason": "a measurement"}
    return f"{BATCHES}/{_post(port, BATCHES, {**asked, **real})['id']}"


def _post(port: int, target: str, body: dict[str, Any]) -> dict[str, Any]:
    return _ask(port, "POST", target, json.dumps(body))


def _get(port: int, target: str) -> dict[str, Any]:
    return _ask(port, "GET", target, None)


def _ask(port: int, method: str, target: str, body: str | None) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, target, body, {"content-type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status >= 300:
        raise RuntimeError(f"{method} {target} answered {response.status}: {answer[:500]!r}")
    found: dict[str, Any] = json.loads(answer)
    return found
