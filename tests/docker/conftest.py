"""The Docker engine of this machine, or the reason why these tests cannot run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

from deploy.local.places import PROJECT, RunDirectory
from deploy.local.processes import Processes
from tests.docker.composition import Composition, images_of_the_compose_file

ADVICE = "start Docker 20.10 or newer with its compose plugin, then run `make test-docker` again"
ENGINE_TIMEOUT_S = 60

Say = Callable[[str], None]

# All that this tier starts is published on 127.0.0.1. Where a /.dockerenv file lies about, testcontainers would look
# for its own helper at the bridge's address instead. It reads this when it is imported, which happens later.
os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Say:
    """Write a line on the terminal while tests run: some of these steps take minutes."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")

    def write(line: str) -> None:
        if terminal is not None and capture is not None:
            with capture.global_and_fixture_disabled():
                terminal.ensure_newline()
                terminal.write_line(f"docker tier: {line}")

    return write


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """Give a client of the Docker engine, or skip."""
    try:
        client = docker.from_env(timeout=ENGINE_TIMEOUT_S)
        client.ping()
    except (DockerException, OSError) as error:
        where = os.environ.get("DOCKER_HOST", "the default socket")
        pytest.skip(f"docker tier: no engine answers at {where} ({_in_one_line(error)}); {ADVICE}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def has_image(engine: docker.DockerClient, say: Say) -> Callable[[str], None]:
    """Give what makes sure of an image: it is there, or it is pulled, or the test is skipped."""

    def make_sure(image: str) -> None:
        try:
            engine.images.get(image)
        except ImageNotFound:
            say(f"pulling {image}")
            try:
                engine.images.pull(image)
            except (DockerException, OSError) as error:
                reason = _in_one_line(error)
                pytest.skip(f"docker tier: an engine answers, but has no {image} and cannot pull it ({reason})")

    return make_sure


@pytest.fixture(scope="session")
def composition(engine: docker.DockerClient, has_image: Callable[[str], None], say: Say) -> Iterator[Composition]:
    """Give everything of docker-compose.yml, built, started and healthy; removed with its volumes at the end."""
    if not _has_compose():
        pytest.skip(f"docker tier: an engine answers, but there is no `docker compose`; {ADVICE}")
    base = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    for image in [*base, *images_of_the_compose_file()]:
        has_image(image)
    with Composition(engine) as running:
        say(f"docker compose -p {running.project} up --build --wait (some minutes when nothing is built yet)")
        running.up(build=True)
        yield running


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    """Give what starts processes on this machine and ends them with the session."""
    run = RunDirectory()
    with Processes(run) as children:
        yield children
    run.close()


def _has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False, timeout=ENGINE_TIMEOUT_S)
    return asked.returncode == 0


def _in_one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
