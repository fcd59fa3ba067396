"""The coordinator's own books: what is left over, missing or unread is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.demo.judging.coordinator import Ledger, Shard, is_quiet, ledger_findings
from deploy.demo.stories.order import order_stories

STORIES = order_stories(2)


def ledger(**changes: object) -> Ledger:
    """Give the coordinator's books as they must be after all stories."""
    shards = {0: Shard(0, 30, {"applied": 22, "duplicate": 8}), 1: Shard(5, 5, {"applied": 0, "duplicate": 0})}
    good = Ledger(
        outbox=0,
        shards=shards,
        ends={0: 30, 1: 5},
        commands_dead=1,
        records_dead=0,
        dead_unpublished=0,
        verbs_audited=1,
    )
    return replace(good, **changes)  # type: ignore[arg-type]


def wrong(books: Ledger) -> list[str]:
    """List what the judge finds wrong."""
    return [line for line, fine in ledger_findings(books, STORIES) if not fine]


def test_good_books_agree() -> None:
    """Books without a gap are quiet and have nothing wrong."""
    assert is_quiet(ledger())
    assert wrong(ledger()) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"outbox": 2}, "messages left in the outbox: 2"),
        ({"records_dead": 1}, "unreadable records that were set aside: 1"),
        ({"commands_dead": 0}, "dead-lettered commands: 0, not on the topic: 0"),
        ({"dead_unpublished": 1}, "dead-lettered commands: 1, not on the topic: 1"),
        ({"verbs_audited": 0}, "verbs in the audit log: 0"),
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
