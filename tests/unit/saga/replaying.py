"""Histories: what the log of a saga says, entry by entry, and how the saga stood after each of them.

An entry is read here as an upgrade reads it: the event is put together from the words of the log alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast, get_args

import msgspec

from coordinator.engine.journal import BEGAN, began, entry
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.effects import Moved
from coordinator.saga.events import Event, Reply, Verb
from coordinator.saga.machine import begin, decide
from coordinator.saga.model import Saga, command_id, dump_state
from coordinator.scenario.parser import parse
from coordinator.scenario.player import ROLL, SAGA_ID, Player

_EVENTS: Mapping[str, type[Any]] = {kind.__name__: kind for kind in get_args(Event)}


class Line(msgspec.Struct):
    """One entry of the log and what came of it; `verdict` is that of the record which it is about."""

    event: str
    step_name: str | None
    data: msgspec.Raw
    verdict: str
    status: str
    version: int
    effects: list[Any]
    state: msgspec.Raw


class Head(msgspec.Struct):
    """Whose history it is."""

    definition: str
    definition_version: int
    input: msgspec.Raw


class _Timed(Player):
    """Plays scripts and remembers when each event came."""

    def __init__(self, definitions: Iterable[SagaDefinition]) -> None:
        super().__init__(definitions)
        self.moments: list[int] = []

    def _decide(self, event: Event) -> Iterator[str]:
        self.moments.append(self.now_ms)
        return super()._decide(event)


def written(script: str, definitions: Iterable[SagaDefinition]) -> str:
    """Play a script, and write down what the log keeps of it."""
    player = _Timed(definitions)
    for line in parse(script):
        player.take(line)
    saga = player.begun.saga
    head = Head(saga.definition, saga.definition_version, msgspec.Raw(saga.input))
    lines = [_line(BEGAN, None, began(0, saga.starts_ms), player.begun)]
    for happened, now_ms in zip(player.history, player.moments, strict=True):
        assert not isinstance(happened.decision, str), f"{happened.event} was refused: {happened.decision}"
        if isinstance(happened.decision, Moved):
            lines.append(_line(*entry(happened.event, now_ms, ROLL), happened.decision))
    return "".join(f"{msgspec.json.encode(each).decode()}\n" for each in [head, *lines])


def replayed(text: str, definitions: Iterable[SagaDefinition]) -> str:
    """Read a history, decide each entry again, and write down what came of it."""
    first, *rest = text.splitlines()
    head = msgspec.json.decode(first, type=Head)
    known = {(each.name, each.version): each for each in definitions}
    definition = known[head.definition, head.definition_version]
    lines = [msgspec.json.decode(each, type=Line) for each in rest]
    said = msgspec.json.decode(lines[0].data)
    moved = begin(
        definition, SAGA_ID, now_ms=said["now_ms"], input_=bytes(head.input), start_at_ms=said.get("start_at_ms")
    )
    again = [_line(lines[0].event, None, bytes(lines[0].data), moved)]
    for line in lines[1:]:
        said = msgspec.json.decode(line.data, type=dict[str, msgspec.Raw])
        now_ms = msgspec.json.decode(said.pop("now_ms"), type=int)
        roll = msgspec.json.decode(said.pop("roll", msgspec.Raw(b"0")), type=float)
        event = _event(definition, moved.saga, line, said)
        decision = decide(definition, moved.saga, event, now_ms=now_ms, roll=roll)
        if not isinstance(decision, Moved):
            again.append(Line(line.event, line.step_name, line.data, *("stayed", decision.reason, 0, [], line.state)))
            continue
        moved = decision
        again.append(_line(line.event, line.step_name, bytes(line.data), moved))
    return "".join(f"{msgspec.json.encode(each).decode()}\n" for each in [head, *again])


def _line(event: str, step_name: str | None, data: bytes, moved: Moved) -> Line:
    saga = moved.saga
    effects = [{"type": type(effect).__name__, **msgspec.structs.asdict(effect)} for effect in moved.effects]
    state = msgspec.Raw(dump_state(saga))
    return Line(event, step_name, msgspec.Raw(data), moved.verdict, saga.status, saga.version, effects, state)


def _event(definition: SagaDefinition, saga: Saga, line: Line, said: dict[str, msgspec.Raw]) -> Event:
    """Put an event together: what the log leaves out of a reply follows from the saga and its definition."""
    kind = _EVENTS[line.event]
    fields: dict[str, Any] = {"type": line.event, **said}
    if "step_name" in kind.__struct_fields__ and line.step_name is not None:
        fields["step_name"] = line.step_name
    if issubclass(kind, Reply) and line.step_name is not None:
        place = definition.index[line.step_name]
        generation = saga.steps[place].generation
        fields["source"] = definition.steps[place].participant
        fields["command_id"] = command_id(saga.id, generation, line.step_name, kind.direction)
    # A verb's JSON text may be null as well, which msgspec cannot read as such.
    raw = {name: fields.pop(name) for name in ("result", "payload") if issubclass(kind, Verb) and name in fields}
    event = msgspec.json.decode(msgspec.json.encode(fields), type=kind)
    stated = {name: value for name, value in raw.items() if bytes(value) != b"null"}
    return cast("Event", msgspec.structs.replace(event, **stated))
