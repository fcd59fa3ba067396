"""Ways in which a run can be wrong, each planted in a flawless one, and the check that is there to find it."""

from __future__ import annotations

from collections.abc import Callable

from tests.checker.evidence import Act, CommandRecord, Evidence
from tests.checker.flawless import BROKEN_TRIP, GOOD, PARKED, SECRET, TRIP, UNDONE, log_again, publish


def command(found: Evidence, identity: str) -> CommandRecord:
    """Find a command on its topic."""
    return next(each for each in found.commands if each.identity == identity)


def go_forward_again(found: Evidence) -> None:
    """Let a saga that has turned back think better of it."""
    found.log[UNDONE][-2].status = "pending"


def rise_from_the_dead(found: Evidence) -> None:
    """Let an ended saga end otherwise."""
    found.log[GOOD][-2].status = "failed"


def complete_without_a_reply(found: Evidence) -> None:
    """Call a step completed that nobody has answered."""
    entry = next(entry for entry in found.log[GOOD] if (entry.event, entry.step_name) == ("StepCompleted", "pay"))
    entry.event = "StepProgressed"


def compensate_without_a_reply(found: Evidence) -> None:
    """Call a step undone that nobody has undone."""
    entry = next(
        entry for entry in found.log[UNDONE] if (entry.event, entry.step_name) == ("CompensationCompleted", "pay")
    )
    entry.event = "DeadlinePassed"


def undo_what_failed(found: Evidence) -> None:
    """Ask for the undo of a step whose participant has promised that there is nothing to undo."""
    found.sagas[PARKED].steps[2] = {**found.sagas[PARKED].steps[2], "undo": "compensated", "undo_attempt": 1}
    log_again(found, PARKED, "CompensationCompleted", "ship", "suspended")
    publish(found)


def complete_with_an_open_step(found: Evidence) -> None:
    """Complete a trip whose approval was never asked for."""
    found.sagas[TRIP].steps[2] = {}


def fail_with_a_step_that_is_not_undone(found: Evidence) -> None:
    """End a saga whose unknown step was left alone."""
    found.sagas[BROKEN_TRIP].steps[1] = {"outcome": "unknown", "attempt": 1}


def undo_two_at_once(found: Evidence) -> None:
    """Leave two undos open."""
    found.sagas[PARKED].steps[0] = {**found.sagas[PARKED].steps[0], "undo": "issued", "undo_attempt": 1}
    publish(found)


def hear_of_undos_in_the_wrong_order(found: Evidence) -> None:
    """Let the first step be undone first."""
    first, last = (entry for entry in found.log[UNDONE] if entry.event == "CompensationCompleted")
    first.step_name, last.step_name = last.step_name, first.step_name


def leave_a_letter_open(found: Evidence) -> None:
    """Let a saga end, and leave what it had given up for somebody to look after."""
    found.dead_letters[0].saga_id = UNDONE


def give_up_for_nobody(found: Evidence) -> None:
    """Give up a command of a saga that is not there."""
    found.dead_letters[0].saga_id = "ghost"


def ask_for_a_person_for_nobody(found: Evidence) -> None:
    """Open an incident on a saga that is not there."""
    found.open_incidents["ghost"] = ["late"]


def change_a_payload(found: Evidence) -> None:
    """Let a second attempt ask for something else than the first."""
    command(found, f"{GOOD}:1:pay:action#2").content = "other"


def change_a_value(found: Evidence) -> None:
    """Publish one attempt twice, differently."""
    first = command(found, f"{GOOD}:1:pay:action#1")
    again = CommandRecord(**{**vars(first), "whole": "other", "offset": first.offset + 1000})
    found.commands.append(again)


def number_an_attempt_into_the_command_id(found: Evidence) -> None:
    """Give an attempt a command id of its own."""
    second = command(found, f"{GOOD}:1:pay:action#2")
    second.command_id = f"{GOOD}:1:pay:action:2"


def run_ahead_of_its_generation(found: Evidence) -> None:
    """Publish a command of a generation that nobody has asked for."""
    second = command(found, f"{GOOD}:1:pay:action#2")
    second.command_id = f"{GOOD}:2:pay:action"
    second.identity = f"{second.command_id}#2"


def key_by_something_else(found: Evidence) -> None:
    """Publish a command under another key than its saga's id."""
    command(found, f"{GOOD}:1:pay:action#1").key = "key-good"


def ask_somebody_else(found: Evidence) -> None:
    """Send a command to another participant than the step's."""
    command(found, f"{TRIP}:1:car:action#1").topic = "test.taxi.commands"


def run_on_another_definition(found: Evidence) -> None:
    """Let a command name another definition than its saga's."""
    command(found, f"{TRIP}:1:car:action#1").saga_type = "Order"


