"""The broker for machines without Java and Docker: in memory, nothing durable, groups of one member."""

from __future__ import annotations

import importlib.util
import json
import socket
from collections.abc import Mapping
from typing import Any

from deploy.local.broker import Broker
from deploy.local.choice import LocalStackError, Unavailable
from deploy.local.processes import Child, Processes

START_TIMEOUT_S = 20.0
TOPIC_EXISTS = 36


class MemoryBroker(Broker):
    """librdkafka's in-memory broker in another process; topics are made through its control port."""

    kind = "memory"
    durable = False

    def __init__(self, bootstrap_servers: str, description: str, control: int, child: Child | None = None) -> None:
        super().__init__(bootstrap_servers, description)
        self._control = control
        self._child = child

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create topics; the protocol's own request for that is not served by this broker."""
        for name, count in partitions.items():
            self._command({"topic": name, "partitions": count}, accepted=(0, TOPIC_EXISTS))

    def stop(self) -> None:
        """Cut all connections and refuse new ones; the records stay."""
        self._command({"broker": "down"})

    def start(self) -> None:
        """Serve again after `stop`."""
        self._command({"broker": "up"})

    def kill(self) -> None:
        """Refuse: what it holds would be gone, and its address too."""
        raise LocalStackError("the memory broker cannot come back after a kill; use real Kafka (BROKER=jvm)")

    def pause(self) -> None:
        """Freeze its process with SIGSTOP."""
        if self._child is None:
            raise self._not_ours("pause")
        self._child.pause()

    def resume(self) -> None:
        """Let it go on with SIGCONT."""
        if self._child is None:
            raise self._not_ours("resume")
        self._child.resume()

    def facts(self) -> dict[str, Any]:
        """Add the control port, through which other processes create topics."""
        return {**super().facts(), "control": self._control}

    def close(self) -> None:
        """End its process, if it is ours."""
        if self._child is not None:
            self._child.kill()

    def _command(self, command: dict[str, Any], accepted: tuple[int, ...] = (0,)) -> None:
        with socket.create_connection(("127.0.0.1", self._control), timeout=10) as connection:
            connection.sendall(json.dumps(command).encode() + b"\n")
            with connection.makefile() as answers:
                code = int(answers.readline())
        if code not in accepted:
            raise LocalStackError(f"the memory broker refused {command} with error {code}")


def start_in_memory(processes: Processes) -> MemoryBroker:
    """Start it; raises Unavailable where the confluent-kafka wheel is missing."""
    if importlib.util.find_spec("confluent_kafka") is None:
        raise Unavailable("confluent-kafka is not installed")
    child = processes.python("kafka-memory", "-m", "deploy.local.memory_broker")
    try:
        facts = json.loads(child.wait_for_line(r"(?m)^\{.*\}$", timeout_s=START_TIMEOUT_S)[0])
    except LocalStackError as error:
        raise Unavailable(f"it did not start: {error}") from error
    servers = facts["bootstrap_servers"]
    limits = "nothing durable, one member per group"
    description = f"librdkafka's in-memory broker at {servers}: {limits}"
    return MemoryBroker(servers, description, facts["control"], child)
