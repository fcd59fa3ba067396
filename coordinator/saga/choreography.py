"""Choreography definitions are data: which event may follow which, and how long to wait for it.

    ExpectedEvent("PaymentProcessed", source="payment", then=("ShipmentCreated", "ShipmentFailed"), within=minutes(15))

Nobody is commanded: participants react to each other's events, and the definition says what an observer may expect of
them. After each event exactly one of `then` follows. A saga walks back from the first event on after which only
`failed` can come; that follows from the graph and is declared nowhere. A definition that cannot work raises
DefinitionError with a sentence that says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from coordinator.errors import DefinitionError
from coordinator.saga.checks import STEPS_MAX, TIMEOUT_MAX
from coordinator.saga.definition import BESIDE
from coordinator.saga.model import Facing, SagaStatus
from coordinator.saga.sensitive import Unfit, resolved

EVENTS_MAX = STEPS_MAX

_TYPE = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_SOURCE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_ENDS = (SagaStatus.COMPLETED, SagaStatus.FAILED)


@dataclass(frozen=True)
class ExpectedEvent:
    """An event that belongs to a choreography: either something follows it `within` a time, or it `ends` the saga.

    `source` is who says it, on its own topic of events.
    """

    type: str
    source: str
    then: tuple[str, ...] = ()
    within: timedelta | None = None
    ends: SagaStatus | None = None

    @property
    def within_ms(self) -> int | None:
        """How long the next event may take, in milliseconds; None when the saga ends here."""
        return None if self.within is None else int(self.within / timedelta(milliseconds=1))


@dataclass(frozen=True)
class ChoreographyDefinition:
    """The plan of a saga without a coordinator; the first of `events` begins it.

    `correlation` names the text field, in every event's data, that says which saga the event belongs to. `sensitive`
    are paths of that data which not everybody may see; its shape is declared nowhere, so nobody checks their names.
    """

    name: str
    version: int
    events: tuple[ExpectedEvent, ...]
    correlation: str = "order_id"
    sensitive: tuple[str, ...] = field(default=(), metadata=BESIDE)

    def __post_init__(self) -> None:
        for sentence in _problems(self):
            raise DefinitionError(f"{self.name} version {self.version}: {sentence}")

    @cached_property
    def by_type(self) -> dict[str, ExpectedEvent]:
        """The events by their type."""
        return {event.type: event for event in self.events}

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Who says the events, each once, in order of first use."""
        return tuple(dict.fromkeys(event.source for event in self.events))

    @cached_property
    def following(self) -> dict[str, frozenset[str]]:
        """Type -> every type that can come after it, sooner or later."""
        following: dict[str, frozenset[str]] = {}

        def after(type_: str) -> frozenset[str]:
            if type_ not in following:
                then = self.by_type[type_].then
                following[type_] = frozenset(then).union(*map(after, then))
            return following[type_]

        for event in self.events:
            after(event.type)
        return following

    def facing(self, type_: str) -> Facing:
        """Which way a saga goes that stands at this event."""
        ends = {self.by_type[each].ends for each in (type_, *self.following[type_])}
        return Facing.FORWARD if SagaStatus.COMPLETED in ends else Facing.BACKWARD

    def are_ordered(self, one: str, other: str) -> bool:
        """Whether one saga can have both events, one before the other."""
        return one == other or one in self.following[other] or other in self.following[one]


def _problems(definition: ChoreographyDefinition) -> Iterator[str]:
    if not _TYPE.fullmatch(definition.name):
        yield "the name must be CamelCase letters and digits, at most 63"
    if type(definition.version) is not int or not 1 <= definition.version <= 32_767:
        yield "the version must be a whole number from 1 to 32767"
    if not _FIELD.fullmatch(definition.correlation):
        yield f"the correlation {definition.correlation!r} is no field's name"
    yield from _sensitive_problems(definition)
    if not 1 <= len(definition.events) <= EVENTS_MAX:
        yield f"a choreography has 1 to {EVENTS_MAX} events"
    types = [event.type for event in definition.events]
    for type_ in dict.fromkeys(types):
        if types.count(type_) > 1:
            yield f"the event {type_!r} is named twice"
    for event in definition.events:
        for sentence in _event_problems(event, types):
            yield f"event {event.type!r}: {sentence}"
    yield from _graph_problems(definition)


def _sensitive_problems(definition: ChoreographyDefinition) -> Iterator[str]:
    for path in definition.sensitive:
        try:
            resolved(None, path)
        except Unfit as unfit:
            yield f"sensitive: {unfit}"
        if path == definition.correlation:
            yield f"sensitive: {path!r} is the business key, which lists and events show: it cannot be masked"


def _event_problems(event: ExpectedEvent, types: list[str]) -> Iterator[str]:
    if not _TYPE.fullmatch(event.type):
        yield "an event's type is CamelCase letters and digits, at most 63"
    if not _SOURCE.fullmatch(event.source):
        yield f"{event.source!r} is no source's name: lower-case letters, digits, hyphens and underscores"
    if event.ends is not None and event.ends not in _ENDS:
        yield "a choreography ends completed or failed"
    if event.ends is not None and (event.then or event.within is not None):
        yield "nothing follows where the saga ends"
    if event.ends is None and not event.then:
        yield "something must follow it, or the saga must end with it"
    if event.ends is None and (event.within is None or not timedelta(0) < event.within <= TIMEOUT_MAX):
        yield f"the time until the next event must be more than nothing and at most {TIMEOUT_MAX.days} days"
    for type_ in dict.fromkeys(event.then):
        if type_ not in types:
            yield f"it is followed by {type_!r}, which is no event of this choreography"
        if event.then.count(type_) > 1:
            yield f"it is followed by {type_!r} twice"


def _graph_problems(definition: ChoreographyDefinition) -> Iterator[str]:
    """Look at the graph; every event named in it is known by now."""
    reached: list[str] = [definition.events[0].type]
    for type_ in reached:
        reached += [then for then in definition.by_type[type_].then if then not in reached]
    for event in definition.events:
        if event.type not in reached:
            yield f"event {event.type!r}: no way leads to it from {definition.events[0].type!r}, which begins the saga"
    waiting = {event.type: set(event.then) for event in definition.events}
    while settled := {type_ for type_, then in waiting.items() if not then}:
        waiting = {type_: then - settled for type_, then in waiting.items() if type_ not in settled}
    if waiting:
        yield f"the events go round in a circle: {', '.join(sorted(waiting))}"
    if not any(event.ends is SagaStatus.COMPLETED for event in definition.events):
        yield "no way leads to completed"
