"""Apache Kafka in a container, for machines with a Docker engine but no Java."""

from __future__ import annotations

from deploy.local.broker import KAFKA_VERSION, Broker
from deploy.local.choice import LocalStackError, Say, Unavailable
from deploy.local.containers import Container, started
from deploy.local.processes import free_port

IMAGE = f"apache/kafka:{KAFKA_VERSION}"
BROKER_PORT = 9092
START_TIMEOUT_S = 90.0
STARTED = "Kafka Server started"


class DockerBroker(Broker):
    """Apache Kafka in a container whose port is published on 127.0.0.1 and stays the same."""

    kind = "docker"
    durable = True

    def __init__(self, port: int, container: Container) -> None:
        super().__init__(f"127.0.0.1:{port}", f"{IMAGE} in a container at 127.0.0.1:{port}")
        self._container = container

    def stop(self) -> None:
        """Stop the container in order."""
        self._container.stop()

    def kill(self) -> None:
        """Kill the container."""
        self._container.kill()

    def start(self) -> None:
        """Start the same container again and wait for the broker."""
        self._container.start()
        self._container.wait_for_log(STARTED, START_TIMEOUT_S)

    def pause(self) -> None:
        """Freeze the container."""
        self._container.pause()

    def resume(self) -> None:
        """Let the container go on."""
        self._container.resume()

    def close(self) -> None:
        """Remove the container and what it holds."""
        self._container.remove()


def start_in_docker(say: Say) -> DockerBroker:
    """Start a container; raises Unavailable if no engine answers or the image cannot be had."""
    port = free_port()
    environment = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{BROKER_PORT},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
        "KAFKA_HEAP_OPTS": "-Xmx512m",
    }
    container = started(IMAGE, environment=environment, inner_port=BROKER_PORT, port=port, say=say)
    try:
        container.wait_for_log(STARTED, START_TIMEOUT_S)
    except LocalStackError as error:
        container.remove()
        raise Unavailable(str(error)) from error
    return DockerBroker(port, container)
