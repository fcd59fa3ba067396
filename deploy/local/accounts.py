"""Postgres refuses to run as root; this finds it an account and places that the account can reach."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from deploy.local.choice import Unavailable
from deploy.local.places import RunDirectory

UNPRIVILEGED = ("postgres", "nobody", "daemon")


class Identity(TypedDict):
    """Arguments of subprocess that switch the user; None leaves it."""

    user: int | None
    group: int | None


@dataclass(frozen=True)
class Account:
    """The user that a server runs as; `switched` if that is not the user who runs this program."""

    name: str
    uid: int
    gid: int
    switched: bool
    run: RunDirectory

    def identity(self) -> Identity:
        """Return what starts a process as this account."""
        return Identity(user=self.uid, group=self.gid) if self.switched else Identity(user=None, group=None)

    def own(self, path: Path) -> None:
        """Give a file or folder to this account."""
        if self.switched:
            os.chown(path, self.uid, self.gid)

    def folder(self, name: str, in_run: Callable[[str], Path]) -> Path:
        """Return a new folder of this account: in the run's directory if it can get there, else elsewhere."""
        folder = in_run(name)
        self.own(folder)
        return folder if self._reaches(folder) else self.short_folder(f"saga-{name}-")

    def short_folder(self, prefix: str) -> Path:
        """Return a new folder of this account under the system's temporary one, removed with the run.

        Its path is short enough for a unix socket.
        """
        for parent in ("/tmp", "/var/tmp", tempfile.gettempdir()):  # noqa: S108 - mkdtemp makes it private
            if not os.access(parent, os.W_OK):
                continue
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            self.run.remember_elsewhere(folder)
            self.own(folder)
            if self._reaches(folder):
                return folder
        raise Unavailable(f"no temporary folder that {self.name} can reach")

    def readable_copy(self, binaries: Path) -> Path:
        """Return `binaries`, or the same in a copy where this account cannot reach the original."""
        if self._reaches(binaries, "-x {}/postgres"):
            return binaries
        root = self.short_folder("saga-pgbin-")
        installation = binaries.parent
        copy = root / installation.parent.name / installation.name
        shutil.copytree(installation, copy, symlinks=True)
        # A wheel keeps the libraries that its binaries need in a folder next to the package.
        libraries = installation.parent.with_name(installation.parent.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, root / libraries.name, symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", str(root)], check=True)
        return copy / binaries.name

    def _reaches(self, folder: Path, test: str = "-x {}") -> bool:
        if not self.switched:
            return True
        check = "test " + test.format('"$1"')
        done = subprocess.run(["/bin/sh", "-c", check, "sh", str(folder)], check=False, cwd="/", **self.identity())
        return done.returncode == 0


def prepare_account(run: RunDirectory) -> Account:
    """Return this user, or for root the first unprivileged account there is."""
    if os.geteuid() != 0:
        own = pwd.getpwuid(os.geteuid())
        return Account(own.pw_name, own.pw_uid, own.pw_gid, switched=False, run=run)
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid, switched=True, run=run)
    raise Unavailable(f"you are root and none of the accounts {', '.join(UNPRIVILEGED)} exists")
