"""An act whose client has gone goes on, and how it ends is nobody's trouble but where it is ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from coordinator.errors import Conflict, Unavailable
from coordinator.services import acting
from coordinator.services.acting import Acting


class Clock:
    """Time that nobody waits for."""

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0 * seconds)


@pytest.mark.parametrize(
    ("error", "lines"),
    [(Conflict("it has ended"), []), (RuntimeError("a fault of ours"), ["act_failed"])],
    ids=["refused", "broken"],
)
async def test_how_an_act_ends_that_nobody_waits_for(
    error: Exception, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client is told to look again; a refusal that comes later is no line in the log, a fault of ours is one."""
    monkeypatch.setattr(acting, "ANSWER_S", 0.01)
    go, loud = asyncio.Event(), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: loud.append(context))

    async def once() -> None:
        await go.wait()
        raise error

    async def was_done() -> bool:
        return False

    reads: Any = None
    with capture_logs() as said:
        with pytest.raises(Unavailable):
            await Acting(reads, Clock()).act("saga", once, was_done)
        go.set()
        for _ in range(5):
            await asyncio.sleep(0)
    assert ([line["event"] for line in said], loud) == (lines, [])
