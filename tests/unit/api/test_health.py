"""Readiness: every check has its word, and none can hold up or break the answer."""

from __future__ import annotations

import asyncio

from coordinator.api.health import Check, ReadinessProbe
from coordinator.errors import Unavailable


async def _well() -> None:
    return None


async def _ill() -> str:
    return "two of three are missing"


async def _away() -> None:
    raise Unavailable("Postgres does not answer")


async def _broken() -> None:
    raise ZeroDivisionError


async def _stuck() -> None:
    await asyncio.Event().wait()


async def test_all_well_is_ready() -> None:
    """A process whose checks are all well is ready."""
    found = await ReadinessProbe([("one", _well), ("two", _well)]).ask()
    assert found.ready
    assert found.checks == {"one": "ok", "two": "ok"}


async def test_every_check_that_is_not_well_says_why() -> None:
    """A sentence, an error of ours, a bug and silence each make the process unready, by name."""
    checks: list[Check] = [("a", _well), ("b", _ill), ("c", _away), ("d", _broken), ("e", _stuck)]
    found = await ReadinessProbe(checks, timeout_s=0.05).ask()
    assert not found.ready
    assert found.checks == {
        "a": "ok",
        "b": "two of three are missing",
        "c": "Postgres does not answer",
        "d": "the check failed: ZeroDivisionError",
        "e": "no answer within 0.05 s",
    }


async def test_many_who_ask_at_once_share_one_answer() -> None:
    """A hundred requests in the same moment run each check once."""
    asked = []

    async def check() -> None:
        asked.append(1)

    probe = ReadinessProbe([("one", check)])
    await asyncio.gather(*(probe.ask() for _ in range(100)))
    assert len(asked) == 1


async def test_checks_may_be_added_while_the_process_starts() -> None:
    """A list that grows after the probe was made is asked in full."""
    checks: list[Check] = []
    probe = ReadinessProbe(checks)
    checks.append(("late", _ill))
    assert (await probe.ask()).checks == {"late": "two of three are missing"}
