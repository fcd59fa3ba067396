"""An observed saga in the shape of any other: its steps are the expected events."""

from __future__ import annotations

from typing import Final

import msgspec

from coordinator.choreography.choreographies import Choreographies
from coordinator.saga.choreography import ChoreographyDefinition, ExpectedEvent
from coordinator.saga.model import RESTING, SagaStatus, Undo
from coordinator.saga.observing import ObservedSaga, load_observed, outcome
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
        log=msgspec.UNSET if record.log is None else record.log,
    )


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
