"""An observed saga in the shape of any other: its steps are the expected events."""

from __future__ import annotations

from typing import Final

import msgspec

from coordinator.choreography.choreographies import Choreographies
from coordinator.saga.choreography import ChoreographyDefinition, ExpectedEvent
from coordinator.saga.model import RESTING, Facing, SagaStatus, Undo
from coordinator.saga.observing import OBSERVED, ObservedSaga, load_observed, outcome
from coordinator.services.timeline import Interval
from coordinator.services.views import SagaDetail, StepView
from coordinator.store.reads import SagaRecord
from coordinator.wire.rfc3339 import format_ms

_KIND: Final = "event"
_GENERATION: Final = 1  # nothing is commanded, so nothing is commanded anew


def describe_observed(record: SagaRecord, choreographies: Choreographies) -> SagaDetail:
    """Put an observed saga together; `attempts` count how often an event was seen."""
    summary = record.summary
    saga = ObservedSaga(summary.version, SagaStatus(summary.status), load_observed(record.state))
    definition = choreographies.of_id(record.definition_id)
    return SagaDetail(
        **msgspec.structs.asdict(summary),
        facing=saga.state.facing,
        traceparent=record.traceparent,
        input=msgspec.Raw(record.input),
        steps=None if definition is None else [_step(definition, saga, event) for event in definition.events],
        incidents=record.incidents,
        labels=record.labels,
        log=msgspec.UNSET if record.log is None else record.log,
    )


def observed_timeline(record: SagaRecord, choreographies: Choreographies) -> tuple[list[Interval], bool]:
    """An observed saga as intervals, and whether they are all: each event from the one before it on."""
    definition = choreographies.of_id(record.definition_id)
    entries = record.log or []
    if definition is None or not entries or entries[0].version != 1:
        return [], False
    found: list[Interval] = []
    since, suspended = entries[0].at, False
    for entry in entries:
        event = None if entry.step_name is None else definition.by_type.get(entry.step_name)
        if entry.event == OBSERVED and event is not None and b'"verdict":"applied"' in bytes(entry.data):
            lane = "forward" if definition.facing(event.type) is Facing.FORWARD else "compensation"
            found.append(Interval(lane, event.type, event.source, "waiting", None, since, entry.at, "completed"))
            since = entry.at
        if suspended and entry.status != SagaStatus.SUSPENDED:
            place = max(place for place, each in enumerate(found) if each.kind == "suspended")
            found[place] = msgspec.structs.replace(found[place], end=entry.at)
        elif not suspended and entry.status == SagaStatus.SUSPENDED:
            found.append(Interval("saga", None, None, "suspended", None, entry.at))
        suspended = entry.status == SagaStatus.SUSPENDED
    return found, entries[-1].version == record.summary.version


def _step(definition: ChoreographyDefinition, saga: ObservedSaga, event: ExpectedEvent) -> StepView:
    state = saga.state
    awaited = saga.status not in RESTING and event.type in definition.by_type[state.position].then
    return StepView(
        name=event.type,
        kind=_KIND,
        group=None,
        participant=event.source,
        action=event.type,
        compensation=None,
        outcome=outcome(definition, saga, event.type),
        undo=Undo.NONE,
        generation=_GENERATION,
        attempts=sum(seen.times for seen in state.seen if seen.type == event.type),
        undo_attempts=0,
        deadline=format_ms(state.deadline_ms) if awaited and state.deadline_ms is not None else None,
        payload=None,
        result=None,
        effect=None,
        late_success=False,
        condition=None,
        held=False,
    )
