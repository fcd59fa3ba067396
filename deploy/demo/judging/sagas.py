"""What happened against what was expected, in sentences: pure comparisons, no database and no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deploy.demo.seen import Seen
from deploy.demo.stories.model import DONE, Books, Family, Request, Story, expected_books

HELPED: Final = {"retry": "retried", "replay": "replayed", None: "went on by itself"}


@dataclass(frozen=True)
class Records:
    """One saga as the participants recorded it: the sums, and the steps in the order of their doing and undoing."""

    books: Books = field(default_factory=Books)
    done: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()


@dataclass(frozen=True)
class Moment:
    """A saga that waited for somebody: its incidents, and the participants' books before anybody did anything."""

    incidents: tuple[str, ...]
    books: Books


@dataclass(frozen=True)
class Case:
    """One request with what came of it; `seen` is None when the API does not know its saga.

    `parked` is when it was suspended, `asked` when its external step waited; `letters` are steps with a dead letter.
    """

    request: Request
    seen: Seen | None
    records: Records = field(default_factory=Records)
    letters: tuple[str, ...] = ()
    parked: Moment | None = None
    asked: Moment | None = None


@dataclass(frozen=True)
class Finding:
    """One story's end: the lines of the last screen; `ended` is the short form of what happened."""

    story: Story
    expected: str
    happened: str
    ended: str
    tables: str
    problems: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether everything was as expected."""
        return not self.problems


def find(family: Family, story: Story, cases: Sequence[Case]) -> Finding:
    """Judge all requests of a story together."""
    problems = [f"{case.request.key}: {problem}" for case in cases for problem in problems_of(family, case)]
    books = sum((case.records.books for case in cases), start=Books())
    return Finding(
        story,
        counted(len(cases), _wanted(story)),
        _grouped(_ending(case) for case in cases),
        _grouped(_short_ending(case) for case in cases),
        family.say(books),
        tuple(problems),
    )


def problems_of(family: Family, case: Case) -> list[str]:
    """List where a saga, or what the participants have of it, differs from what was expected."""
    return [*saga_problems(family, case), *moment_problems(family, case), *table_problems(family, case)]


def saga_problems(family: Family, case: Case) -> list[str]:
    """List where the coordinator's view of a saga differs from what was expected."""
    expected, seen = case.request.story.expected, case.seen
    if seen is None:
        return [f"the coordinator does not know this {family.thing}"]
    problems = []
    if seen.status != expected.status:
        problems.append(f"the saga is {seen.status}, not {expected.status}")
    problems += [
        f"{step} is {outcome}, not {should}"
        for step, outcome, should in zip(family.steps, seen.outcomes, family.outcomes(expected), strict=True)
        if outcome != should
    ]
    if seen.undone != expected.undone:
        problems.append(f"undone in the order {listed(seen.undone)}, not {listed(expected.undone)}")
    problems += _too_few(family, "", seen.attempts, expected.attempts)
    problems += _too_few(family, "the undo of ", seen.undo_attempts, expected.undo_attempts)
    problems += [
        f"{step} was answered before {other}, although all were asked at the same time"
        for step, others in expected.overtaken.items()
        for other in others
        if not _in_order(seen.answered, other, step)
    ]
    if sorted(seen.timeline) != sorted(expected.timeline):
        problems.append(f"the log tells of {listed(seen.timeline)}, not of {listed(expected.timeline)}")
    if sorted(case.letters) != sorted(expected.letters):
        problems.append(f"dead letters are of {listed(case.letters)}, not of {listed(expected.letters)}")
    if seen.open_incidents:
        problems.append(f"incidents are open: {', '.join(seen.open_incidents)}")
    return problems


def _too_few(family: Family, what: str, sent: Sequence[int], least: Mapping[str, int]) -> list[str]:
    return [
        f"{what}{step} was asked for {count} times, at least {wanted} were expected"
        for step, wanted in least.items()
        if (count := sent[family.steps.index(step)]) < wanted
    ]


def _in_order(answered: Sequence[str], *steps: str) -> bool:
    return [step for step in answered if step in steps] == list(steps)


