"""What a family of stories is made of: requests, the faults that wait for them, and what must come of them.

A family is about one saga definition: orders, transfers, trips. Each of its stories is one thing that can happen to
such a saga. Everything here is data; how it is played and judged knows no family by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from coordinator.saga.definition import SagaDefinition
from deploy.demo.seen import Seen, read_saga
from deploy.demo.starting import Stage, Start, start_over_the_api
from deploy.demo.watching import Watch

DONE: Final = "completed"
REFUSED: Final = "failed"
UNKNOWN: Final = "unknown"
WAITING: Final = "waiting"
SKIPPED: Final = "skipped"


@dataclass(frozen=True)
class Switch:
    """A fault that a participant is asked for, for the requests of one story; `times` None means until it is cleared.

    `seconds` is how late a slow reply is, `copies` how often a duplicate one comes, `code` what a failure says.
    """

    participant: str
    kind: str
    command: str = "*"
    times: int | None = None
    copies: int | None = None
    seconds: float | None = None
    code: str | None = None


@dataclass(frozen=True)
class Answer:
    """What somebody outside says to an external step: a result, or, with a `code`, that it is refused."""

    step: str
    result: Mapping[str, Any] = field(default_factory=dict)
    code: str | None = None


@dataclass(frozen=True)
class Parking:
    """A saga that is suspended on the way: for which reason, at which step, and which verb lets it go on.

    With None it goes on by itself when what was broken works again.
    """

    reason: str
    step: str
    verb: str | None = "retry"


@dataclass(frozen=True)
class Expected:
    """What must come of a request: outcomes by step, and the steps that are undone, in the order of the undoing.

    Steps without an outcome are waiting. `attempts` and `undo_attempts` are how often a step's command must have been
    sent, at least. `overtaken` maps a step to those that were asked at the same time and answered before it. `letters`
    are the steps that were dead-lettered. A `parked` saga was suspended with an incident, and somebody let it go on.
    `timeline` is what the log of an observed saga must tell, and nothing else, in whatever order it was read.
    """

    status: str
    outcomes: Mapping[str, str]
    undone: tuple[str, ...] = ()
    attempts: Mapping[str, int] = field(default_factory=dict)
    undo_attempts: Mapping[str, int] = field(default_factory=dict)
    overtaken: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    letters: tuple[str, ...] = ()
    parked: Parking | None = None
    timeline: tuple[str, ...] = ()


@dataclass(frozen=True)
class Story:
    """One thing that can happen; `differs` is what its requests have that good ones have not.

    `copies` is how often each of them is sent. `away` is a participant whose process is stopped before: such a story
    has one request, is told after the others, and must expect to be suspended.
    """

    name: str
    told: str
    expected: Expected
    requests: int = 1
    differs: Mapping[str, Any] = field(default_factory=dict)
    switches: tuple[Switch, ...] = ()
    answer: Answer | None = None
    copies: int = 1
    away: str | None = None

    @property
    def word(self) -> str:
        """The name as part of a business key, and as something that needs no quotes."""
        return self.name.replace(" ", "-")


@dataclass(frozen=True)
class Request:
    """One saga that is asked for: its business key and input, and what each step is to write down, by step."""

    story: Story
    key: str
    input: Mapping[str, Any]
    amounts: Mapping[str, int]


@dataclass(frozen=True)
class Line:
    """What one step leaves in its participant's tables, and how that is told: `what` was so much `done` and `undone`.

    `sql` answers, for the saga ids $1, rows of (saga id, amount done, amount undone). With `decimals` amounts are of
    money, of a currency's minor unit, and `unit` is the currency.
    """

    what: str
    done: str
    undone: str
    sql: str
    decimals: bool = False
    unit: str = ""

    def say(self, done: int, undone: int) -> str:
        """Say both amounts, where they are not nothing."""
        said = [
            f"{self._amount(amount)} {word}" for amount, word in ((done, self.done), (undone, self.undone)) if amount
        ]
        return f"{self.what} {', '.join(said) or 'untouched'}"

    def _amount(self, amount: int) -> str:
        text = f"{amount / 100:.2f}" if self.decimals else str(amount)
        return f"{text} {self.unit}" if self.unit else text


@dataclass(frozen=True)
class Books:
    """What the participants have in their tables, by step: how much was done, and how much of that is undone."""

    done: Counter[str] = field(default_factory=Counter)
    undone: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Books) -> Books:
        """Add two sagas' books up."""
        return Books(self.done + other.done, self.undone + other.undone)


