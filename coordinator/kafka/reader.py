"""The polling of one consumer: deliver what continues our positions, put back the rest, get past what is unreadable.

The position of each owned partition is kept in Ownership, not in aiokafka. Whatever a fetch returns that does not
continue it (the partition was given away or sought, or a fetch has failed halfway and thrown the records of other
partitions away) is fetched again. So is what came over a connection over which the log was not yet compared with what
was read before: its broker may have come back without the end of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import (
    ConsumerStoppedError,
    CorruptRecordException,
    GroupAuthorizationFailedError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)
from aiokafka.structs import TopicPartition

from coordinator.errors import ConfigurationError, Unavailable
from coordinator.kafka import inside
from coordinator.kafka.marks import Marks, is_there
from coordinator.kafka.membership import Membership, Ownership
from coordinator.kafka.raw import Reading
from coordinator.kafka.records import Counts, OffsetReset, Record, Skipped
from coordinator.kafka.salvage import read_past

_PAUSE_AFTER_ERROR_S = 0.2  # a caller that polls again at once must not spin
_UNREADABLE = (CorruptRecordException, UnsupportedCodecError, RecordTooLargeError)

Polled = tuple[int, list[Record]] | Skipped
Find = Callable[[set[int]], Awaitable[dict[int, int]]]


class _Fetch:
    """A getmany() call under way, with what the positions were when it began."""

    __slots__ = ("marks", "task")

    def __init__(self, task: asyncio.Task[Any], owned: dict[int, Ownership]) -> None:
        self.task = task
        self.marks = {partition: (one, one.moves) for partition, one in owned.items()}

    def continues(self, partition: int, ownership: Ownership) -> bool:
        """Tell whether the position is still the one this fetch has begun at."""
        return self.marks.get(partition) == (ownership, ownership.moves)


class Reader:
    """Polls one consumer; `find_earliest` asks for first offsets, `explain` turns a group error into one of ours."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        membership: Membership,
        topic: str,
        *,
        fetch_bytes: int,
        marks: Marks,
        counts: Counts,
        find_earliest: Find,
        explain: Callable[[KafkaError], Awaitable[Exception]],
        on_reset: Callable[[OffsetReset], None] | None,
    ) -> None:
        self.consumer = consumer
        self.membership = membership
        self.suspects: set[int] = set()
        self._topic = topic
        self._fetch_bytes = fetch_bytes
        self._marks = marks
        self._counts = counts
        self._find_earliest = find_earliest
        self._explain = explain
        self._on_reset = on_reset
        self._fetch: _Fetch | None = None

    async def poll(self, max_records: int, timeout_ms: int) -> list[Polled]:
        """Return what has come within about `timeout_ms`; raises Unavailable or ConfigurationError."""
        await self._compare()
        if self.suspects:
            suspects, self.suspects = self.suspects, set()
            found = await self._salvage(suspects, max_records)
            if found:
                return found
        fetch = self._fetch
        if fetch is None:
            call = self.consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
            fetch = self._fetch = _Fetch(asyncio.create_task(call), self.membership.owned)
        await asyncio.wait([fetch.task], timeout=timeout_ms / 1000 + 0.05)
        if not fetch.task.done():  # a rebalance: cancelling would spoil aiokafka's books, so the next poll waits on
            return []
        self._fetch = None
        if fetch.task.cancelled():  # only close() does that
            return []
        error = fetch.task.exception()
        if error is None:
            return self._deliver(fetch, fetch.task.result())
        self._counts.errors += 1
        return await self._recover(error, max_records)

    def ready(self) -> list[tuple[int, Ownership, int]]:
        """List (partition, ownership, position) of what may be delivered now."""
        return [
            (partition, one, one.position)
            for partition, one in self.membership.owned.items()
            if one.ready and one.position is not None
        ]

    async def close(self, timeout_s: float) -> None:
        """Stop the consumer, bounded."""
        task = None if self._fetch is None else self._fetch.task
        await inside.close_consumer(self.consumer, task, timeout_s)

    def _deliver(self, fetch: _Fetch, fetched: dict[TopicPartition, list[Record]]) -> list[Polled]:
        delivered: list[Polled] = []
        for tp, records in fetched.items():
            ownership = self.membership.owned.get(tp.partition)
            is_next = ownership is not None and ownership.ready and fetch.continues(tp.partition, ownership)
            if ownership is None or not is_next or not self._is_compared(tp.partition, ownership):
                self._counts.dropped += len(records)
                if ownership is not None and ownership.position is not None:
                    self.membership.set_position(tp.partition, ownership, ownership.position)
                continue
            ownership.position = records[-1].offset + 1
            self._marks.add(tp.partition, records[-1])
            self._counts.records += len(records)
            delivered.append((tp.partition, records))
        self._step_over_invisible(fetch, fetched)
        return delivered

    def _step_over_invisible(self, fetch: _Fetch, fetched: dict[TopicPartition, list[Record]]) -> None:
        """Follow aiokafka past transaction markers and compacted ranges, which bring no record to see it by."""
        for partition, ownership, position in self.ready():
            tp = TopicPartition(self._topic, partition)
            if tp in fetched or not self._is_compared(partition, ownership):
                continue
            if fetch.continues(partition, ownership):
                ownership.position = max(position, inside.position(self.consumer, tp) or 0)

    def _is_compared(self, partition: int, ownership: Ownership) -> bool:
        """Whether the log was found to be ours over the connection that there is now."""
        return ownership.way is not None and ownership.way is self._way(partition)

    def _way(self, partition: int) -> object | None:
        return inside.way(self.consumer, TopicPartition(self._topic, partition))

    async def _compare(self) -> None:
        """Look whether what was read last is still in the log, wherever the connection is another one."""
        for partition, ownership, position in self.ready():
            way = self._way(partition)
            if way is not None and way is not ownership.way:  # without one, the next fetch makes one
                try:
                    await self._compare_one(partition, ownership, position, way)
                except KafkaError:
                    await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
                    return  # one pause for all partitions: a poll keeps its time

    async def _compare_one(self, partition: int, ownership: Ownership, position: int, way: object) -> None:
        tp, moves = TopicPartition(self._topic, partition), ownership.moves
        mark = self._marks.before(partition, position)
        found = mark is None or await is_there(self.consumer, tp, mark, fetch_bytes=self._fetch_bytes)
        if found is None or self.membership.owned.get(partition) is not ownership or ownership.moves != moves:
            return
        if not found:
            await self._reset(partition)
        elif self._way(partition) is way and self.membership.set_position(partition, ownership, position):
            ownership.way = way  # and what was fetched before is fetched again

    async def _recover(self, error: BaseException, max_records: int) -> list[Polled]:
        suspects = inside.after_failed_getmany(self.consumer)
        for partition, ownership, position in self.ready():
            if inside.position(self.consumer, TopicPartition(self._topic, partition)) != position:
                self.membership.set_position(partition, ownership, position)
        if isinstance(error, ConsumerStoppedError):
            return []
        if isinstance(error, OffsetOutOfRangeError):
            for tp in error.args[0]:
                await self._reset(tp.partition)
            return []
        if isinstance(error, _UNREADABLE) or not isinstance(error, KafkaError):
            if not isinstance(error, Exception):
                raise error
            likely = [tp.partition for tp in suspects]
            return await self._salvage([*likely, *(p for p, _, _ in self.ready() if p not in likely)], max_records)
        await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
        if isinstance(error, NoOffsetForPartitionError):  # asked in the moment before the gate was shut
            return []
        if isinstance(error, TopicAuthorizationFailedError | GroupAuthorizationFailedError):
            raise ConfigurationError(f"Kafka denies access: {error!r}") from error
        raise await self._explain(error) from error

    async def _salvage(self, partitions: Iterable[int], max_records: int) -> list[Polled]:
        """Read the first of these partitions that has anything by hand."""
        for partition in partitions:
            ownership = self.membership.owned.get(partition)
            if ownership is None or not ownership.ready or ownership.position is None:
                continue
            if not self._is_compared(partition, ownership):
                continue
            mark = ownership.moves
            tp = TopicPartition(self._topic, partition)
            try:
                reading = await read_past(
                    self.consumer,
                    tp,
                    ownership.position,
                    fetch_bytes=self._fetch_bytes,
                    max_records=max_records,
                )
            except OffsetOutOfRangeError:
                await self._reset(partition)
                continue
            except KafkaError as error:
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
                raise Unavailable(f"{self._topic}-{partition} cannot be fetched: {error!r}") from error
            is_ours = self.membership.owned.get(partition) is ownership and ownership.moves == mark
            if is_ours and self._is_compared(partition, ownership) and reading.next_offset > ownership.position:
                self.membership.set_position(partition, ownership, reading.next_offset)
                found = self._sorted(partition, reading)
                for item in reading.items[-1:]:
                    if not isinstance(item, Skipped):
                        self._marks.add(partition, item)
                if found:
                    return found
        return []

    def _sorted(self, partition: int, reading: Reading) -> list[Polled]:
        found: list[Polled] = []
        records: list[Record] = []
        for item in reading.items:
            if isinstance(item, Skipped):
                self._counts.skipped += item.next_offset - item.first_offset
                found.append(item)
                records = []
                continue
            if not records:
                found.append((partition, records))
            records.append(item)
            self._counts.records += 1
        return found

    async def _reset(self, partition: int) -> None:
        ownership = self.membership.owned.get(partition)
        if ownership is None or not ownership.ready or ownership.position is None:
            return
        asked, mark = ownership.position, ownership.moves
        earliest = (await self._find_earliest({partition}))[partition]
        if self.membership.owned.get(partition) is not ownership or ownership.moves != mark:
            return
        self._marks.forget(partition)
        self.membership.set_position(partition, ownership, earliest)
        self._counts.resets += 1
        if self._on_reset is not None:
            self._on_reset(OffsetReset(self._topic, partition, asked, earliest))
