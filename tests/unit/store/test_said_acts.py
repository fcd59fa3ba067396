"""Each act has its line in the process's log once it is committed, and an act that was not done has none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from coordinator.errors import Conflict
from coordinator.services.incidents import IncidentService
from coordinator.store.batches import BatchStore, NewBatch
from coordinator.store.incidents import IncidentReads, IncidentSummary
from coordinator.store.keys import KeyStore, NewKey
from coordinator.store.postgres import PostgresStore
from coordinator.store.reads import SagaReads

WHO = ("ann", "why not", "request-1")
OPEN = IncidentSummary(
    *(7, "open", "late", None, "", "saga", 1, "Order", 1, "key", "pending", "", None, None, None, None, None, 0)
)


class Store:
    """Answers every statement with a row, or with none."""

    def __init__(self, *, done: bool) -> None:
        self._done = done

    async def fetch(self, name: str, *_arguments: Any) -> list[Any]:
        """Run a statement."""
        return [{"created": self._done}] if name == "create_batch_operation" or self._done else []

    async def run(self, _work: Any) -> list[Any]:
        """Run one that has errors of its own."""
        return await self.fetch("")


def _keys(store: Store) -> KeyStore:
    return KeyStore(cast("PostgresStore", store))


def _batches(store: Store) -> BatchStore:
    return BatchStore(cast("PostgresStore", store), store)


def _incidents(store: Store) -> IncidentService:
    made = IncidentService(cast("PostgresStore", store), cast("SagaReads", None), cast("Any", None))
    made._reads = cast("IncidentReads", _Incidents())
    return made


class _Incidents:
    async def incident(self, _id: int) -> IncidentSummary:
        """One that stays open."""
        return OPEN


BATCH = NewBatch("b-1", "ann", "why not", "retry", {}, {}, ["suspended"], None, b"", 1, "{}", "{}")
ACTS: dict[str, tuple[Callable[[Store], Coroutine[Any, Any, Any]], str]] = {
    "create_key": (lambda store: _keys(store).create(NewKey("k-1", "shop", b"", "viewer"), *WHO), "key:k-1"),
    "revoke_key": (lambda store: _keys(store).revoke("k-1", *WHO), "key:k-1"),
    "batch_create": (lambda store: _batches(store).create(BATCH, "request-1"), "batch:b-1"),
    "batch_pause": (
        lambda store: _batches(store).change("b-1", ["running"], "paused", "batch_pause", *WHO),
        "batch:b-1",
    ),
    "assign_incident": (
        lambda store: _incidents(store).assign(7, "ann", "bob", "why not", request_id="request-1"),
        "incident:7",
    ),
    "note_incident": (lambda store: _incidents(store).note(7, "ann", "why not", request_id="request-1"), "incident:7"),
    "resolve_incident": (
        lambda store: _incidents(store).resolve(7, "ann", "why not", request_id="request-1"),
        "incident:7",
    ),
}


@pytest.mark.parametrize("action", ACTS)
async def test_an_act_is_said_once_it_is_done(action: str) -> None:
    """The line says who did what to what and why, as the audit's entry does: what is missing there was taken out."""
    act, subject = ACTS[action]
    with capture_logs() as lines:
        await act(Store(done=True))
    said = {"actor": "ann", "action": action, "reason": "why not", "request_id": "request-1", "subject": subject}
    assert [line for line in lines if line["event"] == "audited"] == [
        {"event": "audited", "log_level": "info", "outcome": "done", **said}
    ]


@pytest.mark.parametrize("action", ACTS)
async def test_what_was_not_done_is_not_said(action: str) -> None:
    """A statement that changed nothing has no line."""
    act, _ = ACTS[action]
    with capture_logs() as lines, contextlib.suppress(Conflict):
        await act(Store(done=False))
    assert not [line for line in lines if line["event"] == "audited"]
