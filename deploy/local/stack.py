"""Kafka and Postgres together, as tests, the demo and the benchmarks use them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.local.broker import Broker, ForeignBroker
from deploy.local.choice import Say
from deploy.local.database import Database, ForeignDatabase
from deploy.local.kafka import CHOICE_VARIABLE as BROKER
from deploy.local.kafka import start_kafka
from deploy.local.kafka_memory import MemoryBroker
from deploy.local.places import RunDirectory
from deploy.local.postgres import CHOICE_VARIABLE as DATABASE
from deploy.local.postgres import start_postgres
from deploy.local.processes import Processes


def say_on_terminal(line: str) -> None:
    """Print one line at once."""
    print(line, flush=True)


class LocalStack:
    """A Kafka and a Postgres, chosen and started on entry and ended on exit.

    `broker` and `database` force a choice, as the environment's BROKER and DATABASE do. `kafka`,
    `postgres` and `processes` (for what a caller starts besides) are there inside the context.
    """

    kafka: Broker
    postgres: Database
    processes: Processes
    run: RunDirectory

    def __init__(self, *, broker: str | None = None, database: str | None = None, say: Say = say_on_terminal) -> None:
        self._broker = broker or os.environ.get(BROKER)
        self._database = database or os.environ.get(DATABASE)
        self._say = say
        self._servers: list[Broker | Database] = []

    @classmethod
    def of_file(cls, path: Path, *, say: Say = say_on_terminal) -> LocalStack:
        """Return a stack over the servers that `python -m deploy.local --json PATH` keeps running."""
        return _AttachedStack(json.loads(path.read_text()), say=say)

    def __enter__(self) -> Self:
        self.run = RunDirectory()
        self._server_processes = Processes(self.run)
        self.processes = Processes(self.run)
        try:
            self._start_servers()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what was started here, the callers' processes first, and remove the data."""
        try:
            self.processes.stop_all()
        finally:
            for server in self._servers:
                server.close()
            self._servers.clear()
            self._server_processes.stop_all()
            self.run.close()

    def environment(self, database_url: str | None = None) -> dict[str, str]:
        """Return the SAGA_* variables for a process that uses this stack (default: the admin database)."""
        return {
            "SAGA_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "SAGA_DATABASE__URL": database_url or self.postgres.admin_url,
        }

    def coordinator_environment(self, database_url: str) -> dict[str, str]:
        """Return the variables for a coordinator that uses a database (by its owner's URL) as another role."""
        return {
            **self.environment(self.application_url(database_url)),
            "SAGA_DATABASE__MIGRATION_URL": database_url,
        }

    def application_url(self, database_url: str) -> str:
        """Return the URL of a database (given its owner's) for the coordinator, whose role owns nothing."""
        return self.postgres.application_url(database_url)

    def create_database(self, name: str) -> str:
        """Create a database and return its URL, for its owner."""
        return self.postgres.create_database(name)

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create topics: name -> partition count."""
        self.kafka.create_topics(partitions)

    def facts(self) -> dict[str, Any]:
        """Return what `of_file` needs, as JSON."""
        return {"kafka": self.kafka.facts(), "postgres": self.postgres.facts(), "environment": self.environment()}

    def _start_servers(self) -> None:
        self.postgres = start_postgres(self.run, self._server_processes, forced=self._database, say=self._say)
        self._servers.append(self.postgres)
        self.kafka = start_kafka(self.run, self._server_processes, forced=self._broker, say=self._say)
        self._servers.append(self.kafka)


class _AttachedStack(LocalStack):
    """A stack whose servers another process owns: used here, neither started nor ended."""

    def __init__(self, facts: dict[str, Any], *, say: Say) -> None:
        super().__init__(say=say)
        self._facts = facts

    def _start_servers(self) -> None:
        postgres, kafka = self._facts["postgres"], self._facts["kafka"]
        self.postgres = ForeignDatabase(postgres["admin_url"], postgres["description"], kind=postgres["kind"])
        servers, description = kafka["bootstrap_servers"], kafka["description"]
        if kafka["kind"] == MemoryBroker.kind:
            self.kafka = MemoryBroker(servers, description, kafka["control"])
        else:
            self.kafka = ForeignBroker(servers, description, kind=kafka["kind"])
        self._say(f"postgres: {postgres['description']} (of a stack that is running already)")
        self._say(f"kafka: {description} (of a stack that is running already)")
