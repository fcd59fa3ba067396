"""The coordinator and the participants as processes of this machine, on servers that testcontainers starts."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import docker
import httpx
import pytest
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from deploy.local.places import PROJECT
from deploy.local.processes import Child, Processes, free_port, http_ok
from tests.docker.api import end_of, start
from tests.docker.composition import ORDERS, compose_file
from tests.e2e.orders import order

pytestmark = pytest.mark.timeout(600)

START_TIMEOUT_S = 180
READY_S = 120
POSTGRES_PORT, KAFKA_PORT = 5432, 9092


@pytest.fixture(scope="module")
def postgres_url(engine: docker.DockerClient, has_image: Callable[[str], None]) -> Iterator[str]:
    """Start the Postgres that docker-compose.yml names."""
    image = compose_file()["services"]["postgres"]["image"]
    has_image(image)
    container = PostgresContainer(image, username="saga", password=secrets.token_hex(8), dbname="saga", driver=None)
    # docker-py takes an (address, port) pair, which testcontainers' own method does not.
    container.ports[str(POSTGRES_PORT)] = ("127.0.0.1", free_port())  # type: ignore[assignment]
    with container:
        yield container.get_connection_url(host="127.0.0.1")


@pytest.fixture(scope="module")
def bootstrap_servers(engine: docker.DockerClient, has_image: Callable[[str], None]) -> Iterator[str]:
    """Start the Kafka that docker-compose.yml names, configured as there but for the address that it tells clients."""
    service = compose_file()["services"]["kafka"]
    has_image(service["image"])
    port = free_port()
    listeners = f"INSIDE://localhost:19092,HOST://127.0.0.1:{port}"
    container = DockerContainer(service["image"])
    container.with_envs(**{**service["environment"], "KAFKA_ADVERTISED_LISTENERS": listeners})
    container.with_volume_mapping(PROJECT / "deploy" / "kafka", "/mnt/shared/config")
    for mount in service["tmpfs"]:
        folder, _, options = mount.partition(":")
        container.with_tmpfs_mount(folder, options)
    container.ports[str(KAFKA_PORT)] = ("127.0.0.1", port)  # type: ignore[assignment]
    container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(START_TIMEOUT_S))
    with container:
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def api(postgres_url: str, bootstrap_servers: str, processes: Processes) -> Iterator[httpx.Client]:
    """Start migrations, topics, coordinator and participants in the order in which a person would."""
    port = free_port()
    environment = {
        "SAGA_DATABASE__URL": postgres_url,
        "SAGA_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "SAGA_API__PORT": str(port),
        "SAGA_METRICS__PORT": "0",
    }
    # `migrate` makes the coordinator's role; participants make tables of their own, as the owner.
    place = postgres_url.rpartition("@")[2]
    as_application = environment | {
        "SAGA_DATABASE__MIGRATION_URL": postgres_url,
        "SAGA_DATABASE__URL": f"postgresql://saga_app:{secrets.token_hex(8)}@{place}",
    }
    for command in ("migrate", "topics"):
        child = processes.python(command, "-m", "coordinator", command, environment=as_application)
        assert child.wait(READY_S) == 0, child.output()[-3000:]
    coordinator = processes.python("coordinator", "-m", "coordinator", "serve", environment=as_application)
    participants = [processes.python(name, "-m", f"participants.{name}", environment=environment) for name in ORDERS]
    coordinator.wait_until(http_ok(f"http://127.0.0.1:{port}/readyz"), timeout_s=READY_S, what="ready")
    for participant in participants:
        participant.wait_for_line("^ready$|\nready\n", timeout_s=READY_S)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
        yield client
    _stop([coordinator, *participants])


def test_an_order_completes_on_containers(api: httpx.Client) -> None:
    """On the Postgres and the Kafka that the compose file names, an order goes through all four participants."""
    saga = end_of(api, start(api, order()))
    assert saga["status"] == "completed"
    assert [step["outcome"] for step in saga["steps"]] == ["completed"] * 4


def test_a_refused_order_is_undone_on_containers(api: httpx.Client) -> None:
    """A declined card undoes the reservation and nothing else."""
    saga = end_of(api, start(api, order(card={"token": "tok_declined"})))
    assert saga["status"] == "failed"
    assert [step["undo"] for step in saga["steps"]] == ["compensated", "none", "none", "none"]


def _stop(children: list[Child]) -> None:
    codes = {child.name: child.stop(grace_s=15) for child in children}
    assert set(codes.values()) == {0}, codes