@dataclass(frozen=True)
class Stuck:
    """What `KEEP=1` suggests: a request that gets stuck while a fault is set, and what to say when it is repaired."""

    told: str
    switch: Switch
    repaired: str
    differs: Mapping[str, Any] = field(default_factory=dict)


def under_the_saga_id(_request: Request, saga_id: str) -> str:
    """Participants that are sent commands record them under the saga's id."""
    return saga_id


@dataclass(frozen=True)
class Family:
    """The stories of one saga definition, and all that playing and judging them takes.

    `thing` is what one of its sagas is about, `usual` how many good ones there are. `columns` are the steps that are
    shown, by what they are called on the screen. `commands` names the step of each command that leaves an effect;
    `lines` has a line for each of those steps, in the order of the steps.

    What follows is for families whose sagas begin, are shown or are recorded in a way of their own: `recorded_under`
    says under which saga id the participants know a request, `read` understands what the API shows of a saga, and
    `settle` waits for whoever else has something to say when all sagas have ended: it answers a line about that, and
    whether it is as it should be.
    """

    name: str
    thing: str
    definition: str
    key: str
    steps: tuple[str, ...]
    columns: Mapping[str, str]
    commands: Mapping[str, str]
    lines: Mapping[str, Line]
    participants: tuple[str, ...]
    usual: int
    stories: Callable[[int], tuple[Story, ...]]
    request: Callable[[Story, int], Request]
    start: Start = start_over_the_api
    read: Callable[[Mapping[str, Any]], Seen] = read_saga
    recorded_under: Callable[[Request, str], str] = under_the_saga_id
    settle: Callable[[Stage], Awaitable[tuple[str, bool]]] | None = None
    watch: Callable[[str], Watch] | None = None
    stuck: Stuck | None = None
    topics: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def requests(self, story: Story) -> list[Request]:
        """Write a story's requests."""
        return [self.request(story, number) for number in range(1, story.requests + 1)]

    @property
    def places(self) -> tuple[int, ...]:
        """The positions of the steps that are shown."""
        return tuple(self.steps.index(step) for step in self.columns.values())

    def outcomes(self, expected: Expected) -> tuple[str, ...]:
        """List the outcomes that are expected, step by step."""
        return tuple(expected.outcomes.get(step, WAITING) for step in self.steps)

    def done(self, expected: Expected) -> tuple[str, ...]:
        """List the steps whose participants must have something in their tables, undone or not."""
        return tuple(step for step in self.lines if expected.outcomes.get(step) in {DONE, UNKNOWN})

    def say(self, books: Books) -> str:
        """Say in a line what the tables hold."""
        return "; ".join(line.say(books.done[step], books.undone[step]) for step, line in self.lines.items())


def commands_of(definition: SagaDefinition) -> dict[str, str]:
    """Name the step of each command of a definition, of its actions and of its compensations."""
    return {
        command: step.name
        for step in definition.steps
        for command in (step.action, step.compensation)
        if command and not step.external
    }


def expected_books(request: Request, done: Sequence[str], undone: Sequence[str]) -> Books:
    """Say what the tables must hold when these steps were done and those undone."""
    return Books(
        Counter({step: request.amounts[step] for step in done}),
        Counter({step: request.amounts[step] for step in undone}),
    )


def excess_replies(stories: Sequence[Story]) -> int:
    """Count the replies that the stories make arrive once more than needed."""
    return sum(
        ((switch.copies or 2) - 1) * story.requests
        for story in stories
        for switch in story.switches
        if switch.kind == "duplicate"
    )
