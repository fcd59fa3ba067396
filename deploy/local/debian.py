"""Programs and libraries out of Debian's packages, unpacked into a folder of our own without being root."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

FETCH_TIMEOUT_S = 300.0


def unpack(package: str, home: Path) -> bool:
    """Download a package and unpack it into `home`; False where this machine cannot.

    Where it has no lists of packages, lists of our own are used.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return False
    home.mkdir(parents=True, exist_ok=True)
    if not _download(package, home):
        state, cache = home / "apt" / "state", home / "apt" / "cache"
        for folder in (state / "lists" / "partial", cache / "archives" / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        own = (f"-oDir::State::lists={state / 'lists'}", f"-oDir::Cache={cache}")
        if not (_run(home, "apt-get", *own, "update") and _download(package, home, *own)):
            return False
    archive = next(home.glob(f"{package}_*.deb"))
    if not _run(home, "dpkg-deb", "-x", str(archive), str(home)):
        return False
    archive.unlink()
    return True


def _download(package: str, home: Path, *options: str) -> bool:
    return _run(home, "apt-get", *options, "download", package) and any(home.glob(f"{package}_*.deb"))


def _run(home: Path, *command: str) -> bool:
    try:
        done = subprocess.run(command, cwd=home, capture_output=True, check=False, timeout=FETCH_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
