"""Why a saga moved: each entry of a log has a cause that the world knows of, and each command has its turn.

A cause is a record that the same batch has consumed, an act that it has audited, or a moment of the database's clock
that has come. As in watching.py nothing here reads a saga's state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import msgspec

from coordinator.saga.definition import SagaDefinition
from tests.simulation.broker import Kept
from tests.simulation.database import Written
from tests.simulation.hearing import EVENTS, Heard, Records, reply_of
from tests.simulation.watching import VERBS, Violation

ANSWERS = frozenset(EVENTS.values())
LAST_WORDS = frozenset({"StepCompleted", "CompensationCompleted"})
ACTS = VERBS | {"ExternalCompleted", "ExternalFailed"}
SETTLING = frozenset({"ResolveRequested", "SkipRequested"})
CANCELLING = frozenset({"CompensateRequested", "AbandonRequested", "SagaDeadlinePassed"})
DEADLINES = frozenset({"DeadlinePassed", "PublicationDelayed"})
ACTION = "action"
ROUNDED_MS = 2  # a clock that is reckoned from another one is off by as much


class _Error(msgspec.Struct, frozen=True):
    retryable: bool = False


class _Told(msgspec.Struct):
    """What an entry of a log says besides its name."""

    now_ms: int
    attempt: int = 0
    direction: str = ACTION
    error: _Error = _Error()
    start_at_ms: int | None = None
    resolution: str = ""


class _Sent(msgspec.Struct):
    command_id: str
    attempt: int
    direction: str
    step_name: str


class _Entry(msgspec.Struct):
    """A transition, and what is asked for because of it."""

    saga_id: str
    version: int
    event: str
    step: str
    status: str
    part: int
    told: _Told
    asked: list[_Sent]

    def __str__(self) -> str:
        return f"{self.saga_id} v{self.version} {self.event} {self.step}"


class _Command:
    """A command with its attempts: the last one is `open` until it is answered, given up or called off."""

    def __init__(self, step: str, direction: str) -> None:
        self.step = step
        self.direction = direction
        self.attempt = 0
        self.open = False
        self.answered = False
        self.due_ms = 0


class _Story:
    """One saga so far; `asked` has the present command of a step and direction."""

    def __init__(self, definition: SagaDefinition, began: _Told) -> None:
        self.definition = definition
        self.status = ""
        self.starts_ms = began.start_at_ms or began.now_ms
        self.commands: dict[str, _Command] = {}
        self.asked: dict[tuple[str, str], _Command] = {}
        self.undos: list[_Command] = []


_TOLD = msgspec.json.Decoder(_Told)
_SENT = msgspec.json.Decoder(_Sent)


class Explanations:
    """Raises Violation from within the commit of what has no cause, or not its turn.

    `latest_ms` is the latest that the database's clock can have said lately; `unread` are the records that a partition
    has still to be read, with the moment at which each was stored, or nothing where that cannot be told.
    """

    def __init__(
        self,
        definitions: Mapping[int, SagaDefinition],
        replies: str,
        latest_ms: Callable[[], int],
        unread: Callable[[int], Sequence[tuple[int, Kept]]],
    ) -> None:
        self._definitions = definitions
        self._replies = replies
        self._clock_ms = latest_ms
        self._latest_ms = 0  # at the present batch
        self._unread = unread
        self._stories: dict[str, _Story] = {}
        self._records = Records()

    def stored(self, record: Kept) -> None:
        """Kafka has a record."""
        if record.topic == self._replies:
            self._records.add(record)

    def committed_batch(self, written: Written) -> None:
        """A batch is durable."""
        batch = written.batch
        if not batch.logs:
            return
        asks: defaultdict[tuple[str, int], list[_Sent]] = defaultdict(list)
        for row in batch.out:
            if row[4].endswith(".commands"):
                asks[row[0], row[1]].append(_SENT.decode(row[8]))
        self._latest_ms = self._clock_ms() + ROUNDED_MS
        heard = Heard(self._records, batch.fences)
        acts = {(act.saga_id, act.version_after) for act in batch.audits}
        for start in batch.starts:
            if start[5] in self._definitions:
                began = next(log for log in batch.logs if log[0] == start[2])
                self._stories[start[2]] = _Story(self._definitions[start[5]], _TOLD.decode(began[6]))
        for saga_id, version, part, event, step, status, data in batch.logs:
            story = self._stories.get(saga_id)
            if story is None:
                continue  # it is only observed
            asked = asks.get((saga_id, version), [])
            entry = _Entry(saga_id, version, event, step or "", status, part, _TOLD.decode(data), asked)
            if event in ACTS and (saga_id, version) not in acts:
                raise Violation(f"I25 an act is audited as it happens: {entry}, and nobody did it")
            self._follow(story, entry, heard)

    def _follow(self, story: _Story, entry: _Entry, heard: Heard) -> None:
        if entry.told.now_ms > self._latest_ms:
            raise Violation(f"I21 the time is the database's: {entry} at {entry.told.now_ms}, not {self._latest_ms}")
        if entry.event in ANSWERS:
            self._answered(story, entry, heard)
        elif entry.event in DEADLINES or entry.event == "BackoffElapsed":
            self._timed(story, entry)
        else:
            self._told(story, entry)
        story.status = entry.status
        for sent in entry.asked:
            self._ask(story, entry, sent)
        if entry.status in ("completed", "failed") and any(not undo.answered for undo in story.undos):
            raise Violation(f"I13 an undo is owed until it is acknowledged: {entry} -> {entry.status}")

    def _answered(self, story: _Story, entry: _Entry, heard: Heard) -> None:
        """A participant has answered: a record says so, of a command that is not answered yet."""
        told, source = entry.told, story.definition.steps[story.definition.index[entry.step]].participant
        about = (entry.event, entry.saga_id, entry.step, told.attempt, source)
        undone = entry.event.startswith("Compensation")
        known = {name: one.answered for name, one in story.commands.items() if (one.direction != ACTION) is undone}
        waiting = [name for name, answered in known.items() if not answered]
        taken = heard.take(*about, waiting) or heard.take(*about, known)
        command = story.commands.get(taken)
        if command is None:
            raise Violation(f"I17 whatever moves a saga is known: {entry}, and no record says so")
        if command.answered:
            raise Violation(f"I17 an answer counts once: {entry}, and {taken} was answered before")
        is_last = entry.event in LAST_WORDS or (entry.event == "StepFailed" and not told.error.retryable)
        if not is_last and (told.attempt != command.attempt or not command.open):
            raise Violation(f"I22 an attempt has one end: {entry} of {taken}, attempt {told.attempt}")
        late = story.undos and command.direction == ACTION
        if late and (entry.asked or entry.status != story.status):
            raise Violation(f"I18 what comes too late revives nothing: {entry} -> {entry.status}")
        command.answered = is_last
        command.open = False

    def _timed(self, story: _Story, entry: _Entry) -> None:
        """A moment has come: that of the attempt that is open."""
        told = entry.told
        command = story.asked.get((entry.step, told.direction))
        if entry.event not in DEADLINES or story.definition.steps[story.definition.index[entry.step]].external:
            return
        if command is None or told.attempt != command.attempt or not command.open:
            raise Violation(f"I22 an attempt has one end: {entry}, attempt {told.attempt} is not open")
        if command.due_ms > self._latest_ms:
            raise Violation(f"I21 no deadline before its time: {entry}, due at {command.due_ms}")
        if entry.event == "PublicationDelayed":
            command.due_ms = told.now_ms + self._timeout_ms(story, command)
            return
        for stored_ms, record in self._unread(entry.part):
            found = reply_of(record) if stored_ms <= command.due_ms else None
            if found is not None and story.commands.get(found[2].command_id) is command:
                raise Violation(f"I22 an answer in time wins: {entry}, answered at {entry.part}@{record.offset}")
        command.open = False

    def _told(self, story: _Story, entry: _Entry) -> None:
        """The saga begins, its own time has come, or somebody has acted."""
        told, due_ms = entry.told, story.starts_ms
        if entry.event == "SagaDeadlinePassed":
            due_ms += story.definition.deadline_ms or 0
        if entry.event in ("SagaDeadlinePassed", "StartDue") and due_ms > self._latest_ms:
            raise Violation(f"I21 no deadline before its time: {entry}, due at {due_ms}")
        # Whoever lets a saga go on that has turned back does not wait for an action either: it counts as unknown.
        calls_off = entry.event in CANCELLING or (entry.event in ACTS and entry.status == "compensating")
        for command in story.commands.values():
            is_meant = command.step == entry.step and (command.direction != ACTION) is (told.resolution == "undone")
            if entry.event in SETTLING and is_meant:
                command.open, command.answered = False, True
            elif calls_off and command.direction == ACTION:
                command.open = False

    def _ask(self, story: _Story, entry: _Entry, sent: _Sent) -> None:
        command = story.commands.get(sent.command_id)
        if command is None:
            command = story.commands[sent.command_id] = _Command(sent.step_name, sent.direction)
            story.asked[sent.step_name, sent.direction] = command
            if sent.direction != ACTION:
                story.undos.append(command)
        if sent.attempt != command.attempt + 1 or (command.open and entry.event not in ACTS):
            raise Violation(
                f"I6 one attempt after the other: {entry} sends attempt {sent.attempt} of {sent.command_id}"
            )
        for other in story.commands.values():
            if other is not command and other.open and not self._are_neighbours(story, command, other):
                raise Violation(
                    f"I6 one command at a time: {entry} sends {sent.command_id} while {other.step} is asked"
                )
        command.attempt, command.open = sent.attempt, True
        command.due_ms = entry.told.now_ms + self._timeout_ms(story, command)

    def _are_neighbours(self, story: _Story, one: _Command, other: _Command) -> bool:
        """Whether two commands may be out together: actions of one stage."""
        index, stage_of = story.definition.index, story.definition.stage_of
        together = stage_of[index[one.step]] == stage_of[index[other.step]]
        return together and one.direction == other.direction == ACTION

    def _timeout_ms(self, story: _Story, command: _Command) -> int:
        step = story.definition.steps[story.definition.index[command.step]]
        return step.timeout_ms if command.direction == ACTION else step.compensation_timeout_ms
