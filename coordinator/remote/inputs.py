"""What a person hands over: JSON on the command line, in a file, or on standard input; and text in their editor."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from coordinator.remote.refusals import misused


def text_of(given: str, option: str) -> str:
    """The text of a file, or of standard input for -; raises Refusal."""
    try:
        return sys.stdin.read() if given == "-" else Path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "is no UTF-8"
        raise misused(f"{option} {given}: {what}") from error


def json_of(given: str, option: str) -> Any:
    """JSON that is given as it is, in a file, or on standard input; raises Refusal with the place of a mistake."""
    is_json = given.lstrip().startswith(("{", "["))
    text = given if is_json else text_of(given, option)
    try:
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_once)
    except ValueError as error:
        raise misused(f"{option}: {'the JSON' if is_json else given} makes no sense: {error}") from error


def edited(text: str, suffix: str) -> str:
    """The text as the person leaves it in their editor; raises Refusal when there is none or it fails."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    descriptor, name = tempfile.mkstemp(suffix=suffix, prefix="saga-")
    file = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
        subprocess.run([*shlex.split(editor), name], check=True)  # noqa: S603 - the person's own editor
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise misused(f"the editor {editor!r} did not work: {error}; EDITOR names another") from error
    finally:
        file.unlink(missing_ok=True)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name that comes twice is a slip that would silently lose a value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")
