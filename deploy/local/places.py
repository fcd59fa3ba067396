"""Where a run keeps its logs and data, and how the remains of a dead run are cleared away."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil

from deploy.local.choice import LocalStackError

PROJECT = Path(__file__).resolve().parents[2]
LOCAL = PROJECT / ".local"
RUNS = LOCAL / "runs"
KEPT_RUNS = 5


class RunDirectory:
    """One run's own folder under .local/runs; it counts as alive while this process holds its lock."""

    def __init__(self) -> None:
        try:
            with locked(LOCAL / "runs.lock"):
                _clear_dead_runs()
                self.path = _new_folder()
                self._lock = _try_lock(self.path / "lock")
        except PermissionError as error:
            raise LocalStackError(f"{error}; another user made {LOCAL}: remove it, or run as that user") from error

    def data(self, name: str) -> Path:
        """Return a new folder for data that is thrown away when the run ends."""
        folder = self.path / "data" / name
        folder.mkdir(parents=True)
        return folder

    def remember_elsewhere(self, folder: Path) -> None:
        """Note a folder outside .local that belongs to this run, so that it is removed with it."""
        with (self.path / "elsewhere").open("a") as file:
            file.write(f"{folder}\n")

    def remember_process(self, pid: int) -> None:
        """Note a child, so that a later run can end it if this one dies without doing so."""
        with contextlib.suppress(psutil.Error), (self.path / "processes").open("a") as file:
            file.write(f"{pid} {psutil.Process(pid).create_time()}\n")

    def close(self) -> None:
        """Remove this run's data; its logs stay until newer runs push them out."""
        _remove_data(self.path)
        if self._lock is not None:
            self._lock.close()
            self._lock = None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; the system frees it if the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _new_folder() -> Path:
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    for count in range(1000):
        folder = RUNS / (f"{stem}-{count}" if count else stem)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise FileExistsError(RUNS / stem)


def _try_lock(path: Path) -> IO[str] | None:
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _clear_dead_runs() -> None:
    RUNS.mkdir(parents=True, exist_ok=True)
    dead = []
    for run in sorted(RUNS.iterdir()):
        try:
            lock = _try_lock(run / "lock")
        except PermissionError:
            continue  # the remains of another user's run are that user's to remove
        if lock is None:
            continue
        _end_leftover_processes(run)
        _remove_data(run)
        lock.close()
        dead.append(run)
    for run in dead[:-KEPT_RUNS]:
        shutil.rmtree(run, ignore_errors=True)


def _end_leftover_processes(run: Path) -> None:
    # The start time tells our child from a stranger that got its number later.
    for line in _lines(run / "processes"):
        pid, created = line.split()
        with contextlib.suppress(psutil.Error, ValueError):
            process = psutil.Process(int(pid))
            if process.create_time() == float(created):
                for each in [*process.children(recursive=True), process]:
                    each.kill()


def _remove_data(run: Path) -> None:
    for folder in [run / "data", *map(Path, _lines(run / "elsewhere"))]:
        shutil.rmtree(folder, ignore_errors=True)
    (run / "elsewhere").unlink(missing_ok=True)
    (run / "processes").unlink(missing_ok=True)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []
