"""The judge finds what disagrees, and only that: in every family, whatever is planted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from deploy.demo.families import FAMILIES
from deploy.demo.judging.sagas import (
    Case,
    Moment,
    asked_books,
    expected_records,
    find,
    moment_problems,
    parked_books,
    problems_of,
    saga_problems,
    table_problems,
)
from deploy.demo.seen import Seen
from deploy.demo.stories import bank, order, travel
from deploy.demo.stories.model import DONE, WAITING, Books, Family, Request, Story

STORIES = {story.name: (family, story) for family in FAMILIES for story in family.stories(2)}


def ideal(family: Family, request: Request) -> Case:
    """Give a request's case as it must be."""
    expected = request.story.expected
    outcomes = family.outcomes(expected)
    overtaken = tuple(expected.overtaken)
    answered = [step for step, outcome in zip(family.steps, outcomes, strict=True) if outcome == DONE]
    seen = Seen(
        id="7b0e",
        status=expected.status,
        version=9,
        outcomes=outcomes,
        undos=tuple("compensated" if step in expected.undone else "none" for step in family.steps),
        attempts=tuple(
            expected.attempts.get(step, int(outcome != WAITING))
            for step, outcome in zip(family.steps, outcomes, strict=True)
        ),
        undo_attempts=tuple(expected.undo_attempts.get(step, int(step in expected.undone)) for step in family.steps),
        answered=tuple(sorted(answered, key=lambda step: step in overtaken)),
        undone=expected.undone,
        timeline=expected.timeline,
    )
    parked = Moment((expected.parked.reason,), parked_books(family, request)) if expected.parked else None
    asked = Moment((), asked_books(family, request)) if request.story.answer else None
    return Case(request, seen, expected_records(family, request), expected.letters, parked, asked)


def first(name: str) -> tuple[Family, Case]:
    """Give the ideal case of a story's first request."""
    family, story = STORIES[name]
    return family, ideal(family, family.request(story, 1))


def seen_of(case: Case) -> Seen:
    """Give the saga of a case that has one."""
    assert case.seen is not None
    return case.seen


@pytest.mark.parametrize(("family", "story"), STORIES.values(), ids=list(STORIES))
def test_what_was_expected_agrees(family: Family, story: Story) -> None:
    """A story in which everything came as expected has no problems."""
    finding = find(family, story, [ideal(family, request) for request in family.requests(story)])
    assert finding.problems == ()
    assert finding.expected == finding.happened


@pytest.mark.parametrize("name", STORIES)
def test_a_story_that_ends_the_other_way_disagrees(name: str) -> None:
    """Nothing that ends wrong is passed over, whichever story it is."""
    family, case = first(name)
    seen = seen_of(case)
    other = "failed" if seen.status == "completed" else "completed"
    assert problems_of(family, replace(case, seen=replace(seen, status=other))) == [
        f"the saga is {other}, not {seen.status}"
    ]


@pytest.mark.parametrize("name", [name for name, (_, story) in STORIES.items() if story.expected.undone])
def test_an_undo_that_never_happened_disagrees(name: str) -> None:
    """A step that was not undone is missed in the log, and in the tables of its participant twice: sum and effect."""
    family, case = first(name)
    *kept, lost = case.request.story.expected.undone
    in_log = replace(case, seen=replace(seen_of(case), undone=tuple(kept)))
    assert len(saga_problems(family, in_log)) == 1
    undone = Counter({step: amount for step, amount in case.records.books.undone.items() if step != lost})
    books = Books(case.records.books.done, undone)
    in_tables = replace(case, records=replace(case.records, books=books, undone=tuple(kept)))
    assert len(table_problems(family, in_tables)) == 2


@pytest.mark.parametrize("name", STORIES)
def test_an_effect_that_happened_twice_disagrees(name: str) -> None:
    """Twice the amount, or a second effect, of any step that leaves something."""
    family, case = first(name)
    for step in case.records.done:
        twice = replace(case.records, done=(*case.records.done, step))
        assert len(table_problems(family, replace(case, records=twice))) == 1
        books = Books(case.records.books.done + Counter({step: 1}), case.records.books.undone)
        assert len(table_problems(family, replace(case, records=replace(case.records, books=books)))) == 1


def test_a_request_that_nobody_knows_is_a_problem() -> None:
    """A request without a saga is not passed over."""
    family, case = first("good transfer")
    case = replace(case, seen=None)
    assert saga_problems(family, case) == ["the coordinator does not know this transfer"]
    assert find(family, case.request.story, [case]).happened == "unknown to the coordinator"


def test_the_order_of_undos_counts() -> None:
    """Undos in another order than the strict reverse are wrong, in the log as in the tables."""
    family, case = first("e-mail blocked")
    shuffled = (order.PAY, order.SHIP, order.RESERVE)
    [in_log] = saga_problems(family, replace(case, seen=replace(seen_of(case), undone=shuffled)))
    assert in_log == (
        "undone in the order process_payment, create_shipment, reserve_inventory,"
        " not create_shipment, process_payment, reserve_inventory"
    )
    [in_tables] = table_problems(family, replace(case, records=replace(case.records, undone=shuffled)))
    assert in_tables.startswith("the participants undid process_payment, create_shipment")


def test_bookings_of_a_group_are_undone_last_first_too() -> None:
    """That they were asked for together does not let them be undone in any order."""
    family, case = first("payment declined")
    asked = tuple(reversed(travel.BACKWARD))
    [problem] = saga_problems(family, replace(case, seen=replace(seen_of(case), undone=asked)))
    assert problem == ("undone in the order book_room, book_seats, rent_car, not rent_car, book_seats, book_room")


