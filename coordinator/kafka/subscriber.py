"""Read one topic as a member of a group, so that nothing is skipped, nothing hangs, and nothing fails in silence."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from coordinator.errors import ConfigurationError, Unavailable
from coordinator.kafka import inside
from coordinator.kafka.connection import REQUEST_TIMEOUT_MS, Security, client_options, require_extensions
from coordinator.kafka.groups import is_held_by_another
from coordinator.kafka.marks import Marks
from coordinator.kafka.membership import Listener, Membership
from coordinator.kafka.reader import Polled, Reader
from coordinator.kafka.records import Counts, OffsetReset
from coordinator.kafka.watchdog import Observation

_DAY_MS = 24 * 3600 * 1000  # aiokafka's own judge of liveness is off: one failed getmany() disables it for good
_RETRY_S = 0.3

T = TypeVar("T")


class _NoTopicError(Unavailable):
    pass


class Subscriber:
    """One member of the group `group_id`, reading `topic`; one task polls, any task may commit and ask.

    `instance_id` makes the member static: a restart within the session timeout takes its partitions back at once.
    `on_reset` hears of offsets that are no longer in the log (or not yet: another cluster).
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        group_id: str,
        client_id: str,
        *,
        instance_id: str | None = None,
        session_timeout_ms: int = 10_000,
        heartbeat_ms: int = 1_000,
        rebalance_timeout_ms: int = 60_000,
        fetch_max_wait_ms: int = 100,
        max_partition_fetch_bytes: int = 1024 * 1024,
        request_timeout_ms: int = REQUEST_TIMEOUT_MS,
        security: Security | None = None,
        on_reset: Callable[[OffsetReset], None] | None = None,
    ) -> None:
        self.counts = Counts()
        self._topic = topic
        self._group_id = group_id
        self._instance_id = instance_id
        self._common = client_options(bootstrap_servers, client_id, security, request_timeout_ms)
        self._options = self._common | {
            "group_id": group_id,
            "group_instance_id": instance_id,
            "session_timeout_ms": session_timeout_ms,
            "heartbeat_interval_ms": heartbeat_ms,
            "rebalance_timeout_ms": rebalance_timeout_ms,
            "max_poll_interval_ms": _DAY_MS,
            "fetch_max_wait_ms": fetch_max_wait_ms,
            "max_partition_fetch_bytes": max_partition_fetch_bytes,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",  # we reset to the earliest ourselves, and say so
            "isolation_level": "read_committed",
        }
        self._fetch_bytes = max_partition_fetch_bytes
        self._revoke_timeout_s = rebalance_timeout_ms / 2000
        self._on_reset = on_reset
        self._listener: Listener | None = None
        self._reader: Reader | None = None
        self._marks = Marks()
        self._paused: set[int] = set()
        self._faults: list[BaseException] = []
        self._displaced: ConfigurationError | None = None
        self._in_trouble_since = -1  # the number of joins when the group last refused something
        self._stuck_at: dict[int, int] = {}
        self._polls_at_look = 0
        self._changing = asyncio.Lock()

    @property
    def assigned(self) -> frozenset[int]:
        """Partitions that the group has given to us."""
        return frozenset(self._reader.membership.owned) if self._reader else frozenset()

    @property
    def ready(self) -> frozenset[int]:
        """Those of them whose on_assigned has finished, so that poll() delivers them."""
        return frozenset(partition for partition, _, _ in self._reader.ready()) if self._reader else frozenset()

    @property
    def broken(self) -> str | None:
        """Say which background task of the client has died; nothing comes any more until rebuild()."""
        return "there is no connection to Kafka" if self._reader is None else inside.broken(self._reader.consumer)

    async def start(self, listener: Listener, timeout_s: float = 30.0) -> None:
        """Connect and ask to join the group; the listener hears when partitions are ours.

        Raises Unavailable when no broker has answered within `timeout_s`, ConfigurationError when the topic is missing.
        """
        require_extensions()
        self._listener = listener
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while True:
            try:
                async with self._changing:
                    await self._connect(max(0.1, deadline_s - loop.time()))
            except Unavailable as error:
                if loop.time() + _RETRY_S > deadline_s:
                    if isinstance(error, _NoTopicError):
                        raise ConfigurationError(str(error)) from error
                    raise
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def poll(self, max_records: int = 1000, timeout_ms: int = 200) -> list[Polled]:
        """Return what has come, in order per partition, within about `timeout_ms`; one caller at a time.

        Raises what the listener raised; Unavailable when Kafka refuses just now (poll again, the watchdog judges);
        ConfigurationError when polling again is pointless (access denied, instance id used twice).
        """
        self.counts.polls += 1
        self._raise_faults()
        polled = await (self._reader or await self._reconnect()).poll(max_records, timeout_ms)
        if not polled:
            self._raise_faults()
        return polled

    def seek(self, partition: int, offset: int) -> None:
        """Deliver `offset` next; ValueError when the partition is not assigned."""
        if self._reader is None:
            raise ValueError("the subscriber is not connected")
        self._reader.membership.seek(partition, offset)

    def position(self, partition: int) -> int | None:
        """Offset of the next record that poll() will deliver; None when that is not known (yet)."""
        ownership = self._reader.membership.owned.get(partition) if self._reader else None
        return ownership.position if ownership else None

    def pause(self, *partitions: int) -> None:
        """Fetch nothing of these partitions, also after a rebalance or rebuild, until resume()."""
        self._paused.update(partitions)
        self._flow(partitions)

    def resume(self, *partitions: int) -> None:
        """Undo pause()."""
        self._paused.difference_update(partitions)
        self._flow(partitions)

    async def commit(self, offsets: dict[int, int], timeout_s: float = 5.0) -> bool:
        """Store {partition: next offset to read} in the group; False, and counted, when not all of it was stored.

        Partitions that are not assigned are left out: their new owner commits them.
        """
        reader = self._reader
        assignment = reader.consumer.assignment() if reader else frozenset()
        wanted = {self._tp(partition): offset for partition, offset in offsets.items()}
        ours = {tp: offset for tp, offset in wanted.items() if tp in assignment}
        try:
            if reader and ours:
                async with asyncio.timeout(timeout_s):
                    await inside.commit_once(reader.consumer, ours)
        except (KafkaError, TimeoutError, ValueError):
            ours = {}
        if len(ours) < len(wanted):
            self.counts.commits_failed += 1
        return len(ours) == len(wanted)

    async def committed(self, partitions: Iterable[int], timeout_s: float = 5.0) -> dict[int, int | None]:
        """Return the offsets stored in the group, None where there is none; Unavailable when Kafka is silent."""
        wanted = list(partitions)

        async def ask(consumer: AIOKafkaConsumer) -> list[int | None]:
            questions = (consumer.committed(self._tp(partition)) for partition in wanted)
            return list(await asyncio.gather(*questions))

        return dict(zip(wanted, await self._ask(ask, timeout_s), strict=True))

    async def end_offsets(self, partitions: Iterable[int], timeout_s: float = 5.0) -> dict[int, int]:
        """Return where each partition ends for read-committed readers; Unavailable when Kafka is silent."""
        wanted = [self._tp(partition) for partition in partitions]
        found = await self._ask(lambda consumer: consumer.end_offsets(wanted), timeout_s)
        return {tp.partition: offset for tp, offset in found.items()}

    async def beginning_offsets(self, partitions: Iterable[int], timeout_s: float = 5.0) -> dict[int, int]:
        """Return the first offset that each partition still has; Unavailable when Kafka is silent."""
        wanted = [self._tp(partition) for partition in partitions]
        found = await self._ask(lambda consumer: consumer.beginning_offsets(wanted), timeout_s)
        return {tp.partition: offset for tp, offset in found.items()}

    async def observe(self) -> Observation:
        """Look at the partitions that should be flowing, for the Watchdog.

        A partition that has not moved since the last look although there is more to read is fetched by hand at the
        next poll: aiokafka only logs most fetch errors and asks the same broker again for ever.
        """
        reader = self._reader
        flowing = {p for p, _, _ in reader.ready() if p not in self._paused} if reader else set()
        try:
            ends = await self.end_offsets(flowing)
        except Unavailable:
            return Observation(positions={}, end_offsets=None, broken=self.broken)
        if reader is None or reader is not self._reader:
            return Observation(positions={}, end_offsets={}, broken=self.broken)
        waits_since_s = reader.membership.waits_since_s
        joining_s = 0.0 if waits_since_s is None else asyncio.get_running_loop().time() - waits_since_s
        positions = {partition: position for partition, _, position in reader.ready() if partition in ends}
        behind = {partition: at for partition, at in positions.items() if at < ends[partition]}
        if self.counts.polls >= self._polls_at_look + 2:
            reader.suspects = {p for p, at in behind.items() if self._stuck_at.get(p) == at}
        self._stuck_at = behind
        self._polls_at_look = self.counts.polls
        return Observation(positions=positions, end_offsets=ends, broken=self.broken, joining_s=joining_s)

    async def rebuild(self, timeout_s: float = 10.0) -> None:
        """Hand the partitions back and join anew with a fresh client, as the same member.

        Raises Unavailable when Kafka does not answer; poll() then goes on trying.
        """
        async with self._changing:
            self.counts.rebuilds += 1
            await self._disconnect(timeout_s / 2)
            await self._connect(timeout_s)

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Hand the partitions back (on_revoked) and leave; a static member stays in the group for its session."""
        self._listener = None  # a connection under way ends in an error instead of a member
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s / 3), self._changing:
                pass
        await self._disconnect(timeout_s / 3)

    async def _reconnect(self) -> Reader:
        async with self._changing:
            if self._reader is None:
                try:
                    await self._connect(REQUEST_TIMEOUT_MS / 1000)
                except Unavailable:
                    await asyncio.sleep(_RETRY_S)
                    raise
            assert self._reader is not None  # noqa: S101 - _connect() has made it
            return self._reader

    async def _connect(self, timeout_s: float) -> None:
        """Make a consumer and ask to join, unless there is one: a second would stay in the group for ever.

        The caller holds the lock.
        """
        if self._reader is not None:
            return
        listener = self._listener
        if listener is None:
            raise Unavailable("the subscriber was stopped")
        consumer = AIOKafkaConsumer(**self._options)
        try:
            async with asyncio.timeout(timeout_s):
                await consumer.start()
                topics = await consumer.topics()
            if self._topic not in topics:
                raise _NoTopicError(f"the topic {self._topic} does not exist: create it with `saga topics`")
            self._reader = self._read_with(consumer, listener)
        except (KafkaError, TimeoutError, OSError) as error:
            servers = self._options["bootstrap_servers"]
            raise Unavailable(f"Kafka at {servers} does not answer: {error!r}") from error
        finally:
            if self._reader is None:
                await inside.close_consumer(consumer, None, 1.0)
        consumer.subscribe([self._topic], listener=self._reader.membership)

    def _read_with(self, consumer: AIOKafkaConsumer, listener: Listener) -> Reader:
        membership = Membership(
            consumer,
            self._topic,
            listener,
            paused=self._paused,
            revoke_timeout_s=self._revoke_timeout_s,
            locate=self._locate,
            report=self._faults.append,
            is_displaced=self._is_displaced,
            counts=self.counts,
        )
        return Reader(
            consumer,
            membership,
            self._topic,
            fetch_bytes=self._fetch_bytes,
            marks=self._marks,
            counts=self.counts,
            find_earliest=self.beginning_offsets,
            explain=self._explain,
            on_reset=self._on_reset,
        )

    async def _disconnect(self, timeout_s: float) -> None:
        reader = self._reader
        if reader is None:
            return
        try:
            await reader.membership.leave(timeout_s)
        finally:
            self._reader = None
            await reader.close(timeout_s)

    async def _locate(self, partitions: set[int]) -> dict[int, int]:
        """Find where reading starts when the listener has not said: after the last commit, else at the earliest."""
        committed = await self.committed(partitions)
        found = {partition: offset for partition, offset in committed.items() if offset is not None}
        missing = partitions - found.keys()
        return found | (await self.beginning_offsets(missing) if missing else {})

    async def _is_displaced(self) -> bool:
        """Tell whether a process with our instance id has joined after us; poll() raises it from then on."""
        reader, instance_id = self._reader, self._instance_id
        if reader is None or instance_id is None:
            return False
        own = reader.membership.member_id
        if await is_held_by_another(self._common, self._group_id, instance_id, own):
            self._displaced = ConfigurationError(
                f"duplicate instance id: another process has joined group {self._group_id} as {instance_id};"
                " give every replica its own"
            )
        return self._displaced is not None

    async def _explain(self, error: KafkaError) -> Exception:
        # An answer that got lost may have given us a new member id, so only trouble that stays is looked into.
        is_lasting = self._in_trouble_since == self.counts.rebalances
        self._in_trouble_since = self.counts.rebalances
        if is_lasting and await self._is_displaced() and self._displaced is not None:
            return self._displaced
        return Unavailable(f"the group {self._group_id} is in trouble: {error!r}")

    async def _ask(self, question: Callable[[AIOKafkaConsumer], Awaitable[T]], timeout_s: float) -> T:
        reader = self._reader
        if reader is None:
            raise Unavailable("there is no connection to Kafka")
        try:
            async with asyncio.timeout(timeout_s):
                return await question(reader.consumer)
        except (KafkaError, TimeoutError, OSError) as error:
            raise Unavailable(f"Kafka does not say: {error!r}") from error

    def _raise_faults(self) -> None:
        if self._displaced is not None:
            raise self._displaced
        if self._faults:
            raise self._faults.pop(0)

    def _flow(self, partitions: Iterable[int]) -> None:
        if self._reader is not None:
            for partition in partitions:
                self._reader.membership.flow(partition)

    def _tp(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)
