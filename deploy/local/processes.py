"""Child processes with a log file each, waited for by condition and ended with their parent."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from deploy.local.choice import LocalStackError
from deploy.local.places import PROJECT, RunDirectory

Condition = Callable[[], bool]
POLL_S = 0.02
STOP_S = 5.0
TAIL_LINES = 25
LOWEST_PORT = 15000


class ChildDied(LocalStackError):
    """A child process ended, or never became ready; the message ends with the tail of its log."""


class Child:
    """One running process, leader of its own group, whose output goes to `log`."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path, log_start: int) -> None:
        self.name = name
        self.log = log
        self._popen = popen
        self._log_start = log_start

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative is the number of the signal that ended it."""
        return self._popen.poll()

    def output(self) -> str:
        """Return what this process has written since it was started."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def wait_until(self, condition: Condition, *, timeout_s: float, what: str) -> None:
        """Wait for `condition`; raises ChildDied with the log's tail if the child ends or time is up."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self.exit_code is not None:
                raise ChildDied(f"{self.name} ended with {self.exit_code} before it was {what}{self._tail()}")
            if time.monotonic() > deadline:
                raise ChildDied(f"{self.name} was not {what} within {timeout_s:g} s{self._tail()}")
            time.sleep(POLL_S)

    def wait_for_line(self, pattern: str, *, timeout_s: float) -> re.Match[str]:
        """Wait until the output has `pattern` (a regular expression) and return the match."""
        found: list[re.Match[str]] = []

        def seen() -> bool:
            found.extend(re.finditer(pattern, self.output()))
            return bool(found)

        self.wait_until(seen, timeout_s=timeout_s, what=f"ready (no line like {pattern!r})")
        return found[0]

    def wait(self, timeout_s: float) -> int:
        """Wait for the end and return the exit code; raises subprocess.TimeoutExpired."""
        return self._popen.wait(timeout_s)

    def send(self, number: int) -> None:
        """Send a signal to the process itself, not to its group."""
        if self.exit_code is None:
            self._popen.send_signal(number)

    def pause(self) -> None:
        """Freeze the whole group, as a stalled machine would; returns when its leader stands still."""
        self._signal_group(signal.SIGSTOP)
        # A process with many threads stops a moment after the signal, and until then it answers.
        deadline = time.monotonic() + STOP_S
        with contextlib.suppress(psutil.Error):
            while psutil.Process(self.pid).status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
                time.sleep(POLL_S / 10)

    def resume(self) -> None:
        """Let a frozen group run again."""
        self._signal_group(signal.SIGCONT)

    def kill(self) -> None:
        """End the process and all its descendants at once (SIGKILL) and wait until they are gone."""
        # Descendants may lead groups of their own (Postgres backends do), so they are looked up one by one.
        descendants: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            descendants = psutil.Process(self.pid).children(recursive=True)
        self._signal_group(signal.SIGKILL)
        for descendant in descendants:
            with contextlib.suppress(psutil.Error):
                descendant.kill()
        self._popen.wait()
        psutil.wait_procs(descendants, timeout=10)

    def stop(self, number: int = signal.SIGTERM, *, grace_s: float = 10.0) -> int:
        """Ask the process to end, kill it after `grace_s`, and return its exit code."""
        if self.exit_code is None:
            self.resume()
            self.send(number)
            try:
                self._popen.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._popen.wait()

    def _signal_group(self, number: int) -> None:
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def _tail(self) -> str:
        lines = self.output().splitlines()[-TAIL_LINES:]
        return "\n".join([f"; the end of {self.log}:", *(f"  | {line}" for line in lines)])


class Processes:
    """The children of one run; leaving the context, or the interpreter, stops them all."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._children: list[Child] = []
        atexit.register(self.stop_all)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path = PROJECT,
        user: int | None = None,
        group: int | None = None,
        death_signal: int = signal.SIGKILL,
    ) -> Child:
        """Start `command` with its output in <run>/<name>.log, after what an earlier start wrote there.

        `environment` is added to this process's own; `death_signal` is what the child gets if we die.
        """
        log = self._run.path / f"{name}.log"
        with log.open("ab") as output:
            log_start = output.tell()
            popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=cwd,
                user=user,
                group=group,
                extra_groups=[] if user is not None else None,
                start_new_session=True,
                preexec_fn=_die_with_parent(death_signal),  # noqa: PLW1509 - one system call, no locks
            )
        self._run.remember_process(popen.pid)
        child = Child(name, popen, log, log_start)
        self._children.append(child)
        return child

    def python(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Child:
        """Start this interpreter with `arguments`, unbuffered, in the project's folder."""
        return self.start(
            name, [sys.executable, "-u", *arguments], environment={"PYTHONUNBUFFERED": "1", **(environment or {})}
        )

    def stop_all(self) -> None:
        """Stop every child that still runs, the youngest first."""
        atexit.unregister(self.stop_all)
        while self._children:
            self._children.pop().stop()


def port_open(port: int, host: str = "127.0.0.1") -> Condition:
    """Return a condition: something listens on this TCP port."""

    def condition() -> bool:
        try:
            with socket.create_connection((host, port), timeout=1):
                return True
        except OSError:
            return False

    return condition


def http_ok(url: str) -> Condition:
    """Return a condition: a GET on `url` answers with a 2xx."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy: this machine asks itself

    def condition() -> bool:
        try:
            with direct.open(url, timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    return condition


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nobody uses and that no outgoing connection will take."""
    # A port of the ephemeral range could be lost to a client, even to itself, while its server is down.
    for port in random.sample(range(LOWEST_PORT, _lowest_ephemeral_port()), 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise LocalStackError("200 TCP ports of 127.0.0.1 were tried and all are in use")


def _lowest_ephemeral_port() -> int:
    try:
        low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        low = 32768
    return low if low >= LOWEST_PORT + 1000 else 65536


def _die_with_parent(number: int) -> Callable[[], None] | None:
    # Linux ties the signal to the thread that forks: in a worker thread it would come too early.
    if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def in_child() -> None:
        set_parent_death_signal = 1
        libc.prctl(set_parent_death_signal, number)
        if os.getppid() != parent:
            os._exit(1)

    return in_child
