"""What rests is said in Python and, for an index, in SQL: both must say the same."""

from __future__ import annotations

import re
from pathlib import Path

from coordinator.saga.model import RESTING

TABLE = Path(__file__).parents[3] / "alembic" / "sql" / "0001" / "02_saga.sql"


def test_the_generated_column_and_the_machine_agree_on_what_rests() -> None:
    """A status that rests in memory and not in the table, or the other way round, would be in no list."""
    found = re.search(r"resting text GENERATED.*?status IN \((.*?)\)", TABLE.read_text(), re.DOTALL)
    assert found is not None
    assert set(re.findall(r"'(\w+)'", found[1])) == {status.value for status in RESTING}
