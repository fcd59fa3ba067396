"""Starts the programs of these tests without their imports, which take longer than most runs do.

A nursery is a process that has imported everything and begun nothing. Whatever it is asked to start is a fork of it: a
process of its own, with its own group, environment, connections and output, that can be killed like any other.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from deploy.local.places import PROJECT
from deploy.local.processes import Child

IMPORTED: Final = (
    "coordinator.command",
    "coordinator.cli",
    "tests.crash.api_points",
    "tests.crash.engine_points",
    "tests.crash.migration_points",
    "tests.crash.definitions",
    "tests.crash.coordinator",
    "tests.crash.participant",
    *(f"participants.{name}.handlers" for name in ("inventory", "payment", "shipping", "notification")),
)
BORN_S: Final = 60.0  # the first one waits for the imports
SET_PARENT_DEATH_SIGNAL: Final = 1
CHUNK_BYTES: Final = 65_536


class Born:
    """A process that a nursery has started; what `Child` asks of a process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended = threading.Event()
        self.exit_code: int | None = None

    def poll(self) -> int | None:
        """None while it runs; negative is the number of the signal that ended it."""
        return self.exit_code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; raises subprocess.TimeoutExpired."""
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        assert self.exit_code is not None
        return self.exit_code

    def send_signal(self, number: int) -> None:
        """Send a signal to it alone."""
        os.kill(self.pid, number)


class Nursery:
    """The side of the tests; its children end with it, and it ends with this process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "tests.crash.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            start_new_session=True,
        )
        self._known: dict[int, Born] = {}
        self._newest: Born | None = None
        self._told = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, name: str, module: str, *arguments: str, environment: Mapping[str, str], log: Path) -> Child:
        """Start a module's `main` with its output at the end of a file."""
        log.touch()
        log_start = log.stat().st_size
        asked = {"module": module, "arguments": arguments, "environment": dict(environment), "log": str(log)}
        assert self._process.stdin is not None
        with self._told:
            self._newest = None
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
            self._told.wait_for(lambda: self._newest is not None, BORN_S)
            assert self._newest is not None, "the nursery does not answer"
            return Child(name, self._newest, log, log_start)

    def close(self) -> None:
        """End it, and with it whatever it has started."""
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told: dict[str, Any] = json.loads(line)
            with self._told:
                if "code" in told:
                    born = self._known.pop(told["pid"])
                    born.exit_code = told["code"]
                    born.ended.set()
                else:
                    self._newest = self._known[told["pid"]] = Born(told["pid"])
                self._told.notify_all()


def main() -> None:
    """Import everything, then start what the lines of the standard input ask for, until they end."""
    for module in IMPORTED:
        importlib.import_module(module)
    awake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(awake, selectors.EVENT_READ)
    pending = b""
    while True:
        for key, _ in selector.select():
            read = os.read(key.fd, CHUNK_BYTES)
            if key.fd == awake:
                _tell_of_the_dead()
                continue
            if not read:
                return  # the children get the signal that our end sends them
            *whole, pending = (pending + read).split(b"\n")
            for line in whole:
                _say(pid=_fork(json.loads(line), [awake, waker]))


def _tell_of_the_dead() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say(pid=pid, code=os.waitstatus_to_exitcode(status))


def _say(**told: int) -> None:
    os.write(1, json.dumps(told).encode() + b"\n")


def _fork(asked: Mapping[str, Any], ours: Sequence[int]) -> int:
    nursery = os.getpid()
    pid = os.fork()
    if pid == 0:
        _leave(nursery, ours)
        _live(asked)
    return pid


def _leave(nursery: int, ours: Sequence[int]) -> None:
    """Be a process of its own, that ends when the nursery does."""
    os.setsid()
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != nursery:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in ours:
        os.close(descriptor)


def _live(asked: Mapping[str, Any]) -> NoReturn:
    """Be the program that was asked for, to its end."""
    silence = os.open(os.devnull, os.O_RDONLY)
    output = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor, place in ((silence, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, place)
    os.environ.update(asked["environment"])
    sys.argv = [asked["module"], *asked["arguments"]]
    code = 1
    try:
        importlib.import_module(asked["module"]).main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - whatever it is, it ends this process with what Python says of it
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
