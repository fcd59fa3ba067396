"""docker-compose.yml for real: built, started, used, looked into, stopped."""

from __future__ import annotations

import itertools
import socket

import httpx
import psutil
import pytest

from tests.docker.api import end_of, start, wait_for
from tests.docker.composition import COORDINATORS_AND_PARTICIPANTS, LONG_RUNNING, PORTS, Composition
from tests.e2e.orders import order

pytestmark = pytest.mark.timeout(1200)  # the first test builds the image and starts everything

GRACE_S = 15
IMAGE_USER = "10001"


def test_an_order_completes_and_prometheus_has_counted_it(composition: Composition) -> None:
    """`docker compose up --wait` is enough: an order sent to the published port is carried out, and is measured."""
    with composition.http("coordinator") as api:
        saga = end_of(api, start(api, order()))
    assert saga["status"] == "completed"
    assert [step["outcome"] for step in saga["steps"]] == ["completed"] * 4
    with composition.http("prometheus") as prometheus:
        assert wait_for(lambda: _value(prometheus, "sum(saga_started_total)"), 60, "saga_started_total > 0") > 0
        assert _value(prometheus, 'up{job="coordinator"}') == 1


def test_a_refused_order_is_undone(composition: Composition) -> None:
    """An order whose address is not served ends failed, with the payment and the reservation undone."""
    with composition.http("coordinator") as api:
        address = {"country": "AQ", "city": "South Pole", "street": "Station 1"}
        saga = end_of(api, start(api, order(address=address)))
    assert saga["status"] == "failed"
    assert [step["undo"] for step in saga["steps"]] == ["compensated", "compensated", "none", "none"]


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_no_process_is_root(composition: Composition, service: str) -> None:
    """Every process of every container runs as an ordinary user, ours as the number that the image promises."""
    # Docker's own helper runs as root for the moment in which it enters a container for a health check.
    users = {user for _, user, name in _processes(composition, service) if not name.startswith("runc")}
    assert users
    assert "0" not in users
    if service in COORDINATORS_AND_PARTICIPANTS:
        assert users == {IMAGE_USER}


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_the_root_file_system_is_read_only(composition: Composition, service: str) -> None:
    """Nobody who gets into a container can change the programs in it."""
    assert composition.inspect(service)["HostConfig"]["ReadonlyRootfs"] is True


@pytest.mark.parametrize("service", COORDINATORS_AND_PARTICIPANTS)
def test_our_containers_have_no_powers(composition: Composition, service: str) -> None:
    """A process of ours cannot write outside /tmp, has no capability, and can gain none."""
    write = "import sys; open(sys.argv[1], 'w')"
    code, output = composition.execute(service, "python", "-c", write, "/app/changed.py")
    assert (code, "Read-only file system" in output) == (1, True)
    assert composition.execute(service, "python", "-c", write, "/tmp/written")[0] == 0  # noqa: S108 - in the container
    status = dict(
        line.split(":\t", 1)
        for line in composition.execute(service, "cat", "/proc/1/status")[1].splitlines()
        if ":\t" in line
    )
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"


def test_ports_are_open_to_this_machine_only(composition: Composition) -> None:
    """Four ports are published, on 127.0.0.1; no other address of this machine leads to them."""
    published = {}
    for service in LONG_RUNNING:
        bindings = composition.inspect(service)["NetworkSettings"]["Ports"]
        for port, addresses in bindings.items():
            for address in addresses or []:
                published[service, port] = (address["HostIp"], int(address["HostPort"]))
    assert published == {
        (service, f"{inside}/tcp"): ("127.0.0.1", composition.ports[service]) for service, inside in PORTS.items()
    }
    for address, port in itertools.product(_other_addresses(), composition.ports.values()):
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex((address, port)) != 0, f"{address}:{port} is open"


@pytest.mark.parametrize("service", COORDINATORS_AND_PARTICIPANTS)
def test_sigterm_ends_a_service_in_order(composition: Composition, service: str) -> None:
    """SIGTERM is enough: exit code 0 within 15 seconds, and `up` brings the service back to work."""
    assert composition.stop(service, grace_s=GRACE_S) == 0
    composition.up()
    with composition.http("coordinator") as api:
        assert end_of(api, start(api, order()))["status"] == "completed"


def _value(prometheus: httpx.Client, query: str) -> float | None:
    answer = prometheus.get("/api/v1/query", params={"query": query})
    results = answer.raise_for_status().json()["data"]["result"]
    return float(results[0]["value"][1]) if results else None


def _processes(composition: Composition, service: str) -> list[list[str]]:
    listed = composition.container(service).top(ps_args="-o pid,uid,comm")
    return [list(row) for row in listed["Processes"]]


def _other_addresses() -> set[str]:
    every = itertools.chain.from_iterable(psutil.net_if_addrs().values())
    return {item.address for item in every if item.family == socket.AF_INET and not item.address.startswith("127.")}
