"""docker-compose.yml, run as a project of its own: nothing that its user runs is touched."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import docker
import httpx
import yaml
from docker.models.containers import Container

from deploy.local.choice import LocalStackError
from deploy.local.places import PROJECT
from deploy.local.processes import free_port

COMPOSE_FILE = PROJECT / "docker-compose.yml"
OURS = "saga-coordinator:"
UP_TIMEOUT_S = 900
DOWN_TIMEOUT_S = 120
COMMAND_TIMEOUT_S = 120
TAIL_LINES = 30

ORDERS = ("inventory", "payment", "shipping", "notification")
TRANSFERS_AND_TRIPS = ("accounts", "ledger", "hotel", "flight", "car")
COORDINATORS_AND_PARTICIPANTS = ("coordinator", *ORDERS, *TRANSFERS_AND_TRIPS)
SERVERS = ("postgres", "kafka", "prometheus")
LONG_RUNNING = (*COORDINATORS_AND_PARTICIPANTS, *SERVERS)
PORTS = {"coordinator": 8080, "prometheus": 9090, "postgres": 5432, "kafka": 9092}
"""What is published: service -> port inside its container."""


def compose_file() -> dict[str, Any]:
    """Return docker-compose.yml as it is written, with its ${VARIABLES} in place."""
    parsed: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return parsed


def images_of_the_compose_file() -> list[str]:
    """Name the images that are not built from this project."""
    images = {service["image"] for service in compose_file()["services"].values()}
    return sorted(image for image in images if not image.startswith(OURS))


class Composition:
    """One `docker compose` project with its own name, ports, volumes, password and image tag."""

    def __init__(self, engine: docker.DockerClient) -> None:
        self.project = f"saga-test-{secrets.token_hex(4)}"
        self.ports = {service: free_port() for service in PORTS}
        self._engine = engine
        self._image = f"{OURS}{self.project}"
        # What a user has set for compose (files, profiles, a project's name) is not for this one.
        foreign = ("COMPOSE_",)
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self._environment |= {f"{service.upper()}_PORT": str(port) for service, port in self.ports.items()}
        self.owner_password, self.application_password = secrets.token_hex(8), secrets.token_hex(8)
        self._environment["POSTGRES_PASSWORD"] = self.owner_password
        self._environment["APPLICATION_PASSWORD"] = self.application_password
        self._environment["SAGA_TAG"] = self.project

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._compose("down", "--volumes", "--remove-orphans", "--timeout", "10", timeout_s=DOWN_TIMEOUT_S)
        subprocess.run(["docker", "image", "rm", "--force", self._image], capture_output=True, check=False)

    def up(self, *, build: bool = False) -> None:
        """Start what does not run and wait until all is healthy; raises LocalStackError with the logs that say why."""
        done = self._compose("up", "--detach", "--wait", *(["--build"] if build else []), timeout_s=UP_TIMEOUT_S)
        if done.returncode != 0:
            logs = self._compose("logs", "--no-color", "--tail", str(TAIL_LINES), timeout_s=DOWN_TIMEOUT_S).stdout
            states = self._compose("ps", "--all", timeout_s=DOWN_TIMEOUT_S).stdout
            raise LocalStackError(f"docker compose up failed:\n{done.stderr[-4000:]}\n{states}\n{logs}")

    def stop(self, service: str, *, grace_s: int) -> int:
        """Send SIGTERM, wait, and return the exit code: 137 if it had to be killed after `grace_s`."""
        self._compose("stop", "--timeout", str(grace_s), service, timeout_s=grace_s + DOWN_TIMEOUT_S)
        return int(self.inspect(service)["State"]["ExitCode"])

    def container(self, service: str) -> Container:
        """Return a service's container, running or not."""
        labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}"]
        [found] = self._engine.containers.list(all=True, filters={"label": labels})
        return found

    def inspect(self, service: str) -> dict[str, Any]:
        """Return what the engine knows about a service's container."""
        attributes: dict[str, Any] = self.container(service).attrs
        return attributes

    def execute(self, service: str, *command: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
        """Run a command in a service's container and return its exit code and output."""
        code, output = self.container(service).exec_run(list(command), environment=environment)
        return code, output.decode(errors="replace")

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `docker compose` with this project, as a person would, and return what it said."""
        return self._compose(*arguments, timeout_s=COMMAND_TIMEOUT_S)

    def http(self, service: str, token: str | None = None) -> httpx.Client:
        """Return a client of a service's published port; the coordinator sees the administrator's token, or `token`."""
        shown = self.token() if token is None and service == "coordinator" else token
        headers = {"Authorization": f"Bearer {shown}"} if shown else {}
        # Whatever proxy the environment names, it has no business between us and this machine.
        url = f"http://127.0.0.1:{self.ports[service]}"
        return httpx.Client(base_url=url, timeout=30, trust_env=False, headers=headers)

    def token(self) -> str:
        """Return the administrator's token, got as the compose file's header says."""
        code, output = self.execute("coordinator", "cat", "/run/keys/admin")
        assert code == 0, output
        return output.strip()

    def _compose(self, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "compose", "--ansi", "never", "--file", str(COMPOSE_FILE), "-p", self.project, *arguments],
            cwd=Path(COMPOSE_FILE).parent,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
