"""The repository checks itself: style that is not executed is a wish."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES_MAX = 400
OURS = ("coordinator", "participants", "sagas", "deploy", "benchmarks", "tests", "alembic")


def sources() -> Iterator[Path]:
    for folder in OURS:
        yield from (file for file in (ROOT / folder).rglob("*.py") if ".local" not in file.parts)


def test_no_file_holds_more_than_one_idea() -> None:
    """A source file has at most 400 lines."""
    long = {str(file.relative_to(ROOT)): count for file in sources() if (count := _lines(file)) > LINES_MAX}
    assert not long


def test_every_test_is_a_promise() -> None:
    """Every test function's docstring is a sentence."""
    silent = [
        f"{file.relative_to(ROOT)}: {node.name}"
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not (ast.get_docstring(node) or "").rstrip().endswith((".", "?", "!", ":"))
    ]
    assert not silent


def test_the_migrations_folder_is_no_package() -> None:
    """An __init__.py in alembic/ would shadow the installed package of that name."""
    assert not (ROOT / "alembic" / "__init__.py").exists()


@pytest.mark.parametrize("file", sorted((ROOT / "alembic" / "sql").rglob("*.sql")), ids=lambda file: file.name)
def test_constraints_have_sentences_for_names(file: Path) -> None:
    """A violated constraint tells a person what must be true."""
    names = re.findall(r"CONSTRAINT (\w+)", file.read_text())
    assert all(len(name.split("_")) >= 4 for name in names), names


@pytest.mark.parametrize(
    "file", sorted((ROOT / "coordinator" / "store" / "queries").glob("*.sql")), ids=lambda file: file.stem
)
def test_a_query_says_what_it_is_for(file: Path) -> None:
    """One statement per file, whose first comment begins with the file's name."""
    text = file.read_text()
    assert text.startswith(f"-- {file.stem}: ")
    assert ";" not in re.sub(r"--.*", "", text)


def test_sql_is_used() -> None:
    """No query file is dead."""
    code = "\n".join(file.read_text() for file in sources())
    dead = [
        file.stem for file in (ROOT / "coordinator" / "store" / "queries").glob("*.sql") if f'"{file.stem}"' not in code
    ]
    assert not dead


def _lines(file: Path) -> int:
    return len(file.read_text().splitlines())
