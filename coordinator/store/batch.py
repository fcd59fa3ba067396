"""What one statement writes: rows, turned into the arrays of queries/commit_batch.sql.

Each method appends one row; `arguments()` answers the statement's parameters in the order of its numbers. A test
prepares the statement against the migrated schema and compares the number of parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

Row = tuple[Any, ...]
_by_id = itemgetter(0)


class Token(msgspec.Struct, frozen=True, order=True, gc=False):
    """The identity of an outbox row: the transition that caused the message, and its place among its messages."""

    saga_id: str
    saga_version: int
    position: int


class Fence(NamedTuple):
    """A partition as its owner knows it, and what a batch consumed of it; the statement refuses if it is not so."""

    part: int
    epoch: int
    owner: str
    from_offset: int
    next_offset: int
    applied: int = 0
    duplicate: int = 0
    stale: int = 0
    foreign: int = 0
    quarantined: int = 0


class Act(NamedTuple):
    """What somebody did to a saga, why, and how the saga stood before and after."""

    actor: str
    action: str
    saga_id: str
    reason: str
    version_before: int
    version_after: int
    request_id: str
    status_before: str
    status_after: str


class DeadRecord(NamedTuple):
    """A consumed record (or a range of unreadable ones) that is set aside with its raw bytes.

    `complete` says that nothing was cut; with `pause_ms` it is sent again by itself after so long. `letter_id` and
    `try_` are what a record that was sent again says of itself: which letter it is, and which try.
    """

    reason: str
    detail: str
    cluster_id: str
    topic: str
    partition: int
    first_offset: int
    next_offset: int
    key: bytes | None
    value: bytes | None
    value_length: int | None
    headers: bytes
    saga_id: str | None = None
    complete: bool = False
    pause_ms: int | None = None
    letter_id: int | None = None
    try_: int | None = None


# How each group's columns travel. n: whole numbers or NULL, w: words (ids, names: no text that needs quoting) or
# NULL, both as an array literal, because the driver spends five times longer on elements one by one; a: an array.
_FENCE = "nnwnnnnnnn"
_MOVE = "wnnwannw"
_MOVE_FIRST = 7  # the statement numbers what came later last, in each group of columns
_START = "wawannwannwawn"
_START_FIRST = 12
_LOG = "wnnwwwa"
_OUT = "wnnnwnwwa"
_KEY = "wnn"
_DEAD = "a" * 19
_DEAD_FIRST = 15
_INCIDENT = "a" * 5
_RESOLVE = "a" * 2
_AUDIT = "a" * 9
_AUDIT_FIRST = 6
_CLOSE = "wa"
_LABEL = "aaw"
_TALLY = "nwn"


class Batch:
    """One all-or-nothing write: saga rows with the log entries, messages and letters that go with them."""

    __slots__ = (
        "audits",
        "closes",
        "dead",
        "events_through_ms",
        "fences",
        "incidents",
        "labels",
        "logs",
        "moves",
        "out",
        "resolves",
        "starts",
        "tallies",
        "tokens",
    )

    def __init__(self) -> None:
        self.fences: list[Fence] = []
        self.events_through_ms = 0
        self.moves: list[Row] = []
        self.starts: list[Row] = []
        self.logs: list[Row] = []
        self.out: list[Row] = []
        self.tokens: list[Token] = []
        self.dead: list[Row] = []
        self.incidents: list[Row] = []
        self.resolves: list[Row] = []
        self.audits: list[Act] = []
        self.closes: list[Row] = []
        self.labels: list[Row] = []
        self.tallies: dict[tuple[int, str], int] = {}

    def move(
        self,
        saga_id: str,
        version: int,
        next_version: int,
        status: str,
        state: bytes,
        deadline_ms: int | None,
        unless_unsent: bool,
        waits_at: str | None = None,
    ) -> None:
        """Take a saga from `version` to `next_version`; with `unless_unsent` only if its outbox is empty.

        `waits_at` has a letter for each step at which the saga waits or hangs (saga.model.waits_at).
        """
        self.moves.append((saga_id, version, next_version, status, state, deadline_ms, int(unless_unsent), waits_at))

    def start(
        self,
        definition: str,
        business_key: str,
        saga_id: str,
        input_hash: bytes,
        part: int,
        definition_id: int,
        traceparent: str | None,
        input_: bytes,
        version: int,
        deadline_ms: int | None,
        status: str,
        state: bytes,
        waits_at: str | None = None,
        wake_ms: int | None = None,
    ) -> None:
        """Begin a saga, provided that its business key is free; it is looked at again at `wake_ms`, or its deadline."""
        self.starts.append(
            (
                definition,
                business_key,
                saga_id,
                input_hash,
                part,
                definition_id,
                traceparent,
                input_,
                version,
                deadline_ms,
                status,
                state,
                waits_at,
                deadline_ms if wake_ms is None else wake_ms,
            )
        )

    def label(self, saga_id: str, name: str, value: str) -> None:
        """Mark a saga that is begun here."""
        self.labels.append((name, value, saga_id))

    def tally(self, definition_id: int, before: str | None, after: str) -> None:
        """Count a saga where it stands now, and no longer where it stood; `before` is None for a new one."""
        tallies = self.tallies
        if before is not None:
            tallies[definition_id, before] = tallies.get((definition_id, before), 0) - 1
        tallies[definition_id, after] = tallies.get((definition_id, after), 0) + 1

    def log(
        self,
        saga_id: str,
        version: int,
        part: int,
        event: str,
        step_name: str | None,
        status: str,
        data: bytes,
    ) -> None:
        """Append one transition to a saga's log; `data` is JSON text."""
        self.logs.append((saga_id, version, part, event, step_name, status, data))

    def send(
        self,
        token: Token,
        part: int,
        destination: str,
        partition: int,
        type_: str,
        traceparent: str | None,
        payload: bytes,
    ) -> None:
        """Keep a message until Kafka has acknowledged it."""
        self.out.append(
            (
                token.saga_id,
                token.saga_version,
                token.position,
                part,
                destination,
                partition,
                type_,
                traceparent,
                payload,
            )
        )

    def set_aside_record(self, record: DeadRecord) -> None:
        """Keep a record that cannot be applied."""
        *first, saga_id, complete, pause_ms, letter_id, try_ = record
        self.dead.append(("record", *first, saga_id, None, None, complete, pause_ms, letter_id, try_))

    def set_aside_command(
        self,
        kind: str,
        saga_id: str,
        saga_version: int,
        command_id: str,
        topic: str,
        partition: int,
        reason: str,
        detail: str,
        value: bytes,
    ) -> None:
        """Keep an action or a compensation (`kind` is its direction) that automation has given up on for now."""
        self.dead.append(
            (
                kind,
                reason,
                detail,
                None,
                topic,
                partition,
                None,
                None,
                saga_id.encode(),
                value,
                len(value),
                b"[]",
                saga_id,
                saga_version,
                command_id,
                True,
                None,
                None,
                None,
            )
        )

    def open_incident(self, saga_id: str, saga_version: int, reason: str, step_name: str | None, detail: str) -> None:
        """Ask for a person."""
        self.incidents.append((saga_id, saga_version, reason, step_name, detail))

    def resolve_incidents(self, saga_id: str, by: str) -> None:
        """Close a saga's open incidents."""
        self.resolves.append((saga_id, by))

    def close_letter(self, saga_id: str, command_id: str) -> None:
        """A command that was set aside has worked after all."""
        self.closes.append((saga_id, command_id))

    def audit(self, act: Act) -> None:
        """Record what somebody did, in the same statement: without the record it does not happen."""
        self.audits.append(act)

    def arguments(self) -> list[Any]:
        """The statement's parameters; saga rows are sorted by id, so that overlapping writers cannot deadlock."""
        self.moves.sort(key=_by_id)
        through = datetime.fromtimestamp(self.events_through_ms / 1000, UTC)
        moves = _columns(self.moves, _MOVE)
        arguments: list[Any] = [*_columns(self.fences, _FENCE), through, *moves[:_MOVE_FIRST]]
        # A start's key, id and the rest feed two inserts; the statement numbers them in this order.
        starts = _columns(self.starts, _START)
        arguments += starts[:_START_FIRST]
        arguments += _columns(self.logs, _LOG)
        arguments += _columns(self.out, _OUT)
        arguments += _columns(rows_of(self.tokens), _KEY)
        dead = _columns(self.dead, _DEAD)
        arguments += dead[:_DEAD_FIRST]
        arguments += _columns(self.incidents, _INCIDENT)
        arguments += _columns(self.resolves, _RESOLVE)
        audits = _columns(self.audits, _AUDIT)
        arguments += audits[:_AUDIT_FIRST]
        arguments += dead[_DEAD_FIRST:]
        arguments += _columns(self.closes, _CLOSE)
        arguments += audits[_AUDIT_FIRST:]
        arguments += [*moves[_MOVE_FIRST:], *starts[_START_FIRST:]]  # three columns
        arguments += _columns(self.labels, _LABEL)
        arguments += _columns([(*pair, sagas) for pair, sagas in self.tallies.items() if sagas], _TALLY)
        return arguments


def rows_of(tokens: Iterable[Token]) -> list[tuple[str, int, int]]:
    """Tokens as rows (saga id, saga version, position), sorted."""
    return sorted([(token.saga_id, token.saga_version, token.position) for token in tokens])


def _columns(rows: Sequence[Iterable[Any]], kinds: str) -> list[Any]:
    if not rows:
        return [() if kind == "a" else "{}" for kind in kinds]
    return [_ENCODERS[kind](column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]


def _numbers(column: tuple[Any, ...]) -> str:
    literal = "{" + str([*column])[1:-1] + "}"
    return literal.replace("None", "NULL") if "N" in literal else literal


def _words(column: tuple[Any, ...]) -> str:
    if None in column:
        column = tuple("NULL" if word is None else word for word in column)
    return "{" + ",".join(column) + "}"


def _array(column: tuple[Any, ...]) -> tuple[Any, ...]:
    return column


_ENCODERS: dict[str, Callable[[tuple[Any, ...]], Any]] = {"n": _numbers, "w": _words, "a": _array}
