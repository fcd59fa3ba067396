"""The judge finds what disagrees, and only that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.demo.judging import (
    Case,
    Ledger,
    Parked,
    Seen,
    Shard,
    find,
    is_quiet,
    ledger_findings,
    saga_problems,
    table_problems,
)
from deploy.demo.records import Books, Records, expected_books, expected_records
from deploy.demo.stories import PAY, RESERVE, SHIP, STEPS, Order, Story, order_stories, orders_of

STORIES = {story.name: story for story in order_stories(2)}


def ideal(order: Order) -> Case:
    """Give an order's case as it must be."""
    expected = order.story.expected
    seen = Seen(
        id="7b0e",
        status=expected.status,
        version=9,
        outcomes=expected.outcomes,
        undos=tuple("compensated" if step in expected.undone else "none" for step in STEPS),
        attempts=tuple(int(outcome != "waiting") for outcome in expected.outcomes),
        undo_attempts=tuple(expected.undo_attempts.get(step, int(step in expected.undone)) for step in STEPS),
        undone=expected.undone,
    )
    stuck = Parked(("compensation_dead_lettered",), expected_books(order, expected.done, ()))
    return Case(order, seen, expected_records(order, expected), stuck if expected.parked else None)


def first(name: str) -> Case:
    """Give the ideal case of a story's first order."""
    return ideal(next(orders_of(STORIES[name])))


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_what_was_expected_agrees(story: Story) -> None:
    """A story in which everything came as expected has no problems."""
    finding = find(story, [ideal(order) for order in orders_of(story)])
    assert finding.problems == ()
    assert finding.expected == finding.happened


def test_a_wrong_status_is_named() -> None:
    """A saga that did not end as it should is a problem with both words."""
    case = first("good order")
    assert case.seen is not None
    problems = saga_problems(replace(case, seen=replace(case.seen, status="pending")))
    assert problems == ["the saga is pending, not completed"]


def test_an_order_that_nobody_knows_is_a_problem() -> None:
    """An order without a saga is not passed over."""
    case = replace(first("good order"), seen=None)
    assert saga_problems(case) == ["the coordinator does not know this order"]
    assert find(case.order.story, [case]).happened == "unknown to the coordinator"


def test_the_order_of_undos_counts() -> None:
    """Undos in another order than the strict reverse are wrong, in the log as in the tables."""
    case = first("e-mail blocked")
    assert case.seen is not None
    shuffled = (PAY, SHIP, RESERVE)
    [in_log] = saga_problems(replace(case, seen=replace(case.seen, undone=shuffled)))
    assert in_log == (
        "undone in the order process_payment, create_shipment, reserve_inventory,"
        " not create_shipment, process_payment, reserve_inventory"
    )
    [in_tables] = table_problems(replace(case, records=replace(case.records, undone=shuffled)))
    assert in_tables.startswith("the participants undid process_payment, create_shipment")


def test_an_effect_that_happened_twice_is_a_problem() -> None:
    """Two charges for one order disagree with the books and with the list of effects."""
    case = first("replies in triplicate")
    twice = replace(case.records, done=(*case.records.done, PAY))
    assert len(table_problems(replace(case, records=twice))) == 1
    books = replace(case.records.books, charged=2 * case.order.amount_cents)
    [problem] = table_problems(replace(case, records=replace(case.records, books=books)))
    assert "card 177.60 EUR charged" in problem


def test_an_effect_that_stayed_is_a_problem() -> None:
    """A failed order that still holds stock disagrees."""
    case = first("card declined")
    held = Records(replace(case.records.books, released=0), case.records.done, ())
    assert len(table_problems(replace(case, records=held))) == 2


def test_too_few_attempts_of_an_undo_are_a_problem() -> None:
    """A refund that was to fail twice must have been asked for three times."""
    case = first("refund stumbles")
    assert case.seen is not None
    problems = saga_problems(replace(case, seen=replace(case.seen, undo_attempts=(1, 1, 0, 0))))
    assert problems == ["the undo of process_payment was asked for 1 times, at least 3 were expected"]


