"""Starts through the API: one saga a request, the same under an Idempotency-Key, and many sagas a request.

The engine runs what was started at the same time, on the same processors, so the clock stands when the last request is
answered, and the run is over when the last saga has ended.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from benchmarks import load, measure
from benchmarks.http_client import HttpClient
from benchmarks.runs import empty_tables
from benchmarks.servers import Bench, Site, say

CLIENTS = 16
BULK_CLIENTS = 2
PER_BULK = 250  # sagas
ENDED_POLL_S = 0.1
ENDED_S = 120.0

Request = tuple[str, dict[str, Any], dict[str, str], int]
"""Target, body, headers, and how many sagas it starts."""


class Measured(msgspec.Struct, frozen=True):
    """What some starts cost: `per_second` until they were answered, `answers` in seconds per request."""

    per_second: float
    answers: list[float]
    cpu_us: float
    running: float


async def measure_starts(bench: Bench, site: Site, count: int, bulk: int, runs: int) -> dict[str, Any]:
    """Each way to start in its turn, so many times; answers the median of sagas started per second."""
    ways: dict[str, tuple[Callable[[load.Sagas], Iterator[Request]], int, int]] = {
        "single": (_single, count, CLIENTS),
        "keyed": (_keyed, count, CLIENTS),
        "bulk": (_bulk, bulk, BULK_CLIENTS),
    }
    found: dict[str, list[Measured]] = {name: [] for name in ways}
    await _measure(bench, site, _single, count // 4, CLIENTS)  # connections, pools and caches are warm after it
    for _ in range(runs):
        for name, (requests, sagas, clients) in ways.items():
            one = await _measure(bench, site, requests, sagas, clients)
            say(
                f"starts, {name}: {one.per_second:,.0f} a second answered, {one.running:,.0f} a second ended meanwhile;"
                f" {one.cpu_us:.0f} us of the coordinator's CPU per saga; answers p50"
                f" {measure.percentile(one.answers, 0.5) * 1000:.1f} ms,"
                f" p99 {measure.percentile(one.answers, 0.99) * 1000:.1f} ms"
            )
            found[name].append(one)
    return {
        figure: value
        for name, each in found.items()
        for figure, value in (
            (f"starts_{name}_per_second", round(measure.median(one.per_second for one in each))),
            (f"starts_{name}_p99_ms", round(max(measure.percentile(one.answers, 0.99) for one in each) * 1000, 1)),
        )
    }


async def _measure(
    bench: Bench, site: Site, requests: Callable[[load.Sagas], Iterator[Request]], count: int, clients: int
) -> Measured:
    sagas = load.Sagas.completing(count)
    client, answers, left = HttpClient(bench.port), list[float](), requests(sagas)
    async with load.Driver(bench, site, window=load.WINDOW) as driver:
        await empty_tables(driver)
        cpu, began = bench.cpu_seconds()["coordinator"], time.perf_counter()
        await asyncio.gather(*(_work(client, left, answers) for _ in range(clients)))
        took = time.perf_counter() - began
        ended = await _ended(driver)
        async with asyncio.timeout(ENDED_S):
            while await _ended(driver) < count:  # noqa: ASYNC110 - another process ends them
                await asyncio.sleep(ENDED_POLL_S)
        cpu = bench.cpu_seconds()["coordinator"] - cpu
        await load.verify(driver.connection, sagas)
    client.close()
    return Measured(count / took, answers, cpu / count * 1e6, ended / took)


async def _work(client: HttpClient, left: Iterator[Request], answers: list[float]) -> None:
    for target, body, headers, sagas in left:
        began = time.perf_counter()
        answer = await client.post(target, body, headers)
        answers.append(time.perf_counter() - began)
        if sagas > 1 and answer["counts"]["created"] != sagas:
            raise RuntimeError(f"{sagas} sagas were asked for: {answer['counts']}")


async def _ended(driver: load.Driver) -> int:
    return int(await driver.connection.fetchval("SELECT count(*) FROM saga WHERE status = 'completed'"))


def _single(sagas: load.Sagas) -> Iterator[Request]:
    return (("/v1/sagas", _start(sagas, one), {}, 1) for _, one in sagas.inputs())


def _keyed(sagas: load.Sagas) -> Iterator[Request]:
    return ((*request[:2], {"idempotency-key": str(uuid.uuid4())}, 1) for request in _single(sagas))


def _bulk(sagas: load.Sagas) -> Iterator[Request]:
    starts = [_start(sagas, one) for _, one in sagas.inputs()]
    for first in range(0, len(starts), PER_BULK):
        some = starts[first : first + PER_BULK]
        yield "/v1/sagas/bulk", {"sagas": some}, {}, len(some)


def _start(sagas: load.Sagas, one: dict[str, Any]) -> dict[str, Any]:
    return {"definition": sagas.definition, "input": one}
