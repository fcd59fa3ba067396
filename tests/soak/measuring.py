"""What a soak measures, the limits that it must keep, and how it notices that nothing moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import psutil

from tests.e2e.world import World

MEGABYTE = 1024 * 1024
TABLES = ("saga", "outbox", "saga_key", "saga_tally", "dead_letter", "incident")
DEAD_MIN = 20_000  # so many dead rows are no bloat, however few the live ones
QUERY = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS sessions,
       (SELECT count(*) FROM outbox) AS outbox,
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) FROM outbox)::float AS oldest_s,
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(wake_at)), 0) FROM saga
        WHERE wake_at IS NOT NULL)::float AS overdue_s,
       (SELECT coalesce(sum(version), 0) FROM saga)::bigint AS transitions,
       (SELECT count(*) FROM saga) AS sagas,
       (SELECT count(*) FROM saga WHERE status IN ('completed', 'failed', 'abandoned')) AS ended,
       (SELECT count(*) FROM saga WHERE status = 'suspended') AS suspended
"""
BLOAT = """
SELECT relname, n_live_tup AS live, n_dead_tup AS dead, pg_total_relation_size(relid) AS bytes
FROM pg_stat_user_tables WHERE schemaname = 'public' AND relname = ANY($1)
"""


@dataclass(frozen=True)
class Limits:
    """What must never be exceeded. Under kills a backlog builds up for as long as nobody owns a partition."""

    rss_mb: float = 300.0
    descriptors: int = 150
    sessions: int = 80
    outbox: int = 5_000
    outbox_age_s: float = 60.0
    overdue_s: float = 90.0
    dead_per_live: float = 3.0
    outbox_mb: float = 64.0


@dataclass
class Sample:
    """One look at everything."""

    rss_mb: dict[str, float] = field(default_factory=dict)
    descriptors: dict[str, int] = field(default_factory=dict)
    sessions: int = 0
    outbox: int = 0
    oldest_s: float = 0.0
    overdue_s: float = 0.0
    transitions: int = 0
    sagas: int = 0
    ended: int = 0
    suspended: int = 0
    dead: dict[str, tuple[int, int]] = field(default_factory=dict)  # by table, beside the live rows
    outbox_mb: float = 0.0

    def excesses(self, limits: Limits) -> Iterator[str]:
        """Say which limits are exceeded."""
        for name, megabytes in self.rss_mb.items():
            if megabytes > limits.rss_mb:
                yield f"{name} has {megabytes:.0f} MB resident, at most {limits.rss_mb:.0f} are allowed"
        for name, count in self.descriptors.items():
            if count > limits.descriptors:
                yield f"{name} has {count} file descriptors, at most {limits.descriptors} are allowed"
        for table, (dead, live) in self.dead.items():
            if dead > DEAD_MIN and dead > limits.dead_per_live * live:
                yield f"{table} has {dead} dead rows beside {live} live ones"
        for what, value, limit in (
            ("sessions with the database", self.sessions, limits.sessions),
            ("rows in the outbox", self.outbox, limits.outbox),
            ("seconds is the age of the oldest row in the outbox", self.oldest_s, limits.outbox_age_s),
            ("seconds ago a saga should have been woken", self.overdue_s, limits.overdue_s),
            ("MB is the outbox on disk", self.outbox_mb, limits.outbox_mb),
        ):
            if value > limit:
                yield f"{value:.0f} {what}, at most {limit:.0f} are allowed"


@dataclass
class Highest:
    """The highest value of each measure so far."""

    samples: int = 0
    rss_mb_max: float = 0.0
    descriptors_max: int = 0
    sessions_max: int = 0
    outbox_max: int = 0
    outbox_age_s_max: float = 0.0
    dead_rows_max: int = 0
    outbox_mb_max: float = 0.0

    def take(self, sample: Sample) -> None:
        """Count a sample in."""
        self.samples += 1
        self.rss_mb_max = round(max(self.rss_mb_max, *sample.rss_mb.values(), 0.0), 1)
        self.descriptors_max = max(self.descriptors_max, *sample.descriptors.values(), 0)
        self.sessions_max = max(self.sessions_max, sample.sessions)
        self.outbox_max = max(self.outbox_max, sample.outbox)
        self.outbox_age_s_max = round(max(self.outbox_age_s_max, sample.oldest_s), 1)
        self.dead_rows_max = max(self.dead_rows_max, *(dead for dead, _ in sample.dead.values()), 0)
        self.outbox_mb_max = round(max(self.outbox_mb_max, sample.outbox_mb), 1)


class Progress:
    """Notices that nothing has moved for a while, although something should."""

    def __init__(self, limit_s: float, now: float) -> None:
        self._limit_s = limit_s
        self._seen: tuple[int, ...] = ()
        self._since = now

    def hangs(self, now: float, *counts: int) -> bool:
        """Say whether these counts have stood still for too long."""
        if counts != self._seen:
            self._seen, self._since = counts, now
        return now - self._since > self._limit_s

    def still_s(self, now: float) -> float:
        """How long nothing has moved."""
        return now - self._since


async def sample(world: World, processes: Mapping[str, int]) -> Sample:
    """Look at the processes (pids by name) and at the database."""
    found = Sample()
    for name, pid in processes.items():
        try:
            process = psutil.Process(pid)
            found.rss_mb[name] = process.memory_info().rss / MEGABYTE
            found.descriptors[name] = process.num_fds()
        except psutil.Error:
            continue  # it was killed a moment ago
    [row] = await world.rows(QUERY)
    found.sessions, found.outbox, found.oldest_s = row["sessions"], row["outbox"], row["oldest_s"]
    found.transitions, found.sagas, found.overdue_s = row["transitions"], row["sagas"], row["overdue_s"]
    found.ended, found.suspended = row["ended"], row["suspended"]
    for table in await world.rows(BLOAT, list(TABLES)):
        found.dead[table["relname"]] = (table["dead"], table["live"])
        if table["relname"] == "outbox":
            found.outbox_mb = table["bytes"] / MEGABYTE
    return found