def test_a_stuck_saga_must_have_been_suspended_with_everything_kept() -> None:
    """While a compensation is given up, no other one goes ahead."""
    case = first("refund stuck")
    assert saga_problems(replace(case, parked=None)) == ["the saga was never seen suspended"]
    assert case.parked is not None
    ahead = replace(case.parked, books=replace(case.parked.books, released=case.order.units))
    [problem] = saga_problems(replace(case, parked=ahead))
    assert problem.startswith("while suspended the tables said stock 3 reserved, 3 released")
    [problem] = saga_problems(replace(case, parked=replace(case.parked, incidents=())))
    assert "were none, not compensation_dead_lettered" in problem


def test_an_unexpected_suspension_is_a_problem() -> None:
    """A story that nobody meant to suspend says so when it was."""
    case = replace(first("card declined"), parked=Parked(("result_schema",), Books()))
    assert "the saga was suspended, which nobody expected" in saga_problems(case)


def test_an_open_incident_is_a_problem() -> None:
    """At the end no incident may be open."""
    case = first("refund stuck")
    assert case.seen is not None
    seen = replace(case.seen, open_incidents=("compensation_dead_lettered",))
    assert saga_problems(replace(case, seen=seen)) == ["incidents are open: compensation_dead_lettered"]


def test_endings_are_counted_when_they_differ() -> None:
    """The last screen says how many orders of a story ended in which way."""
    cases = [ideal(order) for order in orders_of(STORIES["good order"])]
    assert cases[1].seen is not None
    cases[1] = replace(cases[1], seen=replace(cases[1].seen, status="pending"))
    finding = find(STORIES["good order"], cases)
    assert finding.happened == "completed; nothing undone / pending; nothing undone"
    assert finding.expected == "2 x completed; nothing undone"
    assert not finding.agrees


# ------------------------------------------------------------ the coordinator's books


def ledger(**changes: object) -> Ledger:
    """Give the coordinator's books as they must be after all stories."""
    shards = {0: Shard(0, 30, {"applied": 22, "duplicate": 8}), 1: Shard(5, 5, {"applied": 0, "duplicate": 0})}
    good = Ledger(
        outbox=0,
        shards=shards,
        ends={0: 30, 1: 5},
        compensations_dead=1,
        records_dead=0,
        dead_unpublished=0,
        retries_audited=1,
    )
    return replace(good, **changes)  # type: ignore[arg-type]


def wrong(books: Ledger) -> list[str]:
    """List what the judge finds wrong."""
    return [line for line, fine in ledger_findings(books, tuple(STORIES.values()), 8) if not fine]


def test_good_books_agree() -> None:
    """Books without a gap are quiet and have nothing wrong."""
    assert is_quiet(ledger())
    assert wrong(ledger()) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"outbox": 2}, "messages left in the outbox: 2"),
        ({"records_dead": 1}, "unreadable records that were set aside: 1"),
        ({"compensations_dead": 0}, "dead-lettered compensations: 0, not on the topic: 0"),
        ({"dead_unpublished": 1}, "dead-lettered compensations: 1, not on the topic: 1"),
        ({"retries_audited": 0}, "retries in the audit log: 0"),
        ({"ends": {0: 31, 1: 5}}, "replies left unread in Kafka: 1"),
    ],
)
def test_each_gap_in_the_books_is_named(changes: dict[str, object], line: str) -> None:
    """What is left over or missing is said with its number."""
    assert wrong(ledger(**changes)) == [line]


def test_a_record_without_a_verdict_is_found_even_when_the_sum_is_right() -> None:
    """Verdicts are compared partition by partition: one too many does not make up for one too few."""
    shards = {0: Shard(0, 30, {"applied": 21, "duplicate": 8}), 1: Shard(4, 5, {"applied": 2, "duplicate": 0})}
    [line] = wrong(ledger(shards=shards))
    assert line.startswith("consumed records: 31, verdicts: 31")


@pytest.mark.parametrize("changes", [{"outbox": 1}, {"dead_unpublished": 1}, {"ends": {0: 31, 1: 5}}, {"shards": {}}])
def test_unfinished_books_are_not_quiet(changes: dict[str, object]) -> None:
    """As long as something is to be sent, read or published, the judge waits."""
    assert not is_quiet(ledger(**changes))
