"""One container of a local stack, started and cleaned up by testcontainers."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deploy.local.choice import LocalStackError, Say, Unavailable

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

POLL_S = 0.1
ENGINE_TIMEOUT_S = 60


class Container:
    """A started container with one published port."""

    def __init__(self, outer: DockerContainer, image: str) -> None:
        self._outer = outer
        self._image = image
        self._started_at: float | None = None

    def wait_for_log(self, text: str, timeout_s: float) -> None:
        """Wait until `text` is in what it wrote since its last start."""
        deadline = time.monotonic() + timeout_s
        while text.encode() not in (logs := self._inner.logs(since=self._started_at)):
            self._inner.reload()
            if self._inner.status == "exited" or time.monotonic() > deadline:
                tail = "\n  | ".join(logs.decode(errors="replace").splitlines()[-15:])
                raise LocalStackError(f"the container of {self._image} did not get ready:\n  | {tail}")
            time.sleep(POLL_S)

    def start(self) -> None:
        """Start it again after stop or kill."""
        self._started_at = time.time()
        self._inner.start()

    def stop(self, signal: str | None = None) -> None:
        """Ask it to end and wait for that."""
        if signal:
            self._inner.kill(signal)
            self._inner.wait()
        else:
            self._inner.stop()

    def kill(self) -> None:
        """End it at once."""
        self._inner.kill()
        self._inner.wait()

    def pause(self) -> None:
        """Freeze it."""
        self._inner.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._inner.unpause()

    def remove(self) -> None:
        """Remove it with its data."""
        self._outer.stop(force=True, delete_volume=True)

    @property
    def _inner(self) -> Any:
        return self._outer.get_wrapped_container()


def started(
    image: str,
    *,
    environment: Mapping[str, str],
    inner_port: int,
    port: int,
    say: Say,
    command: list[str] | None = None,
) -> Container:
    """Start a container of `image` with `inner_port` published on 127.0.0.1:`port`.

    Raises Unavailable if no engine answers or the image is neither there nor to be had.
    """
    if not _engine_has(image):
        say(f"docker: {image} is not on this engine; pulling it")
    container = _prepared(image, command)
    container.with_envs(**environment)
    # docker-py takes an (address, port) pair, which testcontainers' own method does not.
    container.ports[str(inner_port)] = ("127.0.0.1", port)  # type: ignore[assignment]
    try:
        container.start()
    except Exception as error:
        container.stop()
        raise Unavailable(f"an engine answers, but {image} cannot be started: {_in_one_line(error)}") from error
    return Container(container, image)


def _prepared(image: str, command: list[str] | None) -> DockerContainer:
    # Imported late: it is slow, and needed only where an engine answers.
    from testcontainers.core.config import ConnectionMode, testcontainers_config  # noqa: PLC0415
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415

    # Ports are published on this machine's loopback: guessing another way in, as testcontainers does
    # where this program runs in a container itself, would make its cleaner unreachable.
    testcontainers_config.connection_mode_override = ConnectionMode.docker_host
    try:
        container = DockerContainer(image)
    except Exception as error:
        raise Unavailable(f"an engine answers, but not to testcontainers: {_in_one_line(error)}") from error
    return container.with_command(command) if command else container


def _engine_has(image: str) -> bool:
    import docker  # noqa: PLC0415 - slow to import, needed only when nothing better was found
    from docker.errors import DockerException, ImageNotFound  # noqa: PLC0415

    try:
        docker.from_env(timeout=ENGINE_TIMEOUT_S).images.get(image)
    except ImageNotFound:
        return False
    except (DockerException, OSError) as error:
        where = os.environ.get("DOCKER_HOST", "the default socket")
        raise Unavailable(f"no Docker engine answers at {where}: {_in_one_line(error)}") from error
    return True


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
