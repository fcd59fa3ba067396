"""What happened against what was expected, in sentences: pure comparisons, no database and no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from deploy.demo.records import Books, Records, expected_books, expected_records
from deploy.demo.stories import STEPS, Expected, Order, Story


@dataclass(frozen=True)
class Seen:
    """A saga as the API shows it; `undone` are its steps in the order in which undos were acknowledged."""

    id: str
    status: str
    version: int
    outcomes: tuple[str, ...]
    undos: tuple[str, ...]
    attempts: tuple[int, ...]
    undo_attempts: tuple[int, ...]
    undone: tuple[str, ...] = ()
    open_incidents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parked:
    """A suspended saga before anybody helped: its incidents, and the participants' books at that moment."""

    incidents: tuple[str, ...]
    books: Books


@dataclass(frozen=True)
class Case:
    """One order with what came of it; `seen` is None when the API does not know its saga."""

    order: Order
    seen: Seen | None
    records: Records = field(default_factory=Records)
    parked: Parked | None = None


@dataclass(frozen=True)
class Finding:
    """One story's end: the lines of the last screen."""

    story: Story
    expected: str
    happened: str
    tables: str
    problems: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether everything was as expected."""
        return not self.problems


def find(story: Story, cases: Sequence[Case]) -> Finding:
    """Judge all orders of a story together."""
    problems = [
        f"{case.order.id}: {problem}" for case in cases for problem in (*saga_problems(case), *table_problems(case))
    ]
    happened = _grouped(_ending(case) for case in cases)
    books = sum((case.records.books for case in cases), start=Books())
    return Finding(story, _counted(len(cases), wanted(story.expected)), happened, str(books), tuple(problems))


def wanted(expected: Expected) -> str:
    """Say in a line what was expected."""
    return _line(expected.status, expected.undone, parked=expected.parked)


def saga_problems(case: Case) -> list[str]:
    """List where the coordinator's view of an order's saga differs from what was expected."""
    expected, seen = case.order.story.expected, case.seen
    if seen is None:
        return ["the coordinator does not know this order"]
    problems = []
    if seen.status != expected.status:
        problems.append(f"the saga is {seen.status}, not {expected.status}")
    problems += [
        f"{step} is {outcome}, not {should}"
        for step, outcome, should in zip(STEPS, seen.outcomes, expected.outcomes, strict=True)
        if outcome != should
    ]
    if seen.undone != expected.undone:
        problems.append(f"undone in the order {_steps(seen.undone)}, not {_steps(expected.undone)}")
    problems += [
        f"the undo of {step} was asked for {count} times, at least {least} were expected"
        for step, least in expected.undo_attempts.items()
        if (count := seen.undo_attempts[STEPS.index(step)]) < least
    ]
    if seen.open_incidents:
        problems.append(f"incidents are open: {', '.join(seen.open_incidents)}")
    return problems + _parking_problems(case)


def _parking_problems(case: Case) -> list[str]:
    expected, parked = case.order.story.expected, case.parked
    if not expected.parked:
        return [] if parked is None else ["the saga was suspended, which nobody expected"]
    if parked is None:
        return ["the saga was never seen suspended"]
    problems = []
    if parked.incidents != ("compensation_dead_lettered",):
        found = ", ".join(parked.incidents) or "none"
        problems.append(f"while suspended its open incidents were {found}, not compensation_dead_lettered")
    should = expected_books(case.order, expected.done, ())
    if parked.books != should:
        problems.append(f"while suspended the tables said {parked.books}, not {should}")
    return problems


def table_problems(case: Case) -> list[str]:
    """List where the participants' tables differ from what was expected of an order."""
    should, records = expected_records(case.order, case.order.story.expected), case.records
    problems = []
    if records.books != should.books:
        problems.append(f"the tables say {records.books}; expected was {should.books}")
    if sorted(records.done) != sorted(should.done):
        problems.append(f"the participants did {_steps(records.done)}, not {_steps(should.done)}")
    if records.undone != should.undone:
        problems.append(f"the participants undid {_steps(records.undone)}, not {_steps(should.undone)}")
    return problems


def _ending(case: Case) -> str:
    if case.seen is None:
        return "unknown to the coordinator"
    return _line(case.seen.status, case.seen.undone, parked=case.parked is not None)


def _line(status: str, undone: Sequence[str], *, parked: bool) -> str:
    before = "suspended, retried, " if parked else ""
    return f"{before}{status}; " + (f"undone in this order: {_steps(undone)}" if undone else "nothing undone")


def _grouped(lines: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for line in lines:
        counts[line] = counts.get(line, 0) + 1
    return " / ".join(_counted(count, line) for line, count in counts.items())


def _counted(count: int, line: str) -> str:
    return line if count == 1 else f"{count} x {line}"


def _steps(steps: Sequence[str]) -> str:
    return ", ".join(steps) or "nothing"


# ------------------------------------------------------------ the coordinator's own books


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
    compensations_dead: int
    records_dead: int
    dead_unpublished: int
    retries_audited: int


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


def ledger_findings(ledger: Ledger, stories: Sequence[Story], excess: int) -> list[tuple[str, bool]]:
    """Say what the coordinator's tables show, and for each whether it is as it should be."""
    total = verdicts(ledger)
    consumed = sum(shard.next_offset - shard.first_offset for shard in ledger.shards.values())
    per_partition = all(
        sum(shard.verdicts.values()) == shard.next_offset - shard.first_offset for shard in ledger.shards.values()
    )
    behind = sum(end - ledger.shards[part].next_offset for part, end in ledger.ends.items() if part in ledger.shards)
    said = ", ".join(f"{count} {word}" for word, count in total.items() if count)
    parked = sum(story.orders for story in stories if story.expected.parked)
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
            f"dead-lettered compensations: {ledger.compensations_dead}, not on the topic: {ledger.dead_unpublished}",
            ledger.compensations_dead == parked and ledger.dead_unpublished == 0,
        ),
        (f"retries in the audit log: {ledger.retries_audited}", ledger.retries_audited == parked),
    ]
