"""Saga definitions are data: ordered steps with commands, timeouts and budgets, checked when they are made.

    Step("process_payment", participant="payment", action="ProcessPayment",
         compensation="RefundPayment", timeout=minutes(1))

A definition that cannot work raises DefinitionError with a sentence that says why (design section 4).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from coordinator.errors import DefinitionError

STEPS_MAX = 64  # the state of a saga is rewritten with each transition: it must stay small
TIMEOUT_MAX = timedelta(days=30)  # participants remember command ids for 30 days (design section 8)
ATTEMPTS_MAX = 100  # more than that is an outage, not a hiccup

_STEP_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PARTICIPANT = re.compile(r"[a-z][a-z0-9-]{0,62}")
_MESSAGE = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")


def seconds(amount: float) -> timedelta:
    """Say a length of time in seconds."""
    return timedelta(seconds=amount)


def minutes(amount: float) -> timedelta:
    """Say a length of time in minutes."""
    return timedelta(minutes=amount)


@dataclass(frozen=True)
class Retry:
    """A budget of attempts with exponential back-off and full jitter.

    The pause before attempt n+1 is drawn evenly from 0 to min(cap, base * factor ** (n - 1)).
    """

    attempts: int = 3
    base: timedelta = timedelta(milliseconds=500)
    factor: float = 2.0
    cap: timedelta = timedelta(seconds=30)

    def pause_ms(self, used: int, roll: float) -> int:
        """Draw the pause after `used` attempts; `roll` is a number in [0, 1)."""
        ceiling = min(self.cap, self.base * min(self.factor ** (used - 1), 1e6))
        return int(ceiling / timedelta(milliseconds=1) * roll)


COMPENSATION_RETRY = Retry(attempts=10, cap=timedelta(minutes=1))


@dataclass(frozen=True)
class Step:
    """One participant's part: an action and, unless it needs none, a compensation.

    `timeout` is how long one attempt may stay unanswered. `expiry` is how long after its issue a participant
    may still begin the action; it is wide: a command that waited out an outage of ours is still wanted.
    `result` is the shape that later readers rely on; None takes any object.
    """

    name: str
    participant: str
    action: str
    compensation: str | None = None
    timeout: timedelta = timedelta(minutes=1)
    retry: Retry = field(default_factory=Retry)
    compensation_retry: Retry = COMPENSATION_RETRY
    compensation_timeout: timedelta | None = None
    expiry: timedelta = timedelta(days=1)
    result: type[BaseModel] | None = None

    @cached_property
    def timeout_ms(self) -> int:
        """The action's timeout in milliseconds."""
        return int(self.timeout / timedelta(milliseconds=1))

    @cached_property
    def compensation_timeout_ms(self) -> int:
        """The compensation's timeout in milliseconds; the action's where none is given."""
        return int((self.compensation_timeout or self.timeout) / timedelta(milliseconds=1))

    @cached_property
    def expiry_ms(self) -> int:
        """The expiry in milliseconds."""
        return int(self.expiry / timedelta(milliseconds=1))


@dataclass(frozen=True)
class SagaDefinition:
    """The plan of a saga; (name, version) identifies it and each run is pinned to it.

    `input` is the model that a start request must fit; `business_key` names the text field of it that is
    unique per definition name.
    """

    name: str
    version: int
    input: type[BaseModel]
    business_key: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        for sentence in _problems(self):
            raise DefinitionError(f"{self.name} version {self.version}: {sentence}")

    @cached_property
    def index(self) -> dict[str, int]:
        """Step name -> position."""
        return {step.name: position for position, step in enumerate(self.steps)}

    @cached_property
    def participants(self) -> tuple[str, ...]:
        """The participants' names, each once, in order of first use."""
        return tuple(dict.fromkeys(step.participant for step in self.steps))


def _problems(definition: SagaDefinition) -> list[str]:
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
    for step in definition.steps:
        found += [f"step {step.name!r}: {sentence}" for sentence in _step_problems(step)]
    return found


def _business_key_problems(model: Any, name: str) -> list[str]:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return ["the input must be a pydantic model"]
    chosen = model.model_fields.get(name)
    if chosen is None:
        return [f"the business key {name!r} is no field of {model.__name__}"]
    if chosen.annotation is not str or not chosen.is_required():
        return [f"the business key {name!r} must be a required text field of {model.__name__}"]
    return []


def _step_problems(step: Step) -> list[str]:
    found = []
    if not _STEP_NAME.fullmatch(step.name):
        found.append("a step's name is lower-case letters, digits and underscores, at most 63")
    if not _PARTICIPANT.fullmatch(step.participant):
        found.append(f"{step.participant!r} is no participant's name: lower-case letters, digits and hyphens")
    found += [
        f"{message!r} is no command's name: CamelCase letters and digits"
        for message in (step.action, step.compensation)
        if message is not None and not _MESSAGE.fullmatch(message)
    ]
    if step.action == step.compensation:
        found.append("the compensation cannot be the action itself")
    if step.result is not None and not (isinstance(step.result, type) and issubclass(step.result, BaseModel)):
        found.append("the result must be a pydantic model or None")
    found += _length_problems(step)
    for name, retry in {"retry": step.retry, "compensation retry": step.compensation_retry}.items():
        found += [f"{name}: {sentence}" for sentence in _retry_problems(retry)]
    return found


def _length_problems(step: Step) -> list[str]:
    lengths = {"timeout": step.timeout, "compensation timeout": step.compensation_timeout or step.timeout}
    found = [
        f"the {name} must lie between one millisecond and {TIMEOUT_MAX.days} days"
        for name, length in lengths.items()
        if not timedelta(milliseconds=1) <= length <= TIMEOUT_MAX
    ]
    if not step.timeout <= step.expiry <= TIMEOUT_MAX:
        found.append(f"the expiry must lie between the timeout and {TIMEOUT_MAX.days} days")
    return found


def _retry_problems(retry: Retry) -> list[str]:
    found = []
    if type(retry.attempts) is not int or not 1 <= retry.attempts <= ATTEMPTS_MAX:
        found.append(f"the attempts must be a whole number from 1 to {ATTEMPTS_MAX}")
    if not timedelta(0) <= retry.base <= retry.cap <= TIMEOUT_MAX:
        found.append("the pauses must satisfy 0 <= base <= cap")
    if not 1 <= retry.factor <= 100:
        found.append("the factor must lie between 1 and 100")
    return found
