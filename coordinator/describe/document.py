"""A definition as JSON: all that it says, with the functions by name and the lengths of time in milliseconds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, PydanticUserError

from coordinator.describe.words import function
from coordinator.errors import DefinitionError
from coordinator.saga.definition import Retry, SagaDefinition, Step
from coordinator.saga.paths import walk


def document(definition: SagaDefinition) -> dict[str, Any]:
    """Write what a definition says as a JSON object; raises DefinitionError for a model without a JSON Schema."""
    return {
        "name": definition.name,
        "version": definition.version,
        "business_key": definition.business_key,
        "deadline_ms": definition.deadline_ms,
        "recovery": None if definition.recovery is None else _retry(definition.recovery),
        "input": _schema(definition.input),
        "sensitive": list(definition.sensitive),
        "steps": [_step(step) for step in definition.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    said: dict[str, Any] = {
        "name": step.name,
        "kind": step.kind,
        "group": step.group,
        "external": step.external,
        "when": None if step.when is None else function(step.when),
        "timeout_ms": step.timeout_ms,
        "result": None if step.result is None else _schema(step.result),
        "sensitive": list(step.sensitive),
    }
    if step.external:
        return said
    return said | {
        "participant": step.participant,
        "action": step.action,
        "compensation": step.compensation,
        "payload": _payload(step),
        "retry": _retry(step.retry),
        "compensation_timeout_ms": step.compensation_timeout_ms,
        "compensation_retry": _retry(step.compensation_retry),
        "expiry_ms": step.expiry_ms,
        "progress_max_ms": step.progress_max_ms,
    }


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    try:
        return model.model_json_schema()
    except PydanticUserError as error:
        raise DefinitionError(f"a model cannot be written as JSON Schema: {error.message}") from error


def _payload(step: Step) -> Any:
    if callable(step.payload):
        return function(step.payload)
    return "input" if step.payload is None else dict(walk(step.payload))


def _retry(retry: Retry) -> dict[str, Any]:
    return {
        "attempts": retry.attempts,
        "base_ms": _ms(retry.base),
        "factor": retry.factor,
        "cap_ms": _ms(retry.cap),
    }


def _ms(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)