def ask_for_a_step_that_is_not_there(found: Evidence) -> None:
    """Let a command be about a step of another definition."""
    command(found, f"{TRIP}:1:car:action#1").step_name = "ship"


def spread_over_partitions(found: Evidence) -> None:
    """Put commands of one saga into two partitions."""
    command(found, f"{UNDONE}:1:pay:compensation#1").partition = 3


def undo_before_doing(found: Evidence) -> None:
    """Let a compensation stand before its action."""
    command(found, f"{UNDONE}:1:pay:compensation#1").offset = -1


def try_again_before_trying(found: Evidence) -> None:
    """Let the second attempt stand before the first."""
    command(found, f"{GOOD}:1:pay:action#2").offset = -1


def act_without_an_audit(found: Evidence) -> None:
    """Let a person do something that is written nowhere."""
    found.acts.clear()


def audit_twice(found: Evidence) -> None:
    """Write an act down twice."""
    found.acts.append(found.acts[0])


def audit_what_never_was(found: Evidence) -> None:
    """Write down an act that the saga knows nothing of."""
    found.acts.append(Act(GOOD, "abandon", 1))


def audit_under_another_name(found: Evidence) -> None:
    """Call an act by another verb."""
    found.acts[0].action = "abandon"


def count_wrongly(found: Evidence) -> None:
    """Count a saga too many."""
    found.tallies["Order", "completed"] += 1


def count_what_is_not_there(found: Evidence) -> None:
    """Count sagas of a status that none has."""
    found.tallies["Order", "pending"] = 2


def start_a_key_twice(found: Evidence) -> None:
    """Let two sagas have one business key."""
    found.sagas[UNDONE].business_key = found.sagas[GOOD].business_key


def lose_a_cent(found: Evidence) -> None:
    """Credit less than was recorded."""
    found.holds[0].amount -= 1


def forget_money_on_hold(found: Evidence) -> None:
    """Leave money on hold for a saga that has ended."""
    found.holds[1].ending = None


def record_what_was_returned(found: Evidence) -> None:
    """Leave an entry that nobody has taken back."""
    found.entries = [entry for entry in found.entries if not entry.reverses]


def unbalance_an_entry(found: Evidence) -> None:
    """Debit more than is credited."""
    found.entries[0].sum = 1


def tell_a_secret(found: Evidence) -> None:
    """Log a card's token."""
    found.told["coordinator.log"] += f"card={SECRET}\n"


FURTHER: list[tuple[Callable[[Evidence], None], str]] = [
    (go_forward_again, "the_log_goes_one_way"),
    (rise_from_the_dead, "the_log_goes_one_way"),
    (complete_without_a_reply, "states_are_those_logged"),
    (compensate_without_a_reply, "states_are_those_logged"),
    (undo_what_failed, "states_are_those_logged"),
    (complete_with_an_open_step, "states_are_those_logged"),
    (fail_with_a_step_that_is_not_undone, "states_are_those_logged"),
    (undo_two_at_once, "undo_is_one_at_a_time"),
    (hear_of_undos_in_the_wrong_order, "undo_is_one_at_a_time"),
    (leave_a_letter_open, "given_up_is_open_while_it_matters"),
    (give_up_for_nobody, "given_up_is_open_while_it_matters"),
    (ask_for_a_person_for_nobody, "given_up_is_open_while_it_matters"),
    (change_a_payload, "commands_say_what_they_must"),
    (change_a_value, "commands_say_what_they_must"),
    (number_an_attempt_into_the_command_id, "commands_say_what_they_must"),
    (run_ahead_of_its_generation, "commands_say_what_they_must"),
    (key_by_something_else, "commands_say_what_they_must"),
    (ask_somebody_else, "commands_say_what_they_must"),
    (run_on_another_definition, "commands_say_what_they_must"),
    (ask_for_a_step_that_is_not_there, "commands_say_what_they_must"),
    (spread_over_partitions, "commands_go_in_order"),
    (undo_before_doing, "commands_go_in_order"),
    (try_again_before_trying, "commands_go_in_order"),
    (act_without_an_audit, "acts_are_audited"),
    (audit_twice, "acts_are_audited"),
    (audit_what_never_was, "acts_are_audited"),
    (audit_under_another_name, "acts_are_audited"),
    (count_wrongly, "tallies_are_the_rows"),
    (count_what_is_not_there, "tallies_are_the_rows"),
    (start_a_key_twice, "one_saga_per_business_key"),
    (lose_a_cent, "money_is_conserved"),
    (forget_money_on_hold, "money_is_conserved"),
    (record_what_was_returned, "money_is_conserved"),
    (unbalance_an_entry, "money_is_conserved"),
    (tell_a_secret, "no_secret_is_told"),
]
