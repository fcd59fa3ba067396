"""What people on call need: keys, a complete audit, labels and counts, bulk work, and incidents that somebody takes."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Run the statements of sql/0003/ in the order of their numbers."""
    for file in sorted((Path(__file__).parent.parent / "sql" / revision).glob("*.sql")):
        op.get_bind().exec_driver_sql(file.read_text())
