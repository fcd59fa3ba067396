"""What is kept of a record that is set aside, when it is sent again, and how it is known when it comes back."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import msgspec

from coordinator.engine.reading import Arrival, BadArrival, ReplyArrival
from coordinator.kafka.records import Record
from coordinator.saga.definition import Retry
from coordinator.store.batch import DeadRecord
from coordinator.wire.strict_json import MAX_VALUE_BYTES

REDRIVEN = "saga-redriven"  # the header `<letter id>;<try>` of a record that is sent again

# Trying again may help: another replica knows the definition, or does not have the fault that this one has, or by then
# every replica knows the version that was asked for.
TRANSIENT = frozenset({"definition_unknown", "version_not_ready", "internal"})

# They are in order, and belong to sagas that exist or shall begin: the fault is ours.
_KEPT_ALWAYS = frozenset({"definition_unknown", "version_not_ready"})

LETTERS_PER_BATCH = 100  # per partition; further bad records of a batch share one row
REDRIVEN_PER_BATCH = 300  # the same for those that say they are letters: a few passes of the recovery worker

_REFERENCE = re.compile(rb"([1-9][0-9]{0,17});([1-9][0-9]{0,8})")

KeptHeaders = Sequence[tuple[str, bytes | None]]


class _Limits(NamedTuple):
    """How much of a record is kept, in bytes."""

    key: int
    value: int
    headers: int
    header: int


_SAMPLE = _Limits(key=64 * 1024, value=64 * 1024, headers=50, header=1024)  # enough to see what it was
_WHOLE = _Limits(key=64 * 1024, value=MAX_VALUE_BYTES, headers=200, header=16 * 1024)  # all that a reader takes


class Reference(NamedTuple):
    """Which letter a record is, and which try of it."""

    letter_id: int
    try_: int


def reference_of(record: Record | None) -> Reference | None:
    """What a record that was sent again says of itself; None for any other."""
    if record is None:
        return None
    for name, value in record.headers:
        if name == REDRIVEN and value is not None:
            found = _REFERENCE.fullmatch(value)
            return None if found is None else Reference(int(found[1]), int(found[2]))
    return None


def is_kept_always(arrival: Arrival, reason: str) -> bool:
    """Whether an arrival is kept by itself, however many come at once, because it is sent again by itself.

    Only a reply of a saga that exists gets as far as a fault of ours; anybody can send records that find one sooner.
    """
    return reason in _KEPT_ALWAYS or (reason == "internal" and isinstance(arrival, ReplyArrival))


def pause_ms(recovery: Retry, tries: int, roll: float) -> int | None:
    """How long a letter rests after so many tries of sending it again; None when the budget is spent."""
    return recovery.pause_ms(tries + 1, roll) if tries < recovery.attempts else None


def dead_record(
    arrival: Arrival, reason: str, detail: str, cluster_id: str, topic: str, recovery: Retry, roll: float
) -> DeadRecord:
    """An arrival as a dead letter keeps it: raw bytes (cut), headers (capped), why, and when to try again."""
    record = arrival.record
    transient = reason in TRANSIENT
    limits = _WHOLE if transient else _SAMPLE
    complete = record is not None and _fits(record, limits)
    reference = reference_of(record)
    tries = 0 if reference is None else reference.try_
    value = record.value if record is not None else None
    return DeadRecord(
        reason,
        _storable(detail)[:2000],
        cluster_id,
        topic,
        arrival.part,
        arrival.offset,
        arrival.next_offset,
        record.key[: limits.key] if record is not None and record.key is not None else None,
        value[: limits.value] if value is not None else None,
        len(value) if value is not None else None,
        headers_json(_cut(record, limits)) if record is not None else b"[]",
        arrival.saga_id if isinstance(arrival, ReplyArrival) else None,
        complete,
        pause_ms(recovery, tries, roll) if transient and complete else None,
        None if reference is None else reference.letter_id,
        None if reference is None else reference.try_,
    )


class Crowds:
    """Many bad records at once: one row for the rest of each partition, so that a flood cannot fill the table.

    One of these per batch.
    """

    def __init__(self) -> None:
        self._kept: Counter[int] = Counter()
        self._redriven: Counter[int] = Counter()
        self._rest: dict[int, list[Arrival]] = {}

    def take(self, arrival: Arrival, reason: str) -> bool:
        """Whether a bad record goes with the crowd; else it is to be kept by itself."""
        if is_kept_always(arrival, reason) or self._has_room(arrival):
            return False
        self._rest.setdefault(arrival.part, []).append(arrival)
        return True

    def _has_room(self, arrival: Arrival) -> bool:
        """Whether a row of its own has room; that a record is a letter is only what it says, until SQL looks."""
        if reference_of(arrival.record) is None:
            rows, rows_max = self._kept, LETTERS_PER_BATCH
        else:
            rows, rows_max = self._redriven, REDRIVEN_PER_BATCH
        rows[arrival.part] += 1
        return rows[arrival.part] <= rows_max

    def rows(self) -> list[BadArrival]:
        """One bad record for the crowd of each partition."""
        return [
            BadArrival(
                *(part, crowd[0].offset, crowd[-1].next_offset, "crowd"),
                f"{len(crowd)} records between these offsets were set aside; they are still in the topic",
                None,
            )
            for part, crowd in self._rest.items()
        ]


def fits_whole(record: Record) -> bool:
    """Whether a record is small enough to be kept uncut."""
    return _fits(record, _WHOLE)


def may_be_cut(key: bytes | None, headers: KeptHeaders) -> bool:
    """Whether a key and headers that a letter keeps reach a limit, so that there may have been more of them."""
    return any(
        len(key or b"") == limits.key
        or len(headers) == limits.headers
        or any(len(value or b"") == limits.header for _, value in headers)
        for limits in (_SAMPLE, _WHOLE)
    )


def headers_json(headers: Iterable[tuple[str, bytes | None]]) -> bytes:
    """Headers as JSON: [name, text], [name, null] without a value, [name, null, base64] where it is no UTF-8."""
    shown: list[list[str | None]] = []
    for name, value in headers:
        if value is None:
            shown.append([name, None])
            continue
        try:
            shown.append([name, value.decode()])
        except UnicodeDecodeError:
            shown.append([name, None, base64.b64encode(value).decode()])
    return msgspec.json.encode(shown)


def headers_of(raw: bytes) -> list[tuple[str, bytes | None]]:
    """The headers that `headers_json` wrote."""
    headers = []
    for name, text, *encoded in msgspec.json.decode(raw):
        unreadable = base64.b64decode(encoded[0]) if encoded else None
        headers.append((name, unreadable if text is None else cast("str", text).encode()))
    return headers


def _cut(record: Record, limits: _Limits) -> list[tuple[str, bytes | None]]:
    kept = list(record.headers)[: limits.headers]
    return [(name, None if value is None else value[: limits.header]) for name, value in kept]


def _fits(record: Record, limits: _Limits) -> bool:
    return (
        len(record.key or b"") <= limits.key
        and len(record.value or b"") <= limits.value
        and len(record.headers) <= limits.headers
        and all(len(value or b"") <= limits.header for _, value in record.headers)
    )


def _storable(text: str) -> str:
    """Text as Postgres takes it: no NUL, no lone surrogate."""
    return text.replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()
