"""An act that is done once, whatever its tries run into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from coordinator.errors import Conflict, NotFound, StaleVersion, Unavailable
from coordinator.services.acting import TRIES_MAX, Acting
from coordinator.store.postgres import Contended, RowMoved
from coordinator.store.reads import SagaSummary

SAGA = SagaSummary("id", "Name", 1, "key", "pending", 2, "", "", None)


class Reads:
    """The sagas that there are."""

    def __init__(self, *sagas: SagaSummary) -> None:
        self._sagas = {saga.id: saga for saga in sagas}

    async def summaries(self, saga_ids: Sequence[str]) -> dict[str, SagaSummary]:
        return {each: self._sagas[each] for each in saga_ids if each in self._sagas}


class NoTime:
    """A clock that waits for nothing."""

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None: ...


class Script:
    """What each try, and each look at the audit, comes to; an act that is scripted no further works."""

    def __init__(self, tries: Sequence[Exception] = (), looks: Sequence[bool] = ()) -> None:
        self.tries = list(tries)
        self.looks = list(looks)
        self.tried = 0

    async def once(self) -> None:
        self.tried += 1
        if self.tries:
            raise self.tries.pop(0)

    async def was_done(self) -> bool:
        return self.looks.pop(0)


async def act(script: Script, *sagas: SagaSummary) -> SagaSummary:
    """Do what is scripted to the saga."""
    return await Acting(cast("Any", Reads(*sagas)), NoTime()).act("id", script.once, script.was_done)


@pytest.mark.parametrize(
    ("script", "tried"),
    [
        (Script(), 1),
        (Script([RowMoved()]), 2),
        (Script([Contended("busy")]), 2),
        (Script([Unavailable("away")], [False]), 2),
        (Script([Unavailable("away")], [True]), 1),
        (Script([Unavailable("away"), Conflict("not suspended")], [False, True]), 2),
        (Script([Unavailable("away"), StaleVersion("moved on")], [False, True]), 2),
    ],
)
async def test_an_act_is_done_once(script: Script, tried: int) -> None:
    """What wrote nothing is tried again, what was not heard of is looked up, even when the next try is refused."""
    assert await act(script, SAGA) is SAGA
    assert (script.tried, script.tries, script.looks) == (tried, [], [])


@pytest.mark.parametrize("refusal", [Conflict("not suspended"), StaleVersion("moved on")])
async def test_a_refusal_is_believed(refusal: Exception) -> None:
    """Of a first try at once; after one that was not heard of, when the audit has nothing of it."""
    with pytest.raises(type(refusal)):
        await act(Script([refusal]), SAGA)
    with pytest.raises(type(refusal)):
        await act(Script([Contended("busy"), refusal]), SAGA)
    with pytest.raises(type(refusal)):
        await act(Script([Unavailable("away"), refusal], [False, False]), SAGA)


async def test_an_act_ends() -> None:
    """After so many tries the caller hears why; a saga that is gone meanwhile is not found."""
    with pytest.raises(Unavailable, match="busy"):
        await act(Script([Contended("busy")] * TRIES_MAX), SAGA)
    with pytest.raises(Unavailable, match="being written all the time"):
        await act(Script([RowMoved()] * TRIES_MAX), SAGA)
    with pytest.raises(NotFound):
        await act(Script())
