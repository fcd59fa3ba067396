"""SQL lives in files, one statement each; the file's name is the statement's name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final


class Statements:
    """The SQL files of one folder, read once each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._texts: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """Read `<name>.sql`."""
        text = self._texts.get(name)
        if text is None:
            text = self._texts[name] = (self._folder / f"{name}.sql").read_text(encoding="utf-8")
        return text


statement: Final = Statements(Path(__file__).with_name("queries"))


@cache
def kit_tables() -> str:
    """Read the tables that every participant has beside its own."""
    return Path(__file__).with_name("tables.sql").read_text(encoding="utf-8")
