"""What a tier left behind: one JSON file, which names the commit, the content of the tree and the machine."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

DOCUMENT = "docs/reliability.md"  # written from the records: it is no part of what they speak of
NO_COMMIT = "no commit"


class Revision(msgspec.Struct, frozen=True):
    """What was proven: the commit, and a digest of the files that count as they lie there.

    `changed` says that some of them are not as in the commit.
    """

    commit: str
    content: str
    changed: bool = False

    @property
    def words(self) -> str:
        """The commit for people."""
        return f"{self.commit[:12]}, with changes that are not committed" if self.changed else self.commit[:12]


class Skipped(msgspec.Struct, frozen=True):
    """A test that could not run, and why."""

    name: str
    reason: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one tier; `figures` is what it said itself, `tests` what pytest counted, in words."""

    tier: str
    passed: bool
    revision: Revision
    machine: dict[str, str | int]
    command: str
    began_at: str
    duration_s: float
    exit_code: int | None
    figures: dict[str, Any] = msgspec.field(default_factory=dict)
    tests: dict[str, int] = msgspec.field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing ran at all: every test was skipped."""
        return self.passed and bool(self.skipped) and not self.tests.get("passed") and not self.figures


class Records:
    """The records of one folder, a file for each tier."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, record: Record) -> None:
        """Write a record, in place of an earlier one of its tier."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._file(record.tier)
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
        unfinished.rename(file)

    def find(self, tier: str, revision: Revision) -> Record | None:
        """The record of a tier, if it speaks of this content; its commit may be an earlier one with the same."""
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
            record = msgspec.json.decode(self._file(tier).read_bytes(), type=Record)
            if record.revision.content == revision.content:
                return record
        return None

    def _file(self, tier: str) -> Path:
        return self.folder / f"{tier}.json"


def revision_of(root: Path, reads: Sequence[str] = (".",)) -> Revision:
    """Say what lies in a folder: its commit where it is under git, and the content of some files and folders of it."""
    commit = _git(root, "rev-parse", "HEAD")
    listing = ("ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *reads)
    names = _git(root, *listing) if commit is not None else None
    if commit is None or names is None:
        return Revision(NO_COMMIT, _digest(root, _walk(root, reads)))
    status = _git(root, "status", "--porcelain", "--", *reads, f":(exclude){DOCUMENT}")
    return Revision(commit.strip(), _digest(root, [name for name in names.split("\0") if name]), bool(status))


def _digest(root: Path, names: list[str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(set(names) - {DOCUMENT}):
        file = root / name
        content = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "gone"
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def _walk(root: Path, reads: Sequence[str]) -> list[str]:
    named = [root / name for name in reads]
    found = [file for place in named for file in (place.rglob("*") if place.is_dir() else [place]) if file.is_file()]
    files = [file.relative_to(root) for file in found]
    return [
        str(file) for file in files if not any(part.startswith(".") or part == "__pycache__" for part in file.parts)
    ]


def _git(root: Path, *arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    done = subprocess.run([program, "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None
