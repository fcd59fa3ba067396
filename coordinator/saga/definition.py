"""Saga definitions are data: ordered steps with commands, timeouts and budgets, checked when they are made.

    steps=(
        *parallel("bookings", Step("book_hotel", participant="hotel", action="BookRoom"), ...),
        external("approval", timeout=hours(4), when=is_dear),
        Step("take_payment", participant="payment", action="ProcessPayment", kind=Kind.PIVOT, payload=bill),
    )

A definition that cannot work raises DefinitionError with a sentence that says why (design section 4); the sentences are
in checks.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from coordinator.errors import DefinitionError
from coordinator.saga import checks
from coordinator.saga.model import Kind
from coordinator.saga.paths import Compiled, Fields, compiled

__all__ = [
    "COMPENSATION_RETRY",
    "RECOVERY",
    "Fields",
    "Kind",
    "Retry",
    "SagaDefinition",
    "Step",
    "external",
    "hours",
    "minutes",
    "parallel",
    "seconds",
]

# Both get the saga's input as its model and the results so far (payloads.Results), and must depend on nothing else.
Condition: TypeAlias = Callable[[Any, Any], bool]
PayloadPaths: TypeAlias = Mapping[str, "str | PayloadPaths"]
PayloadFunction: TypeAlias = Callable[[Any, Any], BaseModel | Mapping[str, Any]]

# Of a field that does not change what a saga does: it is no part of a version's content.
BESIDE: Final[Mapping[str, bool]] = {"content": False}


def seconds(amount: float) -> timedelta:
    """Say a length of time in seconds."""
    return timedelta(seconds=amount)


def minutes(amount: float) -> timedelta:
    """Say a length of time in minutes."""
    return timedelta(minutes=amount)


def hours(amount: float) -> timedelta:
    """Say a length of time in hours."""
    return timedelta(hours=amount)


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
RECOVERY = Retry(attempts=5, base=timedelta(seconds=10), cap=timedelta(minutes=10))


@dataclass(frozen=True)
class Step:
    """One participant's part: an action and, unless it needs none, a compensation.

    `timeout` is how long one attempt may stay unanswered; `progress_max` is how far reports of progress may move that
    deadline, counted from the attempt's issue. `expiry` is how long after its issue a participant may still begin the
    action; it is wide: a command that waited out an outage of ours is still wanted. `result` is the shape that later
    readers rely on; None takes any object. `payload` says what the action carries: None is the saga's input, a mapping
    (Fields, or a plain one) names fields and where each comes from (`"input.city"`, `"book_room.price_cents"`), a
    function makes it. `when` says whether the step is wanted at all. Neighbours of one `group` are issued together. A
    step without an action is external: somebody outside completes it. `sensitive` are paths of the result and of the
    payload that not everybody may see, such as `result.iban` (sensitive.py).
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
    kind: Kind = Kind.COMPENSATABLE
    payload: PayloadPaths | PayloadFunction | None = None
    when: Condition | None = None
    group: str | None = None
    progress_max: timedelta | None = None
    sensitive: tuple[str, ...] = field(default=(), metadata=BESIDE)

    @cached_property
    def external(self) -> bool:
        """Whether somebody outside completes the step, and no command is sent."""
        return not self.action

    @cached_property
    def paths(self) -> Compiled | None:
        """The payload's paths, taken apart; None where it has none."""
        return compiled(self.payload) if isinstance(self.payload, Mapping) else None

    @cached_property
    def timeout_ms(self) -> int:
        """The action's timeout in milliseconds."""
        return _ms(self.timeout)

    @cached_property
    def compensation_timeout_ms(self) -> int:
        """The compensation's timeout in milliseconds; the action's where none is given."""
        return _ms(self.compensation_timeout or self.timeout)

    @cached_property
    def expiry_ms(self) -> int:
        """The expiry in milliseconds."""
        return _ms(self.expiry)

    @cached_property
    def progress_max_ms(self) -> int | None:
        """How far progress may move the deadline, in milliseconds after the issue; None: not at all."""
        return None if self.progress_max is None else _ms(self.progress_max)


def parallel(group: str, *steps: Step) -> tuple[Step, ...]:
    """Let steps be issued together: the saga goes on when all of them are done (design section 3, rule 8).

    Raises DefinitionError for a group of none.
    """
    if not steps:
        raise DefinitionError(f"the group {group!r} has no steps")
    return tuple(replace(step, group=group) for step in steps)


def external(
    name: str,
    *,
    timeout: timedelta,
    result: type[BaseModel] | None = None,
    when: Condition | None = None,
    kind: Kind = Kind.COMPENSATABLE,
    sensitive: tuple[str, ...] = (),
) -> Step:
    """Make a step that somebody outside completes, by an API call or a message, within `timeout`."""
    once = Retry(attempts=1)
    widest = max(timeout, timedelta(days=1))
    return Step(
        *(name, "", ""),
        timeout=timeout,
        retry=once,
        expiry=widest,
        result=result,
        when=when,
        kind=kind,
        sensitive=sensitive,
    )


@dataclass(frozen=True)
class SagaDefinition:
    """The plan of a saga; (name, version) identifies it and each run is pinned to it.

    `input` is the model that a start request must fit; `business_key` names the text field of it that is
    unique per definition name. `deadline` is for the whole saga, counted from its start. `recovery` is how what was
    given up is tried again before a person is asked; None leaves that to the settings. `sensitive` are paths of the
    input that not everybody may see.
    """

    name: str
    version: int
    input: type[BaseModel]
    business_key: str
    steps: tuple[Step, ...]
    deadline: timedelta | None = None
    recovery: Retry | None = None
    sensitive: tuple[str, ...] = field(default=(), metadata=BESIDE)

    def __post_init__(self) -> None:
        for sentence in checks.problems(self):
            raise DefinitionError(f"{self.name} version {self.version}: {sentence}")

    @cached_property
    def index(self) -> dict[str, int]:
        """Step name -> position."""
        return {step.name: position for position, step in enumerate(self.steps)}

    @cached_property
    def participants(self) -> tuple[str, ...]:
        """The participants' names, each once, in order of first use."""
        return tuple(dict.fromkeys(step.participant for step in self.steps if not step.external))

    @cached_property
    def stages(self) -> tuple[tuple[int, ...], ...]:
        """The positions of the steps that are issued together, in order; most stages are one step."""
        stages: list[tuple[int, ...]] = []
        for position, step in enumerate(self.steps):
            if step.group is not None and position and self.steps[position - 1].group == step.group:
                stages[-1] += (position,)
            else:
                stages.append((position,))
        return tuple(stages)

    @cached_property
    def stage_of(self) -> tuple[int, ...]:
        """Position of a step -> number of its stage."""
        return tuple(number for number, stage in enumerate(self.stages) for _ in stage)

    @cached_property
    def pivot(self) -> int | None:
        """The position of the pivot, or None."""
        return next((position for position, step in enumerate(self.steps) if step.kind is Kind.PIVOT), None)

    @cached_property
    def deadline_ms(self) -> int | None:
        """How long the whole saga may take, in milliseconds, or None."""
        return None if self.deadline is None else _ms(self.deadline)

    @cached_property
    def shortest_ms(self) -> int:
        """The shortest time that any step gives its action, in milliseconds."""
        return min(step.timeout_ms for step in self.steps)

    @cached_property
    def redrives(self) -> Retry:
        """How what was given up is tried again."""
        return self.recovery or RECOVERY


def _ms(length: timedelta) -> int:
    return int(length / timedelta(milliseconds=1))
