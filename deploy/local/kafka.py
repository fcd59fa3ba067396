"""Chooses the Kafka of a local stack: yours, the local JVM's, a container's, or one in memory."""

from __future__ import annotations

import os
import socket

from deploy.local.broker import Broker, ForeignBroker
from deploy.local.choice import NotAsked, Option, Say, Unavailable, first_that_works
from deploy.local.kafka_docker import start_in_docker
from deploy.local.kafka_jvm import start_on_jvm
from deploy.local.kafka_memory import start_in_memory
from deploy.local.places import RunDirectory
from deploy.local.processes import Processes

ADDRESS_VARIABLE = "SAGA_KAFKA__BOOTSTRAP_SERVERS"
CHOICE_VARIABLE = "BROKER"


def start_kafka(run: RunDirectory, processes: Processes, *, forced: str | None, say: Say) -> Broker:
    """Start the first Kafka that works here, or the `forced` kind; raises LocalStackError with advice."""
    options = [
        Option[Broker]("external", _external, f"set {ADDRESS_VARIABLE}=host:port of a running broker"),
        Option[Broker](
            "jvm", lambda: start_on_jvm(run, processes, say), "install Java 17 or newer and Maven (java, mvn)"
        ),
        Option[Broker](
            "docker", lambda: start_in_docker(say), "start a Docker engine that has or can pull apache/kafka"
        ),
        Option[Broker](
            "memory", lambda: start_in_memory(processes), "use a Python for which confluent-kafka has a wheel"
        ),
    ]
    return first_that_works("kafka", options, variable=CHOICE_VARIABLE, forced=forced, say=say)


def _external() -> Broker:
    servers = os.environ.get(ADDRESS_VARIABLE, "").strip()
    if not servers:
        raise NotAsked(f"{ADDRESS_VARIABLE} is not set")
    refused = []
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
                return ForeignBroker(servers, f"the broker that {ADDRESS_VARIABLE} names at {servers}")
        except (OSError, ValueError) as error:
            refused.append(f"{server}: {error}")
    raise Unavailable(f"{ADDRESS_VARIABLE} is set, but nothing answers ({'; '.join(refused)})")
