"""A statement in the making: what observed events, passed deadlines and replays change, as rows of one batch.

Several changes of one saga fold into one row (version v to v+k, k log entries), as in the engine's draft.
"""

from __future__ import annotations

import msgspec
import structlog

from coordinator.choreography.choreographies import OBSERVED_PART, Choreographies
from coordinator.choreography.reading import EventArrival
from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.model import RESTING, SagaStatus
from coordinator.saga.observing import Change, ObservedSaga, dump_observed, load_observed, observe, waits_at
from coordinator.store.batch import Batch
from coordinator.store.postgres import SagaRow

log = structlog.get_logger()

DUPLICATE = "duplicate"


class Tracked(msgspec.Struct):
    """A saga that a draft may change: as it stands there, and the version and status of its row (0: no row yet)."""

    id: str
    definition: ChoreographyDefinition
    business_key: str
    created_ms: int
    saga: ObservedSaga | None = None
    written: int = 0
    written_status: SagaStatus | None = None
    begun_by: EventArrival | None = None


class Transitioned(msgspec.Struct, frozen=True):
    """One change of a draft: what metrics and logs want to know of it."""

    tracked: Tracked
    before: ObservedSaga | None
    change: Change


def track(row: SagaRow, choreographies: Choreographies) -> Tracked | None:
    """Read a saga's row, or None when this process does not know its choreography or cannot read its state."""
    definition = choreographies.of_id(row.definition_id)
    if definition is None or row.part != OBSERVED_PART:
        return None
    try:
        state = load_observed(row.state)
    except msgspec.ValidationError:
        log.exception("observed_state_unreadable", saga_id=row.id, alert=True)
        return None
    status = SagaStatus(row.status)
    saga = ObservedSaga(row.version, status, state)
    return Tracked(row.id, definition, row.business_key, row.created_ms, saga, row.version, status)


class Draft:
    """Collects changes of sagas; `finish` gives the batch."""

    def __init__(self, choreographies: Choreographies) -> None:
        self._choreographies = choreographies
        self._changed: dict[str, Tracked] = {}
        self.batch = Batch()
        self.transitions: list[Transitioned] = []

    def see(self, tracked: Tracked, arrival: EventArrival, now_ms: int) -> str:
        """Take in an event; answers its verdict."""
        change = observe(tracked.definition, tracked.saga, arrival.sighting, arrival.kept, now_ms)
        if change is None:
            return DUPLICATE
        if tracked.saga is None:
            tracked.begun_by = arrival
        self.apply(tracked, change, now_ms, arrival)
        return str(change.verdict)

    def apply(self, tracked: Tracked, change: Change, now_ms: int, arrival: EventArrival | None = None) -> None:
        """Add one change of a saga."""
        before = tracked.saga
        saga = tracked.saga = change.saga
        data = _log_data(change, now_ms, arrival)
        self.batch.log(tracked.id, saga.version, OBSERVED_PART, change.event, change.type, saga.status, data)
        if change.resolved_by is not None:
            self.batch.resolve_incidents(tracked.id, change.resolved_by)
        if change.incident is not None:
            incident = change.incident
            self.batch.open_incident(tracked.id, saga.version, incident.reason, change.type, incident.detail)
        self._changed[tracked.id] = tracked
        self.transitions.append(Transitioned(tracked, before, change))

    def finish(self) -> Batch:
        """Write one row per changed saga; call once, when everything is in."""
        for tracked in self._changed.values():
            saga = tracked.saga
            if saga is None:
                continue
            waking_ms = None if saga.status in RESTING else saga.state.deadline_ms
            state = dump_observed(saga.state)
            letters = waits_at(tracked.definition, saga)
            if tracked.written:
                self.batch.move(
                    tracked.id, tracked.written, saga.version, saga.status, state, waking_ms, False, letters
                )
            elif tracked.begun_by is not None:
                self._start(tracked, tracked.begun_by, saga, state, waking_ms, letters)
            if saga.status is not tracked.written_status:
                self.batch.tally(self._choreographies.id_of(tracked.definition), tracked.written_status, saga.status)
        return self.batch

    def _start(
        self,
        tracked: Tracked,
        first: EventArrival,
        saga: ObservedSaga,
        state: bytes,
        waking_ms: int | None,
        letters: str | None,
    ) -> None:
        self.batch.start(
            tracked.definition.name,
            tracked.business_key,
            tracked.id,
            first.input_hash,
            OBSERVED_PART,
            self._choreographies.id_of(tracked.definition),
            first.traceparent,
            first.data,
            saga.version,
            waking_ms,
            saga.status,
            state,
            letters,
        )


def _log_data(change: Change, now_ms: int, arrival: EventArrival | None) -> bytes:
    """What the log keeps of a change; the data of an event that says nothing new is left out."""
    said: dict[str, object] = {"now_ms": now_ms}
    if change.verdict is not None:
        said["verdict"] = change.verdict
    if change.note is not None:
        said["note"] = change.note
    if arrival is not None:
        said |= {"ce_id": arrival.sighting.ce_id, "source": arrival.source, "place": arrival.sighting.place}
        if change.verdict != DUPLICATE:
            said["data"] = msgspec.Raw(arrival.data)
    return msgspec.json.encode(said)
