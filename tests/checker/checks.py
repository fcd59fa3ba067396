"""What must be true after any run that has come to rest, whatever went wrong on the way.

Each check takes the evidence and answers sentences about what it found wrong; an empty list is a pass. `Checker`
runs them all. None of them trusts the coordinator's own account where the participants' tables or Kafka have one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.checker.books import (
    acts_are_audited,
    money_is_conserved,
    no_secret_is_told,
    one_saga_per_business_key,
    tallies_are_the_rows,
)
from tests.checker.evidence import Check, Effect, Evidence, Expected, Plan, SagaRow, gather
from tests.checker.history import (
    RESTING,
    TERMINAL,
    given_up_is_open_while_it_matters,
    states_are_those_logged,
    the_log_goes_one_way,
    undo_is_one_at_a_time,
)
from tests.checker.published import commands_go_in_order, commands_say_what_they_must

__all__ = ["CHECKS", "Expected", "check_run", "judge"]

UNREADABLE = ("codec", "corrupt")
GOING_ON = ("RetryRequested", "ResumeRequested", "SkipRequested", "ResolveRequested")


def nothing_is_lost(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """Every acknowledged saga exists and rests: ended, or parked with an open incident."""
    for saga_id in expected.saga_ids - found.sagas.keys():
        yield f"saga {saga_id} was acknowledged and is not there"
    for saga in found.sagas.values():
        if saga.status not in RESTING:
            yield f"saga {saga.id} is still {saga.status}"
        if saga.status == "suspended" and saga.id not in found.open_incidents:
            yield f"saga {saga.id} is suspended and no incident says why"
        if saga.status in TERMINAL and saga.wakes:
            yield f"saga {saga.id} is {saga.status} and has something to wake for"
        if found.keys[saga.id] != 1:
            yield f"saga {saga.id} has {found.keys[saga.id]} business keys"


def the_log_is_a_chain(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """The log of each saga counts from 1 to the saga's version without a gap, and ends with its status."""
    for saga in found.sagas.values():
        entries = found.log.get(saga.id, [])
        versions = [entry.version for entry in entries]
        if versions != list(range(1, saga.version + 1)):
            yield f"saga {saga.id} is at version {saga.version}, its log has {versions}"
        elif entries[-1].status != saga.status:
            yield f"saga {saga.id} is {saga.status}, its log ends with {entries[-1].status}"
    for saga_id in found.log.keys() - found.sagas.keys():
        yield f"the log tells of saga {saga_id}, which is not there"


