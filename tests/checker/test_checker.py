"""A checker that finds nothing is worth something only if it would have found something."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from tests.checker.checks import CHECKS, judge
from tests.checker.evidence import CommandRecord, DeadLetterRow, Evidence, ShardRow
from tests.checker.flawless import BEGAN, EXPECTED, GOOD, PLAN, UNDONE, act, count, do, flawless, publish
from tests.checker.planted import FURTHER


def lose_a_saga(found: Evidence) -> None:
    """Let an acknowledged saga vanish with all that is known of it."""
    for place in (found.sagas, found.log):
        place.pop(GOOD)
    found.transitions = type(found.transitions)({key: 1 for key in found.transitions if key[0] != GOOD})
    found.effects = [effect for effect in found.effects if effect.saga_id != GOOD]
    for identity in [identity for identity in found.published if identity.startswith(GOOD)]:
        del found.published[identity]
    found.commands = [command for command in found.commands if command.saga_id != GOOD]
    found.holds = [hold for hold in found.holds if hold.saga_id != GOOD]
    count(found)


def leave_a_saga_running(found: Evidence) -> None:
    """Let a saga hang."""
    found.sagas[GOOD].status = found.log[GOOD][-1].status = "pending"
    count(found)


def park_without_a_reason(found: Evidence) -> None:
    """Suspend without an incident."""
    found.open_incidents.clear()


def let_an_ended_saga_wake(found: Evidence) -> None:
    """Leave a timer behind."""
    found.sagas[GOOD].wakes = True


def start_twice_for_a_key(found: Evidence) -> None:
    """Count a business key twice."""
    found.keys[GOOD] = 2


def skip_a_log_entry(found: Evidence) -> None:
    """Lose a line of the log."""
    del found.log[UNDONE][0]
    del found.transitions[UNDONE, 1]


def end_otherwise_than_logged(found: Evidence) -> None:
    """Let the row say something else than the log."""
    found.log[UNDONE][-1].status = "compensating"


def lose_a_command(found: Evidence) -> None:
    """Let a committed command never reach Kafka."""
    del found.published[f"{GOOD}:1:ship:action#1"]


def lose_an_attempt(found: Evidence) -> None:
    """Let a second attempt never reach Kafka."""
    del found.published[f"{GOOD}:1:pay:action#2"]


def publish_a_ghost(found: Evidence) -> None:
    """Publish what was never committed."""
    found.published[f"{GOOD}:1:pay:compensation#1"] = 1


def misname_a_command(found: Evidence) -> None:
    """Publish an action under a compensation's name."""
    found.published_types[f"{GOOD}:1:pay:action#1"] = "RefundPayment"


def repeat_without_a_reason(found: Evidence) -> None:
    """Issue an attempt that no pause and no person asked for."""
    found.sagas[UNDONE].steps[0] = {**found.sagas[UNDONE].steps[0], "attempt": 2}
    publish(found)


def consume_without_a_verdict(found: Evidence) -> None:
    """Let a record pass without a judgement."""
    found.shards[1].verdicts -= 1


def judge_twice(found: Evidence) -> None:
    """Count a record twice."""
    found.shards[0].verdicts += 1


def stop_consuming(found: Evidence) -> None:
    """Leave records at the end of a partition."""
    found.end_offsets[1] = 13


def never_own_a_partition(found: Evidence) -> None:
    """Leave a partition to nobody."""
    found.end_offsets[2] = 0


def do_it_twice(found: Evidence) -> None:
    """Charge a card twice."""
    found.effects.insert(2, copy.copy(found.effects[1]))


def leave_something(found: Evidence) -> None:
    """Forget to undo."""
    found.effects = [effect for effect in found.effects if effect.command != "ReleaseReservation"]


def undo_a_completed_saga(found: Evidence) -> None:
    """Undo what should stay."""
    do(found, GOOD, [], ["CancelShipment"])


def act_for_nobody(found: Evidence) -> None:
    """Do something for a saga that does not exist."""
    do(found, "ghost", ["ReserveItems"], [])


def complete_without_an_effect(found: Evidence) -> None:
    """Call a step completed that never was."""
    found.effects = [effect for effect in found.effects if (effect.saga_id, effect.command) != (GOOD, "ProcessPayment")]


def undo_forwards(found: Evidence) -> None:
    """Undo the first step first."""
    for effect in found.effects:
        if effect.command == "ReleaseReservation":
            effect.at = BEGAN


def keep_a_message(found: Evidence) -> None:
    """Leave a row in the outbox."""
    found.outbox.append("left")


def keep_a_reply(found: Evidence) -> None:
    """Leave a reply with a participant."""
    found.in_doubt["payment"] = 1


def send_rubbish(found: Evidence) -> None:
    """Send a command that its participant cannot read."""
    found.unreadable["payment"] = 1


def hide_a_dead_letter(found: Evidence) -> None:
    """Keep a dead letter from the topic."""
    found.letters.pop()


def make_up_a_dead_letter(found: Evidence) -> None:
    """Publish a dead letter that is in no table."""
    found.dead_letters.pop()


