"""Every statement of queries/ fits the schema that the migrations make."""

from __future__ import annotations

from importlib import resources

import pytest

from coordinator.store.batch import Batch
from coordinator.store.database import statement
from tests.integration.store.workload import Connection

NAMES = sorted(
    file.name.removesuffix(".sql")
    for file in resources.files("coordinator.store.queries").iterdir()
    if file.name.endswith(".sql")
)


@pytest.mark.parametrize("name", NAMES)
async def test_a_statement_fits_the_schema(plain: Connection, name: str) -> None:
    """Postgres accepts each statement, knows the type of each parameter, and finds one statement per file."""
    prepared = await plain.prepare(statement(name))
    numbers = {parameter.name for parameter in prepared.get_parameters()}
    assert not numbers & {"unknown"}


async def test_a_batch_fills_every_parameter(plain: Connection) -> None:
    """A batch answers as many arguments as the statement of the hot path has parameters."""
    prepared = await plain.prepare(statement("commit_batch"))
    assert len(prepared.get_parameters()) == len(Batch().arguments())


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_says_what_it_is_for(name: str) -> None:
    """Each file begins with a comment that names the statement and its purpose."""
    assert statement(name).startswith(f"-- {name}: ")
