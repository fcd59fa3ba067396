"""The points of `saga migrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event

from coordinator import cli
from coordinator.store.migrations import scripts_folder
from tests.crash.hook import Hook, Mark, around
from tests.crash.wire import Statement, watched

LOCK: Final = "pg_advisory_xact_lock"
_REVISIONS: Final = {"0001": "M2", "0002": "M3", "0003": "M4"}
_COMMIT: Final = Statement(sent=[Mark("M10")], answered=[Mark("M11")], commit=True)


class MigrationPoints:
    """Listens to what Alembic has executed; the program behaves as ever until it is killed."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self._points = dict(_statements(scripts_folder()))

    def install(self) -> None:
        """Listen."""
        event.listen(Engine, "after_cursor_execute", self._executed)
        event.listen(Engine, "commit", lambda _: self._hook.passes("M9"))
        around(cli, "run_migrations", self._migrated)

    def _executed(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if LOCK in statement and statement not in self._points:
            self._hook.passes("M1")
        elif "alembic_version" in statement and statement.lstrip().startswith(("INSERT", "UPDATE")):
            self._hook.passes("M5")
        elif statement in self._points:
            self._hook.passes(self._points[statement])

    def _migrated(self, migrate: Any) -> Any:
        async def migrated(*arguments: Any) -> None:
            with watched(_COMMIT):
                await migrate(*arguments)
            self._hook.passes("M12")

        return migrated


def _statements(scripts: Path) -> list[tuple[str, str]]:
    """The statements of each migration, as it reads them, and the point at which one of them is executed."""
    return [
        (file.read_text(), point)
        for revision, point in _REVISIONS.items()
        for file in sorted((scripts / "sql" / revision).glob("*.sql"))
    ]
