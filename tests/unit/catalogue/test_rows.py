"""Each row of the catalogue of bad input names tests that are there; a test that is renamed is missed here."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from tests.catalogue.rows import BODY, CASES, KAFKA, REST, STRANGERS, TABLE, Row
from tests.integration.api.bad_requests import BODIES, LISTS, PLACES
from tests.integration.api.routes import MALFORMED, strangers
from tests.integration.engine.cases import CASES as RECORDS

TESTS = Path(__file__).parents[2]
NAMES: Mapping[str, Collection[str]] = {
    CASES: [case.name for case in RECORDS],
    TABLE: [case.name for case in (*BODIES, *PLACES, *LISTS)],
    BODY: [*MALFORMED],
    STRANGERS: [*strangers("x")],
}


def _tests(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def _row_of(name: str) -> str:
    """The row of a table's entry: K9 of `K9-NaN`, H13 of `H13 chunks`."""
    return name.replace("-", " ", 1).split(" ", 1)[0] if name.startswith("K") else name.split(" ", 1)[0]


@pytest.mark.parametrize(("rows", "last"), [(KAFKA, 44), (REST, 46)], ids=["Kafka", "REST"])
def test_every_row_is_held_by_tests_that_are_there(rows: dict[int, Row], last: int) -> None:
    """K1 to K44 and H1 to H46 are all in the catalogue, each names a test, and each test that is named exists."""
    assert [*rows] == [*range(1, last + 1)]
    assert all(row.tests for row in rows.values())
    named = {name for row in rows.values() for name in row.tests}
    for file in {name.partition("::")[0] for name in named}:
        wanted = {name.partition("::")[2] for name in named if name.startswith(f"{file}::")}
        assert wanted <= _tests(file), file


@pytest.mark.parametrize(("rows", "letter"), [(KAFKA, "K"), (REST, "H")], ids=["Kafka", "REST"])
def test_a_row_that_names_a_table_is_in_it(rows: dict[int, Row], letter: str) -> None:
    """Whoever takes the last entry of a row out of a table has to name another test of that row."""
    for number, row in rows.items():
        tables = [table for table in row.tests if table in NAMES]
        found = {_row_of(name) for table in tables for name in NAMES[table]}
        assert not tables or f"{letter}{number}" in found, (number, row.sent)


def test_every_entry_of_a_table_is_of_a_row() -> None:
    """An entry that says which row it is of is of one that there is, and that row names its table."""
    for table, names in NAMES.items():
        for name in names:
            word = _row_of(name)
            if word[0] in "KH" and word[1:].isdigit():
                rows = KAFKA if word[0] == "K" else REST
                assert table in rows[int(word[1:])].tests, (name, table)
