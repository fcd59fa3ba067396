"""What the commands on Kafka must say, and the order in which they stand there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tests.checker.evidence import CommandRecord, Evidence, Expected, Plan, SagaRow


def commands_say_what_they_must(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """A command names its saga, definition and step, goes to its participant, and is the same in all its attempts."""
    contents: dict[str, str] = {}
    wholes: dict[str, str] = {}
    for command in found.commands:
        saga = found.sagas.get(command.saga_id)
        if saga is None:
            yield f"command {command.identity} is about saga {command.saga_id}, which is not there"
            continue
        yield from _misnomers(command, saga, plan)
        if contents.setdefault(command.command_id, command.content) != command.content:
            yield f"the attempts of {command.command_id} carry different payloads"
        if wholes.setdefault(command.identity, command.whole) != command.whole:
            yield f"command {command.identity} was published with two values"


def commands_go_in_order(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """The commands of a saga to one participant stand in one partition, first ones in the order of their causes."""
    told: defaultdict[tuple[str, str], list[CommandRecord]] = defaultdict(list)
    for command in sorted(found.commands, key=lambda command: command.offset):
        told[command.saga_id, command.topic].append(command)
    for (saga_id, topic), commands in told.items():
        partitions = {command.partition for command in commands}
        if len(partitions) > 1:
            yield f"the commands of saga {saga_id} on {topic} are in the partitions {sorted(partitions)}"
            continue
        saga = found.sagas.get(saga_id)
        if saga is None or _had_help(found, saga_id):
            continue  # a person may ask for anything again
        place = {step.name: number for number, step in enumerate(plan.steps_of(saga))}
        firsts = list(dict.fromkeys(command.identity for command in commands))
        by_identity = {command.identity: command for command in commands}
        order = [_cause(by_identity[identity], place) for identity in firsts]
        if order != sorted(order):
            yield f"the commands of saga {saga_id} on {topic} stand in the order {', '.join(firsts)}"


def _misnomers(command: CommandRecord, saga: SagaRow, plan: Plan) -> Iterable[str]:
    steps = {step.name: (step, state) for step, state in zip(plan.steps_of(saga), saga.steps, strict=True)}
    if command.step_name not in steps:
        yield f"command {command.identity} is about the step {command.step_name}, which its saga does not have"
        return
    step, state = steps[command.step_name]
    generation = command.command_id.removeprefix(f"{saga.id}:").partition(":")[0]
    if generation.isdigit() and int(generation) > state.get("generation", 1):
        yield f"command {command.identity} is of a generation that its step has not come to"
    name = f"{saga.id}:{generation}:{step.name}:{command.direction}"
    said = {
        "the key": (command.key, saga.id),
        "the id": (command.identity, f"{command.command_id}#{command.attempt}"),
        "the command's id": (command.command_id, name if generation.isdigit() else f"{saga.id}:?"),
        "the definition": (command.saga_type, saga.definition or command.saga_type),
        "the topic": (command.topic, f"{plan.prefix}{step.participant}.commands"),
    }
    for what, (is_, must_be) in said.items():
        if is_ != must_be:
            yield f"command {command.identity}: {what} is {is_}, not {must_be}"


def _had_help(found: Evidence, saga_id: str) -> bool:
    return any(entry.event.endswith("Requested") for entry in found.log.get(saga_id, []))


def _cause(command: CommandRecord, place: dict[str, int]) -> tuple[int, int, int]:
    number = place.get(command.step_name, 0)
    undo = command.direction == "compensation"
    return int(undo), -number if undo else number, command.attempt
