"""The first tables: sagas, their keys and log, the outbox, shards, dead letters, incidents, audit."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the statements of sql/0001/ in the order of their numbers."""
    for file in sorted((Path(__file__).parent.parent / "sql" / revision).glob("*.sql")):
        op.get_bind().exec_driver_sql(file.read_text())
