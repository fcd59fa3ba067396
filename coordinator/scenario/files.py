"""Scenario files: compared with what the machine answers, or written anew."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from coordinator.saga.definition import SagaDefinition
from coordinator.scenario.parser import ScenarioError
from coordinator.scenario.player import play


def read(path: Path) -> str:
    """Read a scenario; raises ScenarioError when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from None


def played(path: Path, definitions: Sequence[SagaDefinition]) -> tuple[str, str]:
    """A scenario as it is written, and as it should read; raises ScenarioError with file and line."""
    written = read(path)
    try:
        return written, play(written, definitions)[0]
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from None


def difference(path: Path, definitions: Sequence[SagaDefinition], *, rewrite: bool = False) -> list[str]:
    """The lines in which a scenario and what the machine answers differ, none where they agree.

    With `rewrite` the file is written anew as well. Raises ScenarioError when it cannot be played.
    """
    written, right = played(path, definitions)
    if rewrite and written != right:
        path.write_text(right, encoding="utf-8")
    return list(
        difflib.unified_diff(
            written.splitlines(), right.splitlines(), f"{path} (as written)", f"{path} (as played)", lineterm=""
        )
    )
