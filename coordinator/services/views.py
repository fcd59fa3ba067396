"""A saga as the API shows it: the row, its state and its definition, put together step by step."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from coordinator.engine.registry import Registry
from coordinator.engine.slots import held_steps
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.masking import Masks
from coordinator.saga.model import StepState, load_state
from coordinator.store.reads import Incident, LogEntry, SagaRecord, SagaSummary
from coordinator.wire.rfc3339 import format_ms


class StepView(msgspec.Struct, frozen=True):
    """One step of a saga: what it does, how its action went, and whether it is undone.

    `attempts` and `undo_attempts` count the commands that were sent; `result` is what the participant answered.
    `effect` says what an acknowledged compensation did. An external step has neither participant nor action.
    `condition` is what a conditional step's condition said, `payload` what its command carries where that is not the
    saga's input. A step is `held` while its participant takes no new actions: it waits without a deadline.
    """

    name: str
    kind: str
    group: str | None
    participant: str | None
    action: str | None
    compensation: str | None
    outcome: str
    undo: str
    generation: int
    attempts: int
    undo_attempts: int
    deadline: str | None
    payload: msgspec.Raw | None
    result: msgspec.Raw | None
    effect: str | None
    late_success: bool
    condition: bool | None
    held: bool


class SagaDetail(SagaSummary, frozen=True):
    """A saga with its steps and incidents; `facing` is the way it goes or, suspended, went.

    `steps` is null where this coordinator does not know the saga's definition. `labels` are those of its start. `log`
    is there when it was asked for.
    """

    facing: str
    traceparent: str | None
    input: msgspec.Raw
    steps: list[StepView] | None
    incidents: list[Incident]
    labels: dict[str, str]
    log: list[LogEntry] | msgspec.UnsetType = msgspec.UNSET


def describe(record: SagaRecord, registry: Registry) -> SagaDetail:
    """Put a saga together."""
    state = load_state(record.state)
    definition = registry.of_id(record.definition_id)
    summary = record.summary
    return SagaDetail(
        summary.id,
        summary.definition,
        summary.definition_version,
        summary.business_key,
        summary.status,
        summary.version,
        summary.created_at,
        summary.updated_at,
        summary.deadline,
        state.facing,
        record.traceparent,
        msgspec.Raw(record.input),
        None if definition is None else _steps(definition, summary.status, state.steps),
        record.incidents,
        record.labels,
        msgspec.UNSET if record.log is None else record.log,
    )


def mask(saga: SagaDetail, masks: Masks) -> SagaDetail:
    """A saga without what is sensitive of it."""
    steps = None if saga.steps is None else [_masked_step(step, masks) for step in saga.steps]
    log = saga.log if isinstance(saga.log, msgspec.UnsetType) else mask_entries(saga.log, masks)
    incidents = [msgspec.structs.replace(one, detail=masks.text(one.detail)) for one in saga.incidents]
    return msgspec.structs.replace(saga, input=masks.input(saga.input), steps=steps, incidents=incidents, log=log)


def mask_entries(entries: Sequence[LogEntry], masks: Masks) -> list[LogEntry]:
    """Entries of a saga's log without what is sensitive of them."""
    return [msgspec.structs.replace(entry, data=masks.fields(entry.step_name, entry.data)) for entry in entries]


def _masked_step(step: StepView, masks: Masks) -> StepView:
    payload = None if step.payload is None else masks.payload(step.name, step.payload)
    result = None if step.result is None else masks.result(step.name, step.result)
    return msgspec.structs.replace(step, payload=payload, result=result)


def _steps(definition: SagaDefinition, status: str, states: Sequence[StepState]) -> list[StepView]:
    held = held_steps(status, states)
    return [
        StepView(
            step.name,
            step.kind,
            step.group,
            step.participant or None,
            step.action or None,
            step.compensation,
            state.outcome,
            state.undo,
            state.generation,
            state.attempt,
            state.undo_attempt,
            None if state.deadline_ms is None or state.held else format_ms(state.deadline_ms),
            None if isinstance(state.payload, msgspec.UnsetType) else state.payload,
            None if isinstance(state.result, msgspec.UnsetType) else state.result,
            state.effect,
            state.late_success,
            state.condition,
            position in held,
        )
        for position, (step, state) in enumerate(zip(definition.steps, states, strict=True))
    ]
