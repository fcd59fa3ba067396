"""The coordinator's own books when everything is over, against what was expected of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.demo.stories.model import Story, excess_replies


@dataclass(frozen=True)
class Shard:
    """What the coordinator has noted of one partition of its replies."""

    first_offset: int
    next_offset: int
    verdicts: Mapping[str, int]


@dataclass(frozen=True)
class Ledger:
    """What the coordinator's tables hold when everything is over; `ends` are Kafka's end offsets by partition."""

    outbox: int
    shards: Mapping[int, Shard]
    ends: Mapping[int, int]
    commands_dead: int
    records_dead: int
    dead_unpublished: int
    verbs_audited: int


def verdicts(ledger: Ledger) -> dict[str, int]:
    """Add the verdicts of all partitions up."""
    total: dict[str, int] = {}
    for shard in ledger.shards.values():
        for word, count in shard.verdicts.items():
            total[word] = total.get(word, 0) + count
    return total


def is_quiet(ledger: Ledger) -> bool:
    """Whether the coordinator has nothing left to send, to read or to publish."""
    behind = any(
        ledger.shards[part].next_offset < end if part in ledger.shards else end > 0 for part, end in ledger.ends.items()
    )
    return not behind and not ledger.outbox and not ledger.dead_unpublished


def ledger_findings(ledger: Ledger, stories: Sequence[Story]) -> list[tuple[str, bool]]:
    """Say what the coordinator's tables show, and for each whether it is as it should be."""
    total, excess = verdicts(ledger), excess_replies(stories)
    consumed = sum(shard.next_offset - shard.first_offset for shard in ledger.shards.values())
    per_partition = all(
        sum(shard.verdicts.values()) == shard.next_offset - shard.first_offset for shard in ledger.shards.values()
    )
    behind = sum(end - ledger.shards[part].next_offset for part, end in ledger.ends.items() if part in ledger.shards)
    said = ", ".join(f"{count} {word}" for word, count in total.items() if count) or "nothing was replied"
    letters = sum(len(story.expected.letters) * story.requests for story in stories)
    helped = sum(story.requests for story in stories if story.expected.parked and story.expected.parked.verb)
    return [
        (f"messages left in the outbox: {ledger.outbox}", ledger.outbox == 0),
        (f"consumed records: {consumed}, verdicts: {sum(total.values())} ({said})", per_partition),
        (f"replies left unread in Kafka: {behind}", behind == 0 and set(ledger.ends) == set(ledger.shards)),
        (
            f"duplicate replies told apart: {total.get('duplicate', 0)}, sent: at least {excess}",
            total.get("duplicate", 0) >= excess,
        ),
        (f"unreadable records that were set aside: {ledger.records_dead}", ledger.records_dead == 0),
        (
            f"dead-lettered commands: {ledger.commands_dead}, not on the topic: {ledger.dead_unpublished}",
            ledger.commands_dead == letters and ledger.dead_unpublished == 0,
        ),
        (f"verbs in the audit log: {ledger.verbs_audited}", ledger.verbs_audited == helped),
    ]
