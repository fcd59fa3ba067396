"""What a participant's process does beside its batches goes on, whatever goes wrong."""

from __future__ import annotations

import asyncio

import pytest

from participants.kit.runner import repeat


async def test_housekeeping_goes_on_after_any_error(capsys: pytest.CaptureFixture[str]) -> None:
    """An error that nobody foresaw is logged, and the next round is tried."""
    rounds = 0
    done = asyncio.Event()

    async def once() -> None:
        nonlocal rounds
        rounds += 1
        if rounds < 3:
            raise ValueError(f"round {rounds}")
        done.set()

    repeating = asyncio.create_task(repeat(once, 0))
    await asyncio.wait_for(done.wait(), 5)
    repeating.cancel()
    said = capsys.readouterr()
    assert "housekeeping_failed" in said.out + said.err
