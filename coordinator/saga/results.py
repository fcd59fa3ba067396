"""Whether what a participant, or somebody outside, answers is what later readers rely on."""

from __future__ import annotations

from pydantic import ValidationError

from coordinator.saga.definition import SagaDefinition


def result_problem(definition: SagaDefinition, step_name: str, raw: bytes) -> str | None:
    """Say what a step's result (JSON text) lacks of its declared shape, or None."""
    position = definition.index.get(step_name)
    if position is None:
        return None
    model = definition.steps[position].result
    if model is None:
        return None
    try:
        model.__pydantic_validator__.validate_json(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"result/{'/'.join(map(str, first['loc']))}: {first['msg']}"
    return None
