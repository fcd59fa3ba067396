"""The coordinator's wall clock jumps: timers go by the database's clock, so nothing is early, late or lost."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local.debian import unpack
from deploy.local.places import LOCAL, locked
from tests.e2e.world import Coordinator, World, eventually
from tests.faults.definitions import BRIEF
from tests.faults.load import Say, under_load

pytestmark = pytest.mark.timeout(300)

BOUND_S = 10.0
JUMPED_S = 8.0
JUMPS = {"+2h": timedelta(hours=2), "-2h": timedelta(hours=-2), "+0": timedelta()}
LIBRARY = "*/faketime/libfaketimeMT.so.1"
HOME = LOCAL / "faketime"
STAMP = r'"timestamp":"([^"]+)"'


@pytest.fixture(scope="module")
def library() -> Path:
    """Give what makes a process believe in another time: the machine's own, or that of Debian's package."""
    with locked(LOCAL / "faketime.lock"):
        found = [*Path("/usr/lib").glob(LIBRARY), *HOME.glob(f"usr/lib/{LIBRARY}")]
        if not found and unpack("libfaketime", HOME):
            found = [*HOME.glob(f"usr/lib/{LIBRARY}")]
    if not found:
        pytest.skip("faketime is neither installed nor to be had from apt: install Debian's package `libfaketime`")
    return found[0]


async def test_a_wall_clock_that_jumps(library: Path, world: World, tmp_path: Path, say: Say) -> None:
    """The clock jumps two hours ahead, four back, and home: sagas move on, timeouts come, and none comes early."""
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    coordinator = await world.launched(
        "coordinator",
        LD_PRELOAD=str(library),
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_CACHE_DURATION="1",
        DONT_FAKE_MONOTONIC="1",
        SAGA_LOG__TRANSITIONS="true",
    )
    async with under_load(world, coordinator, say=say, definition=BRIEF) as load:
        for jump, by in JUMPS.items():
            now = asyncio.get_running_loop().time()
            (tmp_path / "next").write_text(f"{jump}\n")
            (tmp_path / "next").rename(offset)
            await eventually(lambda by=by: _believes(coordinator, by), what=f"its clock has jumped to {jump}")  # type: ignore[misc]
            await load.measure(f"wall clock of the coordinator at {jump}", BOUND_S, now)
            await asyncio.sleep(JUMPED_S)
    await load.nobody_was_blamed()
    timeouts = "SELECT count(*) FROM saga_log WHERE event = 'DeadlinePassed'"
    assert await world.value(timeouts) > 0
    assert coordinator.child.exit_code is None


async def _believes(coordinator: Coordinator, by: timedelta) -> bool:
    """Whether the last line of a log was written about so far from now."""
    stamps = re.findall(STAMP, coordinator.child.output()[-5000:])
    believed = datetime.fromisoformat(stamps[-1]) - datetime.now(UTC) if stamps else timedelta.max
    return abs(believed - by) < timedelta(minutes=1)
