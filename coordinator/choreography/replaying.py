"""The verb `replay`: an operator has the last good event of a suspended saga published again.

Only the intent is written here, in the row and under its version; the observer publishes and notes that. So a replay
that was answered is never lost, whichever process dies.
"""

from __future__ import annotations

from typing import Any

from coordinator.choreography.catalogue import OBSERVED_PART, Catalogue
from coordinator.choreography.draft import Draft, track
from coordinator.engine.ports import Clock, Store
from coordinator.errors import Conflict, NotFound, StaleVersion, Unavailable
from coordinator.saga.model import SagaStatus
from coordinator.saga.observing import request_replay
from coordinator.store.postgres import RowMoved, SagaRow
from coordinator.store.reads import SagaReads, SagaSummary

TRIES_MAX = 5
PAUSE_S = 0.05


class ReplayRefused(Conflict):
    """The saga cannot be replayed; `members` says how it stands."""

    def __init__(self, reason: str, members: dict[str, Any]) -> None:
        super().__init__(reason)
        self.members = members


class ReplayStale(StaleVersion):
    """The saga is not at the version that the operator looked at; `members` says at which it is."""

    def __init__(self, expected: int, members: dict[str, Any]) -> None:
        super().__init__(f"the saga is at version {members['version']}, not at {expected}: look at it again")
        self.members = members


class Replays:
    """Replays observed sagas on an operator's word."""

    def __init__(self, store: Store, reads: SagaReads, catalogue: Catalogue, clock: Clock) -> None:
        self._store = store
        self._reads = reads
        self._catalogue = catalogue
        self._clock = clock

    async def replay(self, saga_id: str, expected_version: int, actor: str, reason: str) -> SagaSummary:
        """Have the last good event of a suspended saga published again; answers how the saga stands now.

        Raises NotFound, ReplayRefused, ReplayStale, Unavailable (whether it was taken is not known: look at the saga).
        """
        for attempt in range(1, TRIES_MAX + 1):
            try:
                await self._replay_once(saga_id, expected_version, actor, reason)
            except RowMoved:
                await self._clock.sleep(PAUSE_S * attempt)
            else:
                return (await self._reads.summaries([saga_id]))[saga_id]
        raise Unavailable("the saga is being written all the time")

    async def _replay_once(self, saga_id: str, expected_version: int, actor: str, reason: str) -> None:
        rows = await self._store.load([saga_id])
        if not rows:
            raise NotFound("there is no saga with this id")
        row = rows[0]
        members = {"saga_id": saga_id, "saga_status": row.status, "version": row.version}
        if (problem := _problem(row)) is not None:
            raise ReplayRefused(problem, members)
        if row.version != expected_version:
            raise ReplayStale(expected_version, members)
        tracked = track(row, self._catalogue)
        if tracked is None or tracked.saga is None:
            raise ReplayRefused("this coordinator does not know the saga's choreography", members)
        now_ms = await self._store.now_ms()
        change = request_replay(tracked.definition, tracked.saga, actor, now_ms)
        draft = Draft(self._catalogue)
        draft.apply(tracked, change, now_ms)
        draft.batch.audit(actor, "replay", saga_id, reason, row.version, change.saga.version)
        await self._store.commit(draft.finish())


def _problem(row: SagaRow) -> str | None:
    """Say why a saga cannot be replayed at any version."""
    if row.part != OBSERVED_PART:
        return "the saga is commanded, not choreographed: it is retried, not replayed"
    if row.status != SagaStatus.SUSPENDED:
        return f"the saga is {row.status}; only a suspended one can be replayed"
    return None
