"""The verb `replay`: an operator has the last good event of a suspended saga published again.

Only the intent is written here, in the row and under its version; the observer publishes and notes that. So a replay
that was answered is never lost, whichever process dies.
"""

from __future__ import annotations

from typing import Any

from coordinator.choreography.choreographies import OBSERVED_PART, Choreographies
from coordinator.choreography.draft import Draft, Tracked, track
from coordinator.engine.ports import Clock, Store
from coordinator.errors import NotFound
from coordinator.saga.model import SagaStatus
from coordinator.saga.observing import ObservedSaga, request_replay
from coordinator.services.acting import Acting, members
from coordinator.services.verbs import Preview, VerbRefused, VerbStale
from coordinator.store.batch import Act
from coordinator.store.postgres import SagaRow
from coordinator.store.reads import SagaReads, SagaSummary

ACTION = "replay"


class Replays:
    """Replays observed sagas on an operator's word."""

    def __init__(self, store: Store, reads: SagaReads, choreographies: Choreographies, clock: Clock) -> None:
        self._store = store
        self._reads = reads
        self._choreographies = choreographies
        self._acting = Acting(reads, clock)

    async def replay(
        self, saga_id: str, expected_version: int, actor: str, reason: str, request_id: str = "", *, again: bool = False
    ) -> SagaSummary:
        """Have the last good event of a suspended saga published again; answers how the saga stands now.

        `again` says that the same request may have done it before. Raises NotFound, VerbRefused, VerbStale, Unavailable
        (whether it was taken is not known: look again).
        """

        async def once() -> None:
            await self._replay_once(saga_id, expected_version, actor, reason, request_id)

        async def was_done() -> bool:
            return await self._reads.was_done(ACTION, saga_id, expected_version, actor, reason)

        return await self._acting.act(saga_id, once, was_done, again=again)

    async def preview(self, saga_id: str, actor: str) -> Preview:
        """Say what a replay would do now; raises NotFound, VerbRefused, Unavailable."""
        row, tracked, saga = await self._look(saga_id)
        change = request_replay(tracked.definition, saga, actor, await self._store.now_ms())
        incidents = [] if change.incident is None else [change.incident.detail]
        status, next_status = SagaStatus(row.status), change.saga.status
        return Preview(ACTION, row.version, status, next_status, [], [], [], incidents)

    async def _replay_once(self, saga_id: str, expected_version: int, actor: str, reason: str, request_id: str) -> None:
        row, tracked, saga = await self._look(saga_id)
        if row.version != expected_version:
            raise VerbStale(expected_version, _standing(row))
        now_ms = await self._store.now_ms()
        change = request_replay(tracked.definition, saga, actor, now_ms)
        draft = Draft(self._choreographies)
        draft.apply(tracked, change, now_ms)
        after = change.saga
        act = Act(actor, ACTION, saga_id, reason, row.version, after.version, request_id, row.status, after.status)
        draft.batch.audit(act)
        await self._store.commit(draft.finish())

    async def _look(self, saga_id: str) -> tuple[SagaRow, Tracked, ObservedSaga]:
        rows = await self._store.load([saga_id])
        if not rows:
            raise NotFound("there is no saga with this id")
        row = rows[0]
        if (problem := _problem(row)) is not None:
            raise VerbRefused(problem, _standing(row))
        tracked = track(row, self._choreographies)
        if tracked is None or tracked.saga is None:
            raise VerbRefused("this coordinator does not know the saga's choreography", members(row))
        return row, tracked, tracked.saga


def _standing(row: SagaRow) -> dict[str, Any]:
    """What a refusal says of how a saga stands; the verbs of commanded sagas are told of where they are asked for."""
    return {**members(row), "allowed": [ACTION] if _problem(row) is None else []}


def _problem(row: SagaRow) -> str | None:
    """Say why a saga cannot be replayed at any version."""
    if row.part != OBSERVED_PART:
        return "the saga is commanded, not choreographed: it is retried, not replayed"
    if row.status != SagaStatus.SUSPENDED:
        return f"the saga is {row.status}; only a suspended one can be replayed"
    return None
