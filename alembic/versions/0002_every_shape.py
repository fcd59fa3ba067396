"""Every shape of saga: what parallel, external, versioned and choreographed sagas and the recovery worker keep."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Run the statements of sql/0002/ in the order of their numbers."""
    for file in sorted((Path(__file__).parent.parent / "sql" / revision).glob("*.sql")):
        op.get_bind().exec_driver_sql(file.read_text())
