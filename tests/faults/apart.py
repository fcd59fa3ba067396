"""A network namespace, and the one line between it and this machine, which can be cut each way."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from types import TracebackType
from typing import Literal, Self

import httpx

from deploy.local.processes import free_port
from tests.e2e.world import Coordinator, World

Ways = Literal["out", "in", "both"]

TOOLS = ("ip", "iptables")


class Apart:
    """A namespace of its own; `here` is this machine's address on the line, `there` that of what runs inside."""

    # The kernel takes a line away some time after its namespace, so no two have one name.
    _numbers = itertools.count()

    def __init__(self) -> None:
        number = next(self._numbers)
        self.name = f"saga{os.getpid()}n{number}"
        net = f"10.231.{(os.getpid() + number) % 250}"
        self.here, self.there = f"{net}.1", f"{net}.2"

    def __enter__(self) -> Self:
        _run("ip", "netns", "add", self.name)
        try:
            self._connect()
        except subprocess.CalledProcessError:
            self.__exit__(None, None, None)
            raise
        return self

    def _connect(self) -> None:
        outside, inside = f"{self.name}h"[-15:], "eth0"
        _run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", self.name)
        _run("ip", "addr", "add", f"{self.here}/24", "dev", outside)
        _run("ip", "link", "set", outside, "up")
        self._inside("ip", "addr", "add", f"{self.there}/24", "dev", inside)
        for device in (inside, "lo"):
            self._inside("ip", "link", "set", device, "up")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("ip", "netns", "delete", self.name)

    def cut(self, port: int, ways: Ways) -> None:
        """Lose what goes out to a port of this machine, what comes in from it, or both; nobody is told."""
        if ways != "in":
            self._inside("iptables", "-A", "OUTPUT", "-p", "tcp", "--dport", str(port), "-j", "DROP")
        if ways != "out":
            self._inside("iptables", "-A", "INPUT", "-p", "tcp", "--sport", str(port), "-j", "DROP")

    def mend(self) -> None:
        """Be whole again."""
        self._inside("iptables", "-F")

    def launch(self, world: World, name: str, **settings: str) -> Coordinator:
        """Start a coordinator inside, without waiting for it."""
        port, metrics_port = free_port(), free_port()
        places = {
            "SAGA_INSTANCE": name,
            "SAGA_API__HOST": self.there,
            "SAGA_API__PORT": str(port),
            "SAGA_API__INSECURE": "true",
            "SAGA_METRICS__HOST": self.there,
            "SAGA_METRICS__PORT": str(metrics_port),
            "PYTHONUNBUFFERED": "1",
        }
        child = world.stack.processes.start(
            f"{world.database}-{name}",
            ["ip", "netns", "exec", self.name, sys.executable, "-m", "coordinator", "serve", "--role", "all"],
            environment=world.environment(**places, **settings),
        )
        coordinator = Coordinator(child, port, metrics_port)
        coordinator.url = f"http://{self.there}:{port}"
        coordinator.http = httpx.AsyncClient(
            base_url=coordinator.url, timeout=30, limits=httpx.Limits(keepalive_expiry=2)
        )
        world.coordinators.append(coordinator)
        return coordinator

    def _inside(self, *command: str) -> None:
        _run("ip", "netns", "exec", self.name, *command)


def why_not() -> str | None:
    """Say why this machine can have no such namespace."""
    if os.geteuid() != 0:
        return "needs root for network namespaces"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"needs {' and '.join(missing)}"
    try:
        with Apart() as apart:
            apart.cut(1, "both")
    except subprocess.CalledProcessError as error:
        return f"this machine gives no network namespaces: {error.stderr.strip()}"
    return None


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
