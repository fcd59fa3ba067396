"""The coordinator as it ships, with a hand that kills it.

    SAGA_CRASH_AT=R9:2 python -m tests.crash.coordinator serve

Nothing of this is in the production program, which has no hooks: methods are wrapped from outside before it begins.
"""

from __future__ import annotations

import os
import sys

from tests.crash.hook import USAGE, Hook, hasten
from tests.crash.points import NoSuchPoint


def main() -> None:
    """Arm, wrap, and run the command line of the coordinator."""
    try:
        hook = Hook.of_environment(os.environ)
    except NoSuchPoint as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(USAGE)
    install(hook)
    from coordinator.command import main as production  # noqa: PLC0415 - it reads the environment

    production()


def install(hook: Hook) -> None:
    """Wrap everything that lies around a point of the coordinator, and let its chores come soon."""
    # Imported here, so that a point that does not exist is refused at once.
    from coordinator.engine import engine as engine_module  # noqa: PLC0415
    from coordinator.services import sagas, upkeep  # noqa: PLC0415
    from tests.crash.api_points import ApiPoints  # noqa: PLC0415
    from tests.crash.engine_points import EnginePoints  # noqa: PLC0415
    from tests.crash.migration_points import MigrationPoints  # noqa: PLC0415
    from tests.crash.wire import watch_kafka, watch_postgres  # noqa: PLC0415

    engine = EnginePoints(hook)
    engine.install()
    ApiPoints(hook).install()
    MigrationPoints(hook).install()
    hasten(engine_module, "HOUSEKEEPING_S")
    hasten(sagas, "FLUSH_S")
    hasten(upkeep, "PAUSE_S")
    watch_postgres(hook)
    watch_kafka(hook, engine.marks_of)


if __name__ == "__main__":
    main()
