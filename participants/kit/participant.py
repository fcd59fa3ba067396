"""A participant: a name, its tables, and one handler per command."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import asyncpg
import msgspec

from coordinator.wire.messages import AnyCommand, Compensation
from participants.kit.outcomes import Outcome, Refused

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

# A handler takes Command or Compensation, whichever it was registered for; Any keeps the signatures short.
Handle: TypeAlias = Callable[[Any, Connection], Awaitable[Outcome]]
HandleMany: TypeAlias = Callable[[Sequence[Any], Connection], Awaitable[Sequence[Outcome]]]
Lock: TypeAlias = Callable[[Sequence[AnyCommand], Connection], Awaitable[None]]
One = TypeVar("One", bound=Handle)
Many = TypeVar("Many", bound=HandleMany)
Payload = TypeVar("Payload")

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a participant does when another one says that something happened, and what it says then.

    With a `compensation` it undoes its `action`. `refused` is said instead of `emits` when it cannot be done.
    """

    event: str
    source: str
    action: str
    compensation: str | None
    emits: str
    refused: str
    correlation: str


@dataclass(frozen=True, slots=True)
class Handler:
    """The code behind one command; `run` answers one outcome per command, in order."""

    command: str
    direction: str
    run: HandleMany


class Participant:
    """A service that owns one kind of resource and answers the coordinator's commands about it.

    `name` names the command topic, the consumer group, the Postgres schema and `ce_source` of the replies.
    `tables` is a file of SQL that may run again at each start. `memory` is how long commands are remembered:
    it must exceed the retention of the command topic plus the longest saga.
    """

    def __init__(self, name: str, *, tables: Path, memory: timedelta = timedelta(days=30)) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"participant name {name!r}: lower-case letters, digits and _ only, at most 32")
        if memory < timedelta(minutes=1):
            raise ValueError("memory: commands come again after seconds; remember them for a minute at least")
        self.name = name
        self.tables = tables
        self.memory = memory
        self.lock: Lock | None = None
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._reactions: dict[tuple[str, str], Reaction] = {}

    def handles(self, command: str, *, compensation: bool = False) -> Callable[[One], One]:
        """Register the decorated function for one command; it is awaited once per command."""

        def register(handle: One) -> One:
            async def run(commands: Sequence[AnyCommand], connection: Connection) -> list[Outcome]:
                return [await handle(one, connection) for one in commands]

            self._register(command, compensation, run)
            return handle

        return register

    def handles_many(self, command: str, *, compensation: bool = False) -> Callable[[Many], Many]:
        """Register the decorated function for one command; it is awaited once per batch of commands.

        It answers one outcome per command, in order. When it raises, it is called again with one command at a time.
        """

        def register(handle: Many) -> Many:
            self._register(command, compensation, handle)
            return handle

        return register

    def compensates(self, command: str) -> Callable[[One], One]:
        """Register the decorated function for a compensation; the kit calls it for completed actions only."""
        return self.handles(command, compensation=True)

    def locks(self, lock: Lock) -> Lock:
        """Register the decorated function to lock what the handlers of a batch will change, in one order.

        It is awaited once per batch, before the handlers, with commands of all kinds: handlers that lock one after the
        other could deadlock with those of another process. It may be left out, so handlers lock what they need as well.
        """
        if self.lock is not None:
            raise ValueError(f"{self.name}: two functions that lock")
        self.lock = lock
        return lock

    def reacts(
        self,
        event: str,
        *,
        of: str,
        action: str,
        emits: str,
        refused: str | None = None,
        correlation: str = "order_id",
    ) -> None:
        """Run an action's handler when `of` says that `event` happened, and say `emits`, or `refused` if it will not.

        `correlation` is the text field of the event's data that makes an action one and the same.
        """
        self._react(Reaction(event, of, action, None, emits, refused or emits, correlation))

    def walks_back(
        self, event: str, *, of: str, action: str, compensation: str, emits: str, correlation: str = "order_id"
    ) -> None:
        """Undo what `action` did when `of` says that `event` happened, and say `emits`; also if nothing was done."""
        self._react(Reaction(event, of, action, compensation, emits, emits, correlation))

    @property
    def sources(self) -> tuple[str, ...]:
        """Whose events this participant reacts to."""
        return tuple(dict.fromkeys(source for source, _ in self._reactions))

    def reaction(self, source: str, event: str) -> Reaction | None:
        """Find what to do about an event, or None when it is none of this participant's business."""
        return self._reactions.get((source, event))

    def handler(self, command: str, direction: str) -> Handler | None:
        """Find the handler of a command, or None when this participant knows no such command."""
        return self._handlers.get((command, direction))

    def _react(self, reaction: Reaction) -> None:
        handled = [(reaction.action, "action")]
        if reaction.compensation is not None:
            handled.append((reaction.compensation, "compensation"))
        for name, direction in handled:
            if (name, direction) not in self._handlers:
                raise ValueError(f"{self.name}: no handler for {direction} {name}, which {reaction.event} needs")
        if (reaction.source, reaction.event) in self._reactions:
            raise ValueError(f"{self.name}: two reactions to {reaction.event} of {reaction.source}")
        self._reactions[reaction.source, reaction.event] = reaction

    def _register(self, command: str, compensation: bool, run: HandleMany) -> None:
        direction = "compensation" if compensation else "action"
        if (command, direction) in self._handlers:
            raise ValueError(f"{self.name}: two handlers for {direction} {command}")
        self._handlers[command, direction] = Handler(command, direction, run)


def read_payload(command: AnyCommand, shape: type[Payload]) -> Payload | Refused:
    """Read what a handler needs of a command's payload (of the action's, for a compensation) as a msgspec struct.

    Fields that the struct does not name are left alone; a payload that does not fit is a refusal to return.
    """
    payload = command.original_payload if isinstance(command, Compensation) else command.payload
    try:
        return msgspec.convert(payload, shape, strict=True)
    except msgspec.ValidationError as error:
        return Refused("payload_invalid", str(error))