def moment_problems(family: Family, case: Case) -> list[str]:
    """List what was wrong while a saga waited for a person: suspended, or for the answer to an external step."""
    if case.seen is None:
        return []
    expected, answer = case.request.story.expected, case.request.story.answer
    problems = []
    if expected.parked is None and case.parked is not None:
        problems.append("the saga was suspended, which nobody expected")
    if expected.parked is not None and case.parked is None:
        problems.append("the saga was never seen suspended")
    if expected.parked is not None and case.parked is not None:
        if case.parked.incidents != (expected.parked.reason,):
            found = ", ".join(case.parked.incidents) or "none"
            problems.append(f"while suspended its open incidents were {found}, not {expected.parked.reason}")
        problems += _kept(family, "while suspended", case.parked.books, parked_books(family, case.request))
    if answer is not None and case.asked is None:
        problems.append(f"the saga was never seen waiting for {answer.step}")
    if answer is not None and case.asked is not None:
        problems += _kept(family, "before the answer", case.asked.books, asked_books(family, case.request))
    return problems


def parked_books(family: Family, request: Request) -> Books:
    """Say what the tables must hold while a saga is suspended: all before the step that is stuck, and no more."""
    expected, parked = request.story.expected, request.story.expected.parked
    done = family.done(expected)
    if parked is None or parked.step not in expected.undone:
        return expected_books(request, done[: len(done) if parked is None else done.index(parked.step)], ())
    return expected_books(request, done, expected.undone[: expected.undone.index(parked.step)])


def asked_books(family: Family, request: Request) -> Books:
    """Say what the tables must hold while a saga waits for somebody outside: all before that step, and no more."""
    expected, answer = request.story.expected, request.story.answer
    before = family.steps[: len(family.steps) if answer is None else family.steps.index(answer.step)]
    return expected_books(request, [step for step in before if expected.outcomes.get(step) == DONE], ())


def _kept(family: Family, when: str, books: Books, should: Books) -> list[str]:
    return [] if books == should else [f"{when} the tables said {family.say(books)}, not {family.say(should)}"]


def table_problems(family: Family, case: Case) -> list[str]:
    """List where the participants' tables differ from what was expected of a request."""
    should, records = expected_records(family, case.request), case.records
    problems = []
    if records.books != should.books:
        problems.append(f"the tables say {family.say(records.books)}; expected was {family.say(should.books)}")
    if sorted(records.done) != sorted(should.done):
        problems.append(f"the participants did {listed(records.done)}, not {listed(should.done)}")
    if records.undone != should.undone:
        problems.append(f"the participants undid {listed(records.undone)}, not {listed(should.undone)}")
    return problems


def expected_records(family: Family, request: Request) -> Records:
    """Say what the participants must have recorded at the end of a request."""
    expected = request.story.expected
    done = family.done(expected)
    return Records(expected_books(request, done, expected.undone), done, expected.undone)


def _wanted(story: Story) -> str:
    expected = story.expected
    on_the_way = _on_the_way(story, parked=expected.parked is not None, asked=story.answer is not None)
    return on_the_way + _line(expected.status, expected.undone)


def _ending(case: Case) -> str:
    if case.seen is None:
        return "unknown to the coordinator"
    on_the_way = _on_the_way(case.request.story, parked=case.parked is not None, asked=case.asked is not None)
    return on_the_way + _line(case.seen.status, case.seen.undone)


def _short_ending(case: Case) -> str:
    if case.seen is None:
        return "unknown"
    undone = f", {len(case.seen.undone)} undone" if case.seen.undone else ""
    return f"{case.seen.status}{undone}"


def _on_the_way(story: Story, *, parked: bool, asked: bool) -> str:
    helped = "" if story.expected.parked is None else f"{HELPED[story.expected.parked.verb]}, "
    return ("waited, answered, " if asked else "") + (f"suspended, {helped}" if parked else "")


def _line(status: str, undone: Sequence[str]) -> str:
    return f"{status}; " + (f"undone in this order: {listed(undone)}" if undone else "nothing undone")


def _grouped(lines: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for line in lines:
        counts[line] = counts.get(line, 0) + 1
    return " / ".join(counted(count, line) for line, count in counts.items())


def counted(count: int, line: str) -> str:
    """Say a line, with how often it is true."""
    return line if count == 1 else f"{count} x {line}"


def listed(steps: Sequence[str]) -> str:
    """Say steps in their order."""
    return ", ".join(steps) or "nothing"