def commands_are_those_committed(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """Kafka has every command that the database says was issued, and no other; each is under its own name."""
    committed = {name: words for saga in found.sagas.values() for name, words in _committed(saga, plan)}
    for identity in sorted(committed.keys() - found.published.keys()):
        yield f"command {identity} was committed and is not on Kafka"
    for identity in sorted(found.published.keys() - committed.keys()):
        if not _is_of_an_earlier_generation(identity, found, plan):
            yield f"command {identity} is on Kafka and was never committed"
    for identity in sorted(committed.keys() & found.published.keys()):
        if found.published_types[identity] != committed[identity]:
            yield f"command {identity} is {found.published_types[identity]} on Kafka, not {committed[identity]}"


def attempts_are_those_logged(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """The attempts that the log tells of are all there were: a first one, one per pause that ended, and by persons.

    A person who lets a saga go on has all repeated that was outstanding: one command, or those of a group.
    """
    for saga in found.sagas.values():
        entries = found.log.get(saga.id, [])
        pauses = sum(entry.event == "BackoffElapsed" and not entry.released for entry in entries)
        persons = sum(entry.event in GOING_ON for entry in entries)
        widest = max(Counter(step.group or step.name for step in plan.steps_of(saga)).values())
        attempts = [(state.get("attempt", 0), state.get("undo_attempt", 0)) for state in saga.steps]
        again = sum(max(0, count - 1) for pair in attempts for count in pair)
        anew = any(state.get("generation", 1) > 1 for state in saga.steps)  # a new generation counts from one
        if not (0 if anew else pauses) <= again <= pauses + persons * widest:
            yield f"saga {saga.id} repeated {again} commands; its log has {pauses} pauses, and {persons} acts"


def every_record_has_one_verdict(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """Per partition, the durable verdicts are as many as the consumed records, and every record is consumed."""
    for part, end in found.end_offsets.items():
        shard = found.shards.get(part)
        if shard is None:
            yield f"partition {part} was never owned"
            continue
        unread = sum(
            (letter.next_offset or 0) - (letter.first_offset or 0) - 1
            for letter in found.dead_letters
            if letter.kind == "record" and letter.partition == part and letter.reason in UNREADABLE
        )
        consumed = shard.next_offset - shard.first_offset - unread - expected.invisible.get(part, 0)
        if shard.verdicts != consumed:
            yield f"partition {part}: {consumed} consumed records have {shard.verdicts} verdicts"
        if shard.next_offset != end:
            yield f"partition {part}: consumed up to {shard.next_offset}, it ends at {end}"


def effects_belong_to_sagas(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """In the participants' tables a completed saga has each effect once, a failed one has none left."""
    by_saga: defaultdict[str, list[Effect]] = defaultdict(list)
    for effect in found.effects:
        by_saga[effect.saga_id].append(effect)
    for saga_id in by_saga.keys() - found.sagas.keys():
        yield f"the participants did something for saga {saga_id}, which is not there"
    for saga in found.sagas.values():
        yield from _judge_effects(saga, by_saga[saga.id], plan)


def undo_goes_in_reverse(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """The participants did the steps of a saga in their order, and undid them one by one in reverse."""
    by_saga: defaultdict[tuple[str, str], list[Effect]] = defaultdict(list)
    for effect in sorted(found.effects, key=lambda effect: effect.at):
        by_saga[effect.saga_id, effect.kind].append(effect)
    for (saga_id, kind), effects in by_saga.items():
        place = _places(found.sagas.get(saga_id), plan)
        order = [place[effect.command] for effect in effects if effect.command in place]
        if order != sorted(order, reverse=kind == "undone"):
            yield f"saga {saga_id}: {kind} in the order {', '.join(effect.command for effect in effects)}"


def nothing_is_on_its_way(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """No outbox holds anything, and no participant has set a command aside as unreadable."""
    if found.outbox:
        yield f"{len(found.outbox)} messages are in the outbox, {found.outbox[0]} among them"
    for participant, count in found.in_doubt.items():
        if count:
            yield f"{participant} still holds {count} replies"
    for participant, count in found.unreadable.items():
        if count:
            yield f"{participant} could not read {count} commands"


def dead_letters_are_published(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """Every dead letter is on the dead-letter topic, and the topic has none that the table does not know."""
    on_topic = Counter(_letter_key(headers) for headers in found.letters)
    in_table = set()
    for row in found.dead_letters:
        where = row.command_id or f"{row.topic}/{row.partition}/{row.first_offset}"
        in_table.add(where)
        if not row.on_topic or not on_topic[where]:
            yield f"the dead letter of {where} ({row.reason}) is not on the topic"
    for where in on_topic.keys() - in_table:
        yield f"the dead-letter topic has {where}, which the table does not know"


def events_tell_the_log(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """Every transition of the log has its lifecycle event, at least once, and there are no others."""
    if not expected.events:
        return
    logged = {(saga_id, entry.version) for saga_id, entries in found.log.items() for entry in entries}
    for saga_id, version in sorted(logged - found.transitions.keys()):
        yield f"transition {version} of saga {saga_id} has no lifecycle event"
    for saga_id, version in sorted(found.transitions.keys() - logged):
        yield f"a lifecycle event tells of transition {version} of saga {saga_id}, which the log does not have"


CHECKS: tuple[Check, ...] = (
    nothing_is_lost,
    the_log_is_a_chain,
    commands_are_those_committed,
    attempts_are_those_logged,
    every_record_has_one_verdict,
    effects_belong_to_sagas,
    undo_goes_in_reverse,
    nothing_is_on_its_way,
    dead_letters_are_published,
    events_tell_the_log,
    the_log_goes_one_way,
    states_are_those_logged,
    undo_is_one_at_a_time,
    given_up_is_open_while_it_matters,
    commands_say_what_they_must,
    commands_go_in_order,
    acts_are_audited,
    tallies_are_the_rows,
    one_saga_per_business_key,
    money_is_conserved,
    no_secret_is_told,
)


def judge(found: Evidence, plan: Plan, expected: Expected | None = None) -> list[str]:
    """Run every check; answers what is wrong, each sentence with the name of its check."""
    given = expected or Expected()
    return [f"{check.__name__}: {sentence}" for check in CHECKS for sentence in check(found, plan, given)]


async def check_run(
    url: str, bootstrap_servers: str, plan: Plan, expected: Expected | None = None, logs: Sequence[Path] = ()
) -> list[str]:
    """Read database, topics and logs of a run that has come to rest, and judge them."""
    return judge(await gather(url, bootstrap_servers, plan, logs), plan, expected)


def _committed(saga: SagaRow, plan: Plan) -> Iterable[tuple[str, str]]:
    """The commands that a saga's state says were issued: their ids, and their names."""
    for step, state in zip(plan.steps_of(saga), saga.steps, strict=True):
        if not step.action:
            continue
        stem = f"{saga.id}:{state.get('generation', 1)}:{step.name}"
        for attempt in range(1, state.get("attempt", 0) + 1):
            yield f"{stem}:action#{attempt}", step.action
        for attempt in range(1, state.get("undo_attempt", 0) + 1):
            yield f"{stem}:compensation#{attempt}", step.compensation


def _is_of_an_earlier_generation(identity: str, found: Evidence, plan: Plan) -> bool:
    """Whether a command is of a generation that a person has replaced: the state no longer counts its attempts."""
    saga_id, generation, name, *_ = [*identity.split(":"), "", "", ""]
    saga = found.sagas.get(saga_id)
    if saga is None or not generation.isdigit():
        return False
    now = {step.name: state.get("generation", 1) for step, state in zip(plan.steps_of(saga), saga.steps, strict=True)}
    return bool(1 <= int(generation) < now.get(name, 1))


def _places(saga: SagaRow | None, plan: Plan) -> dict[str, int]:
    """Where each command stands: steps of a group are done in any order, and undone in that of the definition."""
    steps = plan.steps if saga is None else plan.steps_of(saga)
    first = {step.group or step.name: number for number, step in reversed(list(enumerate(steps)))}
    done = {step.action: first[step.group or step.name] for step in steps if step.action}
    return done | {step.compensation: number for number, step in enumerate(steps) if step.compensation}


def _judge_effects(saga: SagaRow, effects: list[Effect], plan: Plan) -> Iterable[str]:
    done = Counter(effect.command for effect in effects if effect.kind == "done")
    undone = Counter(effect.command for effect in effects if effect.kind == "undone")
    for step, state in zip(plan.steps_of(saga), saga.steps, strict=True):
        if not step.action:
            continue
        outcome, undo = state.get("outcome", "waiting"), state.get("undo", "none")
        count, taken_back = done[step.action], undone[step.compensation]
        about = f"saga {saga.id} ({saga.status}), {step.name}"
        if count > 1 or taken_back > count:
            yield f"{about}: done {count} times, undone {taken_back} times"
        if saga.status == "completed" and (count, taken_back) != (0 if outcome == "skipped" else 1, 0):
            yield f"{about}: done {count} times, undone {taken_back} times, in a completed saga"
        if saga.status == "failed" and count != taken_back:
            yield f"{about}: something is left of a failed saga"
        if outcome == "completed" and not count:
            yield f"{about}: counts as completed and was never done"
        if undo == "compensated" and count != taken_back:
            yield f"{about}: counts as compensated and is still there"
        if undo != "compensated" and taken_back and undo not in ("issued", "backing_off", "dead_lettered"):
            yield f"{about}: was undone and nobody had asked for it"
        if outcome in ("waiting", "failed", "skipped") and count:
            yield f"{about}: was done although its outcome is {outcome}"


def _letter_key(headers: dict[str, str]) -> str:
    if "saga-dlq-command-id" in headers:  # of a command; a record has its place instead
        return headers["saga-dlq-command-id"]
    names = ("saga-dlq-original-topic", "saga-dlq-original-partition", "saga-dlq-original-offset")
    return "/".join(headers[name] for name in names)