def test_the_amounts_are_told() -> None:
    """A sum that disagrees is said with what was expected, in the words of the family."""
    family, case = first("replies in triplicate")
    books = Books(case.records.books.done + Counter({order.PAY: case.request.amounts[order.PAY]}), Counter())
    [problem] = table_problems(family, replace(case, records=replace(case.records, books=books)))
    assert "card 177.60 EUR charged" in problem
    assert "expected was stock 3 reserved; card 88.80 EUR charged" in problem


def test_too_few_attempts_are_a_problem() -> None:
    """What was to fail before it succeeded must have been asked for as often, forward and backward."""
    family, case = first("refund stumbles")
    problems = saga_problems(family, replace(case, seen=replace(seen_of(case), undo_attempts=(1, 1, 0, 0))))
    assert problems == ["the undo of process_payment was asked for 1 times, at least 3 were expected"]
    family, case = first("notice bounces")
    problems = saga_problems(family, replace(case, seen=replace(seen_of(case), attempts=(1, 1, 1, 1))))
    assert problems == ["send_notice was asked for 1 times, at least 4 were expected"]


def test_a_stuck_saga_must_have_been_suspended_with_everything_kept() -> None:
    """While a compensation is given up, no other one goes ahead."""
    family, case = first("refund stuck")
    assert moment_problems(family, replace(case, parked=None)) == ["the saga was never seen suspended"]
    assert case.parked is not None
    ahead = Books(case.parked.books.done, Counter({order.RESERVE: case.request.amounts[order.RESERVE]}))
    [problem] = moment_problems(family, replace(case, parked=replace(case.parked, books=ahead)))
    assert problem.startswith("while suspended the tables said stock 3 reserved, 3 released")
    [problem] = moment_problems(family, replace(case, parked=replace(case.parked, incidents=())))
    assert "were none, not compensation_dead_lettered" in problem


def test_past_the_pivot_nothing_may_be_undone_while_somebody_is_waited_for() -> None:
    """The money stays where it is while the notice bounces, and the dead letter is of the notice."""
    family, case = first("mailbox full")
    assert case.parked is not None
    assert case.parked.books.done.keys() == {bank.DEBIT, bank.RECORD, bank.CREDIT}
    returned = Books(case.parked.books.done, Counter({bank.DEBIT: case.request.amounts[bank.DEBIT]}))
    [problem] = moment_problems(family, replace(case, parked=replace(case.parked, books=returned)))
    assert problem.startswith("while suspended the tables said source 16.25 held, 16.25 returned")
    [problem] = problems_of(family, replace(case, letters=()))
    assert problem == "dead letters are of nothing, not of send_notice"


def test_money_that_moved_before_the_approval_is_a_problem() -> None:
    """A dear trip must have been seen waiting, with three bookings and no payment."""
    family, case = first("dear trip")
    assert moment_problems(family, replace(case, asked=None)) == ["the saga was never seen waiting for approve_trip"]
    assert case.asked is not None
    assert case.asked.books.done.keys() == {travel.ROOM, travel.SEATS, travel.CAR}
    paid = Books(case.asked.books.done + Counter({travel.PAY: 100}), Counter())
    [problem] = moment_problems(family, replace(case, asked=replace(case.asked, books=paid)))
    assert problem.startswith("before the answer the tables said nights 3 booked")
    assert "card 1.00 EUR charged" in problem


def test_a_cheap_trip_that_was_asked_about_is_a_problem() -> None:
    """Below the limit the approval is skipped; an approval that was given is not what was expected."""
    family, case = first("good trip")
    seen = seen_of(case)
    place = family.steps.index(travel.APPROVAL)
    outcomes = (*seen.outcomes[:place], DONE, *seen.outcomes[place + 1 :])
    problems = saga_problems(family, replace(case, seen=replace(seen, outcomes=outcomes)))
    assert problems == ["approve_trip is completed, not skipped"]


def test_bookings_one_after_the_other_are_a_problem() -> None:
    """Had the slow hotel been waited for before the others were asked, it would have answered first."""
    family, case = first("slow hotel")
    problems = saga_problems(family, replace(case, seen=replace(seen_of(case), answered=family.steps)))
    assert problems == [
        "book_room was answered before book_seats, although all were asked at the same time",
        "book_room was answered before rent_car, although all were asked at the same time",
    ]


def test_an_unexpected_suspension_is_a_problem() -> None:
    """A story that nobody meant to suspend says so when it was."""
    family, case = first("destination closed")
    case = replace(case, parked=Moment(("result_schema",), Books()))
    assert moment_problems(family, case) == ["the saga was suspended, which nobody expected"]


def test_an_open_incident_is_a_problem() -> None:
    """At the end no incident may be open."""
    family, case = first("mailbox full")
    seen = replace(seen_of(case), open_incidents=("retries_exhausted",))
    assert saga_problems(family, replace(case, seen=seen)) == ["incidents are open: retries_exhausted"]


def test_endings_are_counted_when_they_differ() -> None:
    """The last screen says how many sagas of a story ended in which way."""
    family, story = STORIES["good order"]
    cases = [ideal(family, request) for request in family.requests(story)]
    cases[1] = replace(cases[1], seen=replace(seen_of(cases[1]), status="pending"))
    finding = find(family, story, cases)
    assert finding.happened == "completed; nothing undone / pending; nothing undone"
    assert finding.expected == "2 x completed; nothing undone"
    assert finding.ended == "completed / pending"
    assert not finding.agrees
