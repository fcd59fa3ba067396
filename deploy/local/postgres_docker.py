"""Postgres in a container, for machines where neither the wheel nor an installed server runs."""

from __future__ import annotations

import secrets
import time

import asyncpg

from deploy.local.choice import LocalStackError, Say, Unavailable
from deploy.local.containers import Container, started
from deploy.local.database import Database, check_connection
from deploy.local.processes import free_port

IMAGE = "postgres:17"
SERVER_PORT = 5432
START_TIMEOUT_S = 60.0
POLL_S = 0.1
SUPERUSER = "saga"
COMMAND = ["postgres", "-c", "max_connections=200", "-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB"]


class DockerPostgres(Database):
    """A server in a container whose port is published on 127.0.0.1 and stays the same."""

    kind = "docker"

    def __init__(self, url: str, port: int, container: Container) -> None:
        super().__init__(url, f"{IMAGE} in a container at 127.0.0.1:{port}")
        self._container = container

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it fast (SIGINT) or at once without a checkpoint (SIGQUIT)."""
        self._container.stop("SIGQUIT" if immediate else "SIGINT")

    def kill(self) -> None:
        """Kill the container."""
        self._container.kill()

    def start(self) -> None:
        """Start the same container again and wait until it serves."""
        self._container.start()
        self.wait_until_it_serves()

    def pause(self) -> None:
        """Freeze the container."""
        self._container.pause()

    def resume(self) -> None:
        """Let the container go on."""
        self._container.resume()

    def close(self) -> None:
        """Remove the container and what it holds."""
        self._container.remove()

    def wait_until_it_serves(self) -> None:
        """Wait for the first accepted connection; raises LocalStackError after a minute."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return check_connection(self.admin_url)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if time.monotonic() > deadline:
                    raise LocalStackError(f"the container of {IMAGE} does not serve: {error}") from error
            time.sleep(POLL_S)


def start_in_docker(say: Say) -> DockerPostgres:
    """Start a container; raises Unavailable if no engine answers or the image cannot be had."""
    port = free_port()
    password = secrets.token_hex(12)
    environment = {"POSTGRES_USER": SUPERUSER, "POSTGRES_PASSWORD": password, "POSTGRES_DB": "postgres"}
    container = started(IMAGE, environment=environment, inner_port=SERVER_PORT, port=port, say=say, command=COMMAND)
    url = f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/postgres"
    server = DockerPostgres(url, port, container)
    try:
        server.wait_until_it_serves()
    except LocalStackError as error:
        server.close()
        raise Unavailable(str(error)) from error
    return server
