"""`saga migrate` dies, and is run again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from deploy.local.stack import LocalStack
from tests.crash.migrations import BEFORE, Schema, patient
from tests.crash.points import Armed, points_of
from tests.crash.report import TOOK, Took

NEW, OLD = "new", "at-0002"
ONCE = frozenset({"M1", "M9", "M12"})  # passed once per migration: a second hit is a second migration
FIRST = frozenset({"M2", "M3"})  # passed on the way to where the old database is


class Case(NamedTuple):
    """A database, the point, and which of its passages."""

    point: str
    hit: int
    database: str

    def __str__(self) -> str:
        return f"{self.point}-hit{self.hit}-{self.database}"


def cases() -> list[Case]:
    """Every point, and of a database that is at an older version those that are passed there."""
    both = [Case(point, hit, database) for point in points_of("M") for database in (NEW, OLD) for hit in (1, 2)]
    return [
        case
        for case in both
        if case.database == NEW or not (case.point in FIRST or (case.point, case.hit) == ("M5", 2))
    ]


@pytest.fixture(scope="module")
async def wanted(stack: LocalStack) -> AsyncIterator[Schema]:
    """Give the schema of a database that was migrated in peace."""
    async with patient(stack) as database:
        await database.migrate_in_peace()
        yield await database.schema()


@pytest.mark.parametrize("case", cases(), ids=str)
async def test_a_migration_is_finished_by_the_next(stack: LocalStack, wanted: Schema, case: Case) -> None:
    """Wherever `saga migrate` dies, the database is at its old version or at the new one, and a rerun finishes."""
    took = Took(str(case))
    TOOK.append(took)
    async with patient(stack) as database:
        if case.database == OLD:
            await database.bring_to(BEFORE)
        before = await database.versions()
        armed = [Armed(case.point, 1)] * case.hit if case.point in ONCE else [Armed(case.point, case.hit)]
        for one in armed:
            await database.be_killed(one)
        took.reached("killed")
        assert await database.versions() in (before, ["0003"])
        await database.migrate_in_peace()
        took.reached("back")
        assert await database.schema() == wanted
        took.reached("judged")
