"""What a run costs: processor time and memory by process, WAL, and what Postgres and the coordinator count."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import msgspec
import psutil
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

_TICKS = os.sysconf("SC_CLK_TCK")
_OWN, _REAPED = slice(11, 13), slice(13, 15)  # of /proc/<pid>/stat behind the name: user and system time
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy: this machine asks itself
MEGABYTE = 1024 * 1024
REBALANCES = "saga_rebalances_total"
GAUGES_S = 60.0


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and all its descendants have used, those that have ended included."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return sum(_ticks(each.pid) for each in [process, *process.children(recursive=True)]) / _TICKS
    return 0.0


def own_cpu_seconds() -> float:
    """Processor time of this process alone, without the servers that are its children."""
    return time.process_time()


def _ticks(pid: int) -> int:
    # What a process has waited for goes to its parent's second pair: together the pairs of a tree never shrink.
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[_OWN] + fields[_REAPED]))


def rss_megabytes(pid: int) -> float:
    """Resident memory of one process."""
    return float(psutil.Process(pid).memory_info().rss) / MEGABYTE


def listener(bootstrap_servers: str) -> int | None:
    """The process that listens on an address of this machine; None when it cannot be seen."""
    port = int(bootstrap_servers.split(",", maxsplit=1)[0].rpartition(":")[2])
    for connection in psutil.net_connections("tcp"):
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if listens and connection.pid:
            return int(connection.pid)
    return None


async def postmaster(url: str) -> int | None:
    """The Postgres server's first process; None when the server is not on this machine."""
    if urlsplit(url).hostname not in ("127.0.0.1", "localhost", None):
        return None
    connection = await asyncpg.connect(url)
    try:
        backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
        parent = backend.parent()
        return parent.pid if parent is not None and "postgres" in backend.name() else None
    except psutil.Error:
        return None
    finally:
        await connection.close()


class Postgres(msgspec.Struct):
    """What Postgres has counted so far in one database."""

    wal_bytes: int
    updates: int
    hot_updates: int
    epochs: int


async def read_postgres(connection: asyncpg.Connection[asyncpg.Record]) -> Postgres:
    """Read Postgres's counters; those of this connection and of idle ones are complete."""
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    row = await connection.fetchrow(
        """
        SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal_bytes,
               coalesce(n_tup_upd, 0) AS updates, coalesce(n_tup_hot_upd, 0) AS hot_updates,
               (SELECT coalesce(sum(epoch), 0)::bigint FROM shard) AS epochs
        FROM pg_stat_user_tables WHERE relname = 'saga'
        """
    )
    assert row is not None
    return Postgres(row["wal_bytes"], row["updates"], row["hot_updates"], row["epochs"])


class Counters(msgspec.Struct):
    """What the coordinator has counted so far; the naive variant counts nothing."""

    statements: float = 0.0
    statement_s: float = 0.0
    transitions: float = 0.0
    rebalances: float = 0.0


class Uncounted(RuntimeError):
    """A coordinator does not count what a measurement must know."""


def read_counters(port: int) -> Counters:
    """Scrape a coordinator's /metrics on this machine; raises Uncounted when it shows no rebalances."""
    found = {sample.name: sample.value for family in _scrape(port) for sample in family.samples if not sample.labels}
    if REBALANCES not in found:
        raise Uncounted(f"the coordinator exports no {REBALANCES}: nobody would know that its figures were disturbed")
    return Counters(
        found.get("saga_statement_seconds_count", 0.0),
        found.get("saga_statement_seconds_sum", 0.0),
        found.get("saga_batch_transitions_sum", 0.0),
        found[REBALANCES],
    )


def time_scrapes(port: int, count: int) -> list[float]:
    """How long each of so many scrapes takes, in seconds."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        _read(port)
        times.append(time.perf_counter() - began)
    return times


def wait_for_gauges(port: int, suspended: int) -> float:
    """Wait until so many suspended sagas are shown; answers how long reading the gauges of rows took, in seconds."""
    deadline = time.monotonic() + GAUGES_S
    while True:
        samples = [sample for family in _scrape(port) for sample in family.samples]
        found = {sample.name: sample.value for sample in samples if not sample.labels}
        if sum(sample.value for sample in samples if sample.name == "saga_suspended_count") == suspended:
            return float(found["saga_gauges_refresh_seconds"])
        if time.monotonic() > deadline:
            raise Uncounted(f"the coordinator does not show {suspended} suspended sagas")
        time.sleep(0.5)


def _scrape(port: int) -> list[Metric]:
    return list(text_string_to_metric_families(_read(port).decode()))


def _read(port: int) -> bytes:
    with _DIRECT.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return bytes(answer.read())


def machine() -> dict[str, str | int]:
    """The machine in words, for comparing one day's figures with another's."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1024**3),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` (0..1) of the values lie, by nearest rank; 0.0 for none."""
    ranked = sorted(values)
    if not ranked:
        return 0.0
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def median(values: Iterable[float]) -> float:
    """The middle one of the values."""
    return percentile(values, 0.5)
