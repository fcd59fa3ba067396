"""How long pages of lists take beside a million sagas: every documented filter, page after page, through the API."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from typing import Any
from urllib.parse import urlencode

from benchmarks import measure
from benchmarks.crowd import COMMON_REASON, COMMON_STEP, RARE_REASON, RARE_STEP, insert_crowd
from benchmarks.servers import Bench, Site, say

Query = tuple[tuple[str, str], ...]

DEFINITION = ("definition", "BankTransfer")
SUSPENDED, PENDING = ("status", "suspended"), ("status", "pending")
APART_DAYS = 2  # the crowd begins so long before now


def filters(middle: str, later: str) -> dict[str, Query]:
    """Every documented filter, alone and with others; `middle` and `later` are moments among the sagas' starts."""
    return {
        "none": (),
        "limit 200": (("limit", "200"),),
        "fields labels": (("fields", "labels"),),
        "status completed": (("status", "completed"),),
        "status suspended": (SUSPENDED,),
        "status failed, abandoned": (("status", "failed"), ("status", "abandoned")),
        "status pending": (PENDING,),
        "status compensating (rare in flight)": (("status", "compensating"),),
        "status scheduled (none)": (("status", "scheduled"),),
        "definition": (DEFINITION,),
        "definition, version": (DEFINITION, ("version", "1")),
        "definition, status suspended": (DEFINITION, SUSPENDED),
        "definition, since, until": (DEFINITION, ("since", middle), ("until", later)),
        "step of suspended": (SUSPENDED, ("step", COMMON_STEP)),
        "step of suspended (rare)": (SUSPENDED, ("step", RARE_STEP)),
        "step in flight": (PENDING, ("step", COMMON_STEP)),
        "step in flight (rare)": (PENDING, ("step", RARE_STEP)),
        "participant": (SUSPENDED, PENDING, ("participant", "payment")),
        "business_key": (("business_key", "crowd-500"),),
        "label": (("label", "tenant:tenant-5"),),
        "label (30,000)": (("label", "region:eu"),),
        "two labels": (("label", "tenant:tenant-5"), ("label", "region:eu")),
        "label, status suspended": (("label", "region:eu"), SUSPENDED),
        "label, status abandoned (none)": (("label", "region:eu"), ("status", "abandoned")),
        "incident": (("incident", COMMON_REASON),),
        "incident (rare)": (("incident", RARE_REASON),),
        "incident, definition, step": (("incident", COMMON_REASON), DEFINITION, SUSPENDED, ("step", RARE_STEP)),
        "incident, status failed (none)": (("incident", COMMON_REASON), ("status", "failed")),
        "since": (("since", later),),
        "until": (("until", middle),),
    }


def measure_lists(bench: Bench, site: Site, sagas: int, in_flight: int, requests: int) -> dict[str, Any]:
    """Fill a site, ask for pages, and answer what they took; a coordinator with an API must run there."""
    first_ms = int(time.time() * 1000) - APART_DAYS * 86_400_000
    asyncio.run(_fill(bench, site, sagas, in_flight, first_ms))
    scans = asyncio.run(_sequential_scans(bench, site))
    client = _Client(bench.port)
    moments = [_moment(first_ms + share * sagas * 100 // 10) for share in (5, 8)]
    client.walk((), 10)  # from here on the sessions of the API are there
    backends = asyncio.run(_backends(bench, site))
    p50: dict[str, float] = {}
    p99: dict[str, float] = {}
    cpu: dict[str, float] = {}
    for name, query in filters(*moments).items():
        before = _cpu_seconds(bench, backends)
        times = client.walk(query, requests)
        # On a machine that others use too this says more than the clock does.
        cpu[name] = round((_cpu_seconds(bench, backends) - before) / requests * 1000, 1)
        p50[name], p99[name] = _ms(times, 0.5), _ms(times, 0.99)
        say(f"{name:<40} p50 {p50[name]:>6} ms   p99 {p99[name]:>6} ms   CPU {cpu[name]:>5} ms")
    times = [client.ask("/v1/sagas/counts")[0] for _ in range(requests)]
    p50["counts"], p99["counts"] = _ms(times, 0.5), _ms(times, 0.99)
    return {
        "lists_p99_ms": max(p99.values()),
        "lists_sequential_scans": asyncio.run(_sequential_scans(bench, site)) - scans,
        "lists_p50_ms_by_filter": p50,
        "lists_p99_ms_by_filter": p99,
        "lists_cpu_ms_by_filter": cpu,
    }


class _Client:
    """One connection to the API."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, target: str) -> tuple[float, Any]:
        """Seconds that an answer took, and the answer."""
        began = time.perf_counter()
        self._connection.request("GET", target)
        answer = self._connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - began
        if answer.status != 200:
            raise RuntimeError(f"{target} was answered with {answer.status}: {body[:300]!r}")
        return took, json.loads(body)

    def walk(self, query: Query, requests: int) -> list[float]:
        """Follow a list's cursors, and begin anew behind the last page."""
        times: list[float] = []
        cursor: str | None = None
        while len(times) < requests:
            more = () if cursor is None else (("cursor", cursor),)
            took, page = self.ask(f"/v1/sagas?{urlencode([*query, *more])}")
            times.append(took)
            cursor = page["next_cursor"]
        return times


def _cpu_seconds(bench: Bench, backends: list[int]) -> float:
    """Processor time of the API's process and of the sessions of its database."""
    return sum(map(measure.cpu_seconds, [bench.coordinator_pid, *backends]))


async def _backends(bench: Bench, site: Site) -> list[int]:
    connection = await bench.connect(site)
    rows = await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()
    return [row["pid"] for row in rows]


async def _fill(bench: Bench, site: Site, sagas: int, in_flight: int, first_ms: int) -> None:
    connection = await bench.connect(site)
    await insert_crowd(connection, sagas, in_flight, first_ms)
    await connection.close()


async def _sequential_scans(bench: Bench, site: Site) -> int:
    """How often the table of sagas was read from end to end so far; sessions report within a second or two."""
    await asyncio.sleep(3)
    connection = await bench.connect(site)
    found = await connection.fetchval("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'saga'")
    await connection.close()
    return int(found)


def _moment(moment_ms: int) -> str:
    seconds = time.gmtime(moment_ms // 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", seconds)


def _ms(values: list[float], share: float) -> float:
    return round(measure.percentile(values, share) * 1000, 1)
