"""Make a definition small enough to search: budgets keep what matters about them, functions become choices.

Whether a budget is two or ten attempts long makes no difference to the machine: there is an attempt with another one
after it, and there is a last one. The search has no input, so conditions and payload functions are not called: a
condition says yes, says no or breaks, and a payload is built or is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from coordinator.check.choices import Oracle
from coordinator.saga.definition import Retry, SagaDefinition, Step
from coordinator.saga.payloads import LacksField

ATTEMPTS, REDRIVES = 2, 1
INPUT = b'{"key":"check"}'


class _AnyInput(BaseModel):
    key: str


def shrink(definition: SagaDefinition, oracle: Oracle) -> SagaDefinition:
    """Reduce a definition to what the search tells apart; its conditions and payloads ask the oracle."""
    steps = tuple(_shrink_step(step, oracle) for step in definition.steps)
    recovery = Retry(attempts=min(definition.redrives.attempts, REDRIVES))
    return replace(definition, input=_AnyInput, business_key="key", steps=steps, recovery=recovery, sensitive=())


def _shrink_step(step: Step, oracle: Oracle) -> Step:
    return replace(
        step,
        retry=Retry(attempts=min(step.retry.attempts, ATTEMPTS)),
        compensation_retry=Retry(attempts=min(step.compensation_retry.attempts, ATTEMPTS)),
        result=None,
        when=None if step.when is None else _condition(step.name, oracle),
        payload=None if step.payload is None else _payload(step.name, oracle),
        sensitive=(),
    )


def _condition(name: str, oracle: Oracle) -> Callable[[Any, Any], bool]:
    answers = (
        f"the condition of {name} says yes",
        f"the condition of {name} says no",
        f"the condition of {name} breaks",
    )

    def choose(_input: Any, _results: Any) -> bool:
        chosen = oracle.choose(answers)
        if chosen == 2:
            raise ValueError("the condition breaks")
        return chosen == 0

    return choose


def _payload(name: str, oracle: Oracle) -> Callable[[Any, Any], dict[str, Any]]:
    answers = ("", f"the payload of {name} lacks a field")

    def choose(_input: Any, _results: Any) -> dict[str, Any]:
        if oracle.choose(answers):
            raise LacksField(f"payload of {name}: a field is missing")
        return {}

    return choose
