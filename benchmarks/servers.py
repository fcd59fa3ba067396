"""The processes of a measurement: the local stack, and on it coordinators and participants that come and go."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Self

import asyncpg
import msgspec

from benchmarks import lean_participant, measure, naive
from deploy.local.processes import Child, free_port, http_ok
from deploy.local.stack import LocalStack

REPLIES_PARTITIONS = 16
COMMANDS_PARTITIONS = 8
READY_S = 60.0
SAMPLES = ("inventory", "payment", "shipping", "notification")


class Site(msgspec.Struct, frozen=True):
    """A database and topics of their own."""

    database: str
    url: str
    topic_prefix: str
    partitions: int

    @property
    def replies(self) -> str:
        """The topic of all that goes to the coordinator."""
        return f"{self.topic_prefix}replies"


class Bench:
    """What runs at the moment; use it inside `with`, so that nothing is left running."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.coordinator: Child | None = None
        self.port = self.metrics_port = 0
        self.participants: list[Child] = []
        self._sites: list[Site] = []
        self.rebalances: int | None = None  # during the coordinator's measured runs; None before the first one
        self.broker_pid = measure.listener(stack.kafka.bootstrap_servers)
        self.postgres_pid = asyncio.run(measure.postmaster(stack.postgres.admin_url))

    def new_site(self, name: str, partitions: int = REPLIES_PARTITIONS) -> Site:
        """Make a migrated database and the topics; `name` tells them from those of other sites."""
        # A stack that goes on running must not show one bench the records of another.
        moment = f"{time.time_ns() // 1_000_000:x}"
        name = f"{name}_{moment}"
        # The prefix is as long as the usual "saga.": the outbox keeps the topic's name with every message.
        site = Site(name, self.stack.create_database(name), f"{moment[-4:]}.", partitions)
        self._sites.append(site)
        for verb in ("migrate", "topics"):
            child = self.stack.processes.python(verb, "-m", "coordinator", verb, environment=self._environment(site))
            if child.wait(READY_S):
                raise RuntimeError(f"`saga {verb}` failed:\n{child.output()}")
        return site

    def drop_site(self, site: Site) -> None:
        """End what works on a site and remove its database; on a stack that goes on running its topics stay."""
        self.stop_coordinator()
        self.stop_participants()
        self.stack.postgres.drop_database(site.database)
        self._sites.remove(site)

    def __enter__(self) -> Self:
        """Have a bench."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what is left of it."""
        for site in list(self._sites):
            self.drop_site(site)

    def start_coordinator(
        self, site: Site, *, role: str = "engine", events: bool = False, profile: Path | None = None
    ) -> None:
        """Start a coordinator and wait until it owns its partitions; its log shows warnings only."""
        self.stop_coordinator()
        self.port, self.metrics_port = free_port(), free_port()
        settings = {
            "SAGA_API__PORT": str(self.port),
            "SAGA_METRICS__PORT": str(self.metrics_port),
            "SAGA_EVENTS__ENABLED": "true" if events else "false",
        }
        run = ["-m", "cProfile", "-o", str(profile)] if profile is not None else []
        self.coordinator = self.stack.processes.python(
            "coordinator",
            *(*run, "-m", "coordinator", "serve", "--role", role),
            environment=self._environment(site) | settings,
        )
        ready = http_ok(f"http://127.0.0.1:{self.metrics_port}/readyz")
        self.coordinator.wait_until(ready, timeout_s=READY_S, what="ready")
        # It shows its counters now and then: its first assignment must not look like a rebalance of the first run.
        self.coordinator.wait_until(self._has_counted, timeout_s=READY_S, what="showing that it has joined its group")

    def _has_counted(self) -> bool:
        try:
            return measure.read_counters(self.metrics_port).rebalances >= 1
        except measure.Uncounted:
            return True  # whoever measures will say so

    @property
    def coordinator_pid(self) -> int:
        """The process id of the coordinator, which must be running."""
        assert self.coordinator is not None, "no coordinator is running"
        return self.coordinator.pid

    def stop_coordinator(self) -> None:
        """End the coordinator in order."""
        if self.coordinator is not None:
            self.coordinator.stop(grace_s=30)
            self.coordinator = None

    def start_lean_participant(self, site: Site) -> None:
        """Start the in-memory participant and wait until it reads."""
        self.stop_participants()
        child = self.stack.processes.python(
            "lean_participant", "-m", lean_participant.__name__, environment=self._environment(site)
        )
        self.participants = [child]
        child.wait_for_line(lean_participant.READY, timeout_s=READY_S)

    def start_sample_participants(self, site: Site) -> None:
        """Start the four sample participants, each a process with its own tables, and wait until they read."""
        self.stop_participants()
        self.participants = [
            self.stack.processes.python(name, "-m", f"participants.{name}", environment=self._owner_environment(site))
            for name in SAMPLES
        ]
        for child in self.participants:
            child.wait_for_line(r"(?m)^ready$", timeout_s=READY_S)

    def stop_participants(self) -> None:
        """End the participants."""
        for child in self.participants:
            child.stop()
        self.participants = []

    def start_naive(self, site: Site) -> None:
        """Start the naive coordinator and wait until it reads."""
        self.stop_coordinator()
        self.port = self.metrics_port = 0
        self.coordinator = self.stack.processes.python(
            "naive", "-m", naive.__name__, environment=self._owner_environment(site)
        )
        self.coordinator.wait_for_line(naive.READY, timeout_s=READY_S)

    def count_rebalances(self, number: int) -> None:
        """Add what a measured run of the coordinator saw; there must be none. The naive variant counts nothing."""
        if self.metrics_port:
            self.rebalances = (self.rebalances or 0) + number

    def check_alive(self) -> None:
        """Raise with the end of its log when a process of the measurement has ended."""
        for child in (self.coordinator, *self.participants):
            if child is not None and child.exit_code is not None:
                tail = "\n".join(child.output().splitlines()[-20:])
                raise RuntimeError(f"{child.name} ended with {child.exit_code}:\n{tail}")

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time used so far, by group; what runs elsewhere is left out."""
        groups = {"coordinator": [self.coordinator.pid] if self.coordinator is not None else []}
        groups["postgres"] = [self.postgres_pid] if self.postgres_pid else []
        groups["broker"] = [self.broker_pid] if self.broker_pid else []
        groups["participants"] = [child.pid for child in self.participants]
        used = {name: sum(map(measure.cpu_seconds, pids)) for name, pids in groups.items() if pids}
        return used | {"driver": measure.own_cpu_seconds()}

    async def connect(self, site: Site) -> asyncpg.Connection[asyncpg.Record]:
        """Open a connection to a site's database."""
        return await asyncpg.connect(site.url)

    def _owner_environment(self, site: Site) -> dict[str, str]:
        """Of what makes tables of its own beside the coordinator's."""
        return {**self._environment(site), "SAGA_DATABASE__URL": site.url}

    def _environment(self, site: Site) -> dict[str, str]:
        return {
            **self.stack.coordinator_environment(site.url),
            "SAGA_TOPIC_PREFIX": site.topic_prefix,
            "SAGA_KAFKA__GROUP_ID": f"{site.topic_prefix}coordinator",
            "SAGA_KAFKA__REPLIES_PARTITIONS": str(site.partitions),
            "SAGA_KAFKA__COMMANDS_PARTITIONS": str(COMMANDS_PARTITIONS),
            "SAGA_LOG__LEVEL": "warning",
            "SAGA_LOG__TRANSITIONS": "false",
        }


def say(line: str) -> None:
    """Tell how far the bench is, on standard error: standard output ends with the JSON line."""
    print(line, file=sys.stderr, flush=True)
