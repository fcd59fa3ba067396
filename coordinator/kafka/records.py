"""What goes to Kafka, what comes from it, and what to say about offsets that could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec


class Record(Protocol):
    """One message as it was read; aiokafka's ConsumerRecord is one."""

    @property
    def topic(self) -> str:
        """Where it was read from."""
        ...

    @property
    def partition(self) -> int:
        """Where it was read from."""
        ...

    @property
    def offset(self) -> int:
        """Its place in the partition."""
        ...

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch, set by the sender or the broker."""
        ...

    @property
    def key(self) -> bytes | None:
        """The key as sent."""
        ...

    @property
    def value(self) -> bytes | None:
        """The value as sent; None is a tombstone."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Headers in the sender's order; a name may repeat."""
        ...


class Outgoing(msgspec.Struct):
    """One message to publish; `token` comes back in Published and means something to the caller only."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]] = []
    token: object = None


class Skipped(msgspec.Struct, frozen=True):
    """Offsets `first_offset` up to but not including `next_offset` that nobody can read."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    reason: Literal["codec", "corrupt"]
    detail: str


class OffsetReset(msgspec.Struct, frozen=True):
    """The wanted offset `asked` is not in the log, or not what was read before it; reading goes on at `earliest`.

    `asked` below the first offset means that retention has removed messages; else the log was cut or is another log.
    """

    topic: str
    partition: int
    asked: int
    earliest: int


class Counts(msgspec.Struct):
    """What has happened so far; every number only grows."""

    polls: int = 0
    records: int = 0
    dropped: int = 0
    """Records that were fetched and put back, to be fetched again."""
    skipped: int = 0
    """Offsets that nobody can read."""
    resets: int = 0
    commits_failed: int = 0
    errors: int = 0
    rebuilds: int = 0
    rebalances: int = 0