def hush_up_a_transition(found: Evidence) -> None:
    """Lose a lifecycle event."""
    del found.transitions[UNDONE, 1]


def make_up_a_transition(found: Evidence) -> None:
    """Tell of a transition that never was."""
    found.transitions[UNDONE, 9] = 1


PLANTED: list[tuple[Callable[[Evidence], None], str]] = [
    (lose_a_saga, "nothing_is_lost"),
    (leave_a_saga_running, "nothing_is_lost"),
    (park_without_a_reason, "nothing_is_lost"),
    (let_an_ended_saga_wake, "nothing_is_lost"),
    (start_twice_for_a_key, "nothing_is_lost"),
    (skip_a_log_entry, "the_log_is_a_chain"),
    (end_otherwise_than_logged, "the_log_is_a_chain"),
    (lose_a_command, "commands_are_those_committed"),
    (lose_an_attempt, "commands_are_those_committed"),
    (publish_a_ghost, "commands_are_those_committed"),
    (misname_a_command, "commands_are_those_committed"),
    (repeat_without_a_reason, "attempts_are_those_logged"),
    (consume_without_a_verdict, "every_record_has_one_verdict"),
    (judge_twice, "every_record_has_one_verdict"),
    (stop_consuming, "every_record_has_one_verdict"),
    (never_own_a_partition, "every_record_has_one_verdict"),
    (do_it_twice, "effects_belong_to_sagas"),
    (leave_something, "effects_belong_to_sagas"),
    (undo_a_completed_saga, "effects_belong_to_sagas"),
    (act_for_nobody, "effects_belong_to_sagas"),
    (complete_without_an_effect, "effects_belong_to_sagas"),
    (undo_forwards, "undo_goes_in_reverse"),
    (keep_a_message, "nothing_is_on_its_way"),
    (keep_a_reply, "nothing_is_on_its_way"),
    (send_rubbish, "nothing_is_on_its_way"),
    (hide_a_dead_letter, "dead_letters_are_published"),
    (make_up_a_dead_letter, "dead_letters_are_published"),
    (hush_up_a_transition, "events_tell_the_log"),
    (make_up_a_transition, "events_tell_the_log"),
    *FURTHER,
]


def test_a_flawless_run_passes() -> None:
    """A run in which everything went as it must gives no complaint."""
    assert judge(flawless(), PLAN, EXPECTED) == []


@pytest.mark.parametrize(("plant", "check"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_planted_violation_is_found(plant: Callable[[Evidence], None], check: str) -> None:
    """Each way in which a run can be wrong is found by the check that is there for it, and by no unrelated one."""
    found = flawless()
    plant(found)
    complaints = judge(found, PLAN, EXPECTED)
    assert {complaint.partition(":")[0] for complaint in complaints} == {check}, complaints


def test_every_check_has_caught_something() -> None:
    """No check is without a planted violation that it finds."""
    assert {check.__name__ for check in CHECKS} == {name for _, name in PLANTED}


def test_letters_of_actions_are_known_by_their_commands() -> None:
    """An action that was given up is published as a letter like a compensation, and found by its command."""
    found = flawless()
    shipping = f"{GOOD}:1:ship:action"
    found.dead_letters.append(
        DeadLetterRow("action", "given_up", "test.shipping.commands", 0, None, None, GOOD, shipping, True)
    )
    assert judge(found, PLAN, EXPECTED) != []
    found.letters.append({"saga-dlq-kind": "action", "saga-dlq-command-id": shipping})
    assert judge(found, PLAN, EXPECTED) == []


def test_an_unreadable_range_is_one_verdict() -> None:
    """A range of unreadable offsets that became one dead letter counts as one consumed record."""
    found = flawless()
    found.shards[1] = ShardRow(1, 5, 12, 4)
    found.dead_letters.append(DeadLetterRow("record", "corrupt", "test.replies", 1, 6, 10, None, None, True))
    where = ("test.replies", "1", "6")
    names = ("saga-dlq-original-topic", "saga-dlq-original-partition", "saga-dlq-original-offset")
    found.letters.append({"saga-dlq-kind": "record", **dict(zip(names, where, strict=True))})
    assert judge(found, PLAN, EXPECTED) == []


def test_a_step_that_a_person_has_let_run_anew_passes() -> None:
    """The commands of the generation before are no ghosts, and its attempts are not missed."""
    found = flawless()
    found.sagas[GOOD].steps[1] = {**found.sagas[GOOD].steps[1], "generation": 2, "attempt": 1}
    again = next(command for command in found.commands if command.identity == f"{GOOD}:1:pay:action#1")
    anew = f"{GOOD}:2:pay:action"
    found.commands.append(
        CommandRecord(**{**vars(again), "identity": f"{anew}#1", "command_id": anew, "offset": again.offset + 100})
    )
    found.published[f"{anew}#1"] = 1
    found.published_types[f"{anew}#1"] = "ProcessPayment"
    act(found, GOOD, "retry")
    assert judge(found, PLAN, EXPECTED) == []
    found.published[f"{GOOD}:3:pay:action#1"] = 1
    assert [each.partition(":")[0] for each in judge(found, PLAN, EXPECTED)] == ["commands_are_those_committed"]
