"""${message}"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Run the statements of sql/${up_revision}/ in the order of their numbers."""
    for file in sorted((Path(__file__).parent.parent / "sql" / revision).glob("*.sql")):
        op.get_bind().exec_driver_sql(file.read_text())
