"""Why a definition cannot work, one sentence for each mistake (design section 3, rule 7, and section 4)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from coordinator.saga import paths, sensitive
from coordinator.saga.model import Kind

if TYPE_CHECKING:
    from coordinator.saga.definition import Retry, SagaDefinition, Step

STEPS_MAX = 64  # the state of a saga is rewritten with each transition: it must stay small
TIMEOUT_MAX = timedelta(days=30)  # participants remember command ids for 30 days (design section 8)
ATTEMPTS_MAX = 100  # more than that is an outage, not a hiccup

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PARTICIPANT = re.compile(r"[a-z][a-z0-9-]{0,62}")
_MESSAGE = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")


def problems(definition: SagaDefinition) -> list[str]:
    """List what is wrong with a definition, the gravest first; an empty list means that it can work."""
    found = []
    if not _MESSAGE.fullmatch(definition.name):
        found.append("the name must be CamelCase letters and digits, at most 63")
    if type(definition.version) is not int or not 1 <= definition.version <= 32_767:
        found.append("the version must be a whole number from 1 to 32767")
    if not definition.steps:
        found.append("a saga needs at least one step")
    if len(definition.steps) > STEPS_MAX:
        found.append(f"a saga has at most {STEPS_MAX} steps")
    names = [step.name for step in definition.steps]
    found += [f"the step name {name!r} is used twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    found += _business_key_problems(definition.input, definition.business_key)
    if definition.deadline is not None:
        found += _length_problems({"deadline": definition.deadline})
    if definition.recovery is not None:
        found += [f"recovery: {sentence}" for sentence in _retry_problems(definition.recovery, least=0)]
    for step in definition.steps:
        found += [f"step {step.name!r}: {sentence}" for sentence in _step_problems(step)]
    if not found:
        found += [*_group_problems(definition), *_kind_problems(definition), *paths.problems(definition)]
        found += sensitive.problems(definition)
    return found


def _business_key_problems(model: Any, name: str) -> list[str]:
    if not _is_model(model):
        return ["the input must be a pydantic model"]
    chosen = model.model_fields.get(name)
    if chosen is None:
        return [f"the business key {name!r} is no field of {model.__name__}"]
    if chosen.annotation is not str or not chosen.is_required():
        return [f"the business key {name!r} must be a required text field of {model.__name__}"]
    return []


def _step_problems(step: Step) -> list[str]:
    found = []
    if not _NAME.fullmatch(step.name):
        found.append("a step's name is lower-case letters, digits and underscores, at most 63")
    found += _external_problems(step) if step.external else _command_problems(step)
    if step.result is not None and not _is_model(step.result):
        found.append("the result must be a pydantic model or None")
    if step.group is not None and not _NAME.fullmatch(step.group):
        found.append("a group's name is lower-case letters, digits and underscores, at most 63")
    for name, function in {"when": step.when, "payload": step.payload if callable(step.payload) else None}.items():
        if function is not None and not _takes_two(function):
            found.append(f"{name} must be a function of two arguments: the input and the results")
        elif inspect.iscoroutinefunction(function):
            found.append(f"{name} must be a plain function: a definition waits for nothing")
    if step.payload is not None and not callable(step.payload) and not isinstance(step.payload, Mapping):
        found.append("the payload must be paths by field or a function")
    if not isinstance(step.kind, Kind):
        found.append("the kind must be one of Kind")
    found += _time_problems(step)
    for name, retry in {"retry": step.retry, "compensation retry": step.compensation_retry}.items():
        found += [f"{name}: {sentence}" for sentence in _retry_problems(retry)]
    return found


def _command_problems(step: Step) -> list[str]:
    found = []
    if not _PARTICIPANT.fullmatch(step.participant):
        found.append(f"{step.participant!r} is no participant's name: lower-case letters, digits and hyphens")
    found += [
        f"{message!r} is no command's name: CamelCase letters and digits"
        for message in (step.action, step.compensation)
        if message is not None and not _MESSAGE.fullmatch(message)
    ]
    if step.action == step.compensation:
        found.append("the compensation cannot be the action itself")
    return found


def _external_problems(step: Step) -> list[str]:
    found = []
    if step.participant:
        found.append("a step with a participant needs an action")
    if step.compensation is not None:
        found.append("an external step sends nothing, so there is no compensation")
    if step.payload is not None or step.progress_max is not None:
        found.append("an external step sends nothing, so it has neither payload nor progress")
    return found


def _time_problems(step: Step) -> list[str]:
    found = _length_problems(
        {"timeout": step.timeout, "compensation timeout": step.compensation_timeout or step.timeout}
    )
    if not step.timeout <= step.expiry <= TIMEOUT_MAX:
        found.append(f"the expiry must lie between the timeout and {TIMEOUT_MAX.days} days")
    if step.progress_max is not None and not step.timeout <= step.progress_max <= TIMEOUT_MAX:
        found.append(f"the longest progress must lie between the timeout and {TIMEOUT_MAX.days} days")
    return found


def _length_problems(lengths: dict[str, timedelta]) -> list[str]:
    return [
        f"the {name} must lie between one millisecond and {TIMEOUT_MAX.days} days"
        for name, length in lengths.items()
        if not timedelta(milliseconds=1) <= length <= TIMEOUT_MAX
    ]


def _retry_problems(retry: Retry, least: int = 1) -> list[str]:
    found = []
    if type(retry.attempts) is not int or not least <= retry.attempts <= ATTEMPTS_MAX:
        found.append(f"the attempts must be a whole number from {least} to {ATTEMPTS_MAX}")
    if not timedelta(0) <= retry.base <= retry.cap <= TIMEOUT_MAX:
        found.append("the pauses must satisfy 0 <= base <= cap")
    if not 1 <= retry.factor <= 100:
        found.append("the factor must lie between 1 and 100")
    return found


def _group_problems(definition: SagaDefinition) -> list[str]:
    found = []
    for group in dict.fromkeys(step.group for step in definition.steps if step.group is not None):
        places = [position for position, step in enumerate(definition.steps) if step.group == group]
        if places[-1] - places[0] >= len(places):
            found.append(f"the steps of group {group!r} must stand next to each other")
    return found


def _kind_problems(definition: SagaDefinition) -> list[str]:
    """Rule 7: what can be undone, then one point of no return, then what is tried until it works."""
    pivot = definition.pivot
    kinds = [step.kind for step in definition.steps]
    if kinds.count(Kind.PIVOT) > 1:
        return ["a saga has one pivot at most"]
    found = []
    for position, step in enumerate(definition.steps):
        behind = pivot is not None and position > pivot
        for wrong, sentence in (
            (position == pivot and step.compensation, "the pivot is the point of no return: no compensation"),
            (position == pivot and step.group, "the pivot stands alone, not in a group"),
            (position == pivot and step.external, "the pivot needs a command of its own"),
            (step.kind is Kind.RETRIABLE and not behind, "a retriable step stands behind the pivot"),
            (behind and step.compensation, "behind the pivot nothing is undone: no compensation"),
            (behind and step.kind is not Kind.RETRIABLE, "behind the pivot every step is retriable"),
        ):
            if wrong:
                found.append(f"step {step.name!r}: {sentence}")
    return found


def _is_model(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)


def _takes_two(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True
