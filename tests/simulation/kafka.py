"""What one process has of Kafka: its producer and its place in the group."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from coordinator.engine.ports import Polled
from coordinator.errors import Unavailable
from coordinator.kafka.batches import Published
from coordinator.kafka.marks import Marks, is_mark_of
from coordinator.kafka.membership import Listener
from coordinator.kafka.records import OffsetReset, Outgoing, Record
from coordinator.kafka.watchdog import Observation
from tests.simulation.broker import Broker, Group, Unplaced
from tests.simulation.process import Life

ACK_TIMEOUT_S = 10.0
IDLE_POLL_S = 0.4  # an empty poll may take longer than it was asked to
POLLED_PART = 0.3  # how often a poll brings less than there is


class SimulatedBus:
    """`engine.ports.Bus`: what becomes of what one process publishes."""

    def __init__(self, broker: Broker, life: Life) -> None:
        self._broker = broker
        self._life = life
        self._turn = asyncio.Lock()
        self.healthy = True

    async def publish(self, messages: Sequence[Outgoing]) -> Published:
        broker, loop = self._broker, asyncio.get_running_loop()
        acknowledged: list[object] = []
        failed: list[object] = []
        async with self._turn:
            await self._life.cross()
            if broker.faults.happens("kill_at_await"):
                self._life.kill()  # what was sent is stored or not, as it comes
            sent: asyncio.Future[str | None] = loop.create_future()
            loop.call_later(broker.delay_s(), self._arrive, list(messages), acknowledged, failed, sent)
            error = await self._life.hear(sent)
        self.healthy = error is None
        if error is not None:
            loop.call_later(broker.chance.uniform(0.1, 1.5), self._renew)
        await self._wait(broker.chance.uniform(0.3, ACK_TIMEOUT_S) if error == "away" else broker.delay_s())
        return Published(acknowledged, failed, [], error)

    async def rebuild(self) -> None:
        await self._wait(0.1)

    def _arrive(
        self,
        messages: list[Outgoing],
        acknowledged: list[object],
        failed: list[object],
        sent: asyncio.Future[str | None],
    ) -> None:
        """Store what arrives, partition by partition, and answer as Kafka does: truly, falsely, or not at all."""
        broker = self._broker
        groups: dict[tuple[str, int], list[Outgoing]] = {}
        for message in messages:
            groups.setdefault((message.topic, message.partition), []).append(message)
        error: str | None = "away" if broker.is_away else None
        for own in groups.values():
            tokens = [message.token for message in own]
            if broker.is_away or broker.faults.happens("publish_lost"):
                failed.extend(tokens)
                error = error or "lost"
                continue
            records = [Unplaced(m.topic, m.partition, m.key, m.value, tuple(m.headers)) for m in own]
            broker.store(records)
            if broker.faults.happens("publish_twice"):
                broker.store(records)
            if broker.faults.happens("publish_unheard"):
                failed.extend(tokens)
                error = error or "unheard"
            else:
                acknowledged.extend(tokens)
        if not sent.done():
            sent.set_result(error)

    def _renew(self) -> None:
        """A producer that failed is replaced until one is connected, whether anybody publishes or not."""
        if self._broker.is_away:
            asyncio.get_running_loop().call_later(self._broker.chance.uniform(0.1, 2.0), self._renew)
        else:
            self.healthy = True

    async def _wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._life.cross()


class _Owned:
    """One partition of the present assignment."""

    def __init__(self) -> None:
        self.position: int | None = None
        self.moves = 0
        self.cuts = -1


class SimulatedInbox:
    """`engine.ports.GroupInbox`: one member of the group, with the promises of kafka.membership."""

    def __init__(
        self, broker: Broker, group: Group, topic: str, life: Life, on_reset: Callable[[OffsetReset], None]
    ) -> None:
        self._broker = broker
        self._group = group
        self._topic = topic
        self._life = life
        self._on_reset = on_reset
        self._marks = Marks()
        self._listener: Listener | None = None
        self._owned: dict[int, _Owned] = {}
        self._ready = False
        self._opening: asyncio.Task[None] | None = None
        self._revoking = asyncio.Lock()
        self._faults: list[Exception] = []
        self._generation = 0
        self._stopped = False
        self._heart: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ the engine's side

    async def start(self, listener: Listener) -> None:
        await self._way()
        self._listener = listener
        self._group.join(self)
        self._heart = asyncio.create_task(self._beat())
        self._life.tasks.append(self._heart)

    async def stop(self, timeout_s: float = 10.0) -> None:
        self._stopped = True
        if self._heart is not None:
            self._heart.cancel()
        await self._revoke()
        self._group.leave(self)
        self._listener = None

    async def rebuild(self) -> None:
        self._group.leave(self)
        await self._revoke()
        await self._way()
        self._group.join(self)

    async def poll(self, max_records: int = 1000, timeout_ms: int = 200) -> list[Polled]:
        broker = self._broker
        await self._life.cross()
        if self._faults:
            raise self._faults.pop(0)
        if broker.faults.happens("fetch_failed"):
            await self._wait(0.2)
            raise Unavailable("the fetch has failed")
        if not self._has_more():
            broker.arrived[self._topic].clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(broker.chance.uniform(timeout_ms / 1000, IDLE_POLL_S)):
                    await broker.arrived[self._topic].wait()
        marks = {part: (one, one.moves) for part, one in self._owned.items()}
        await self._wait(broker.delay_s())
        if not self._ready or broker.is_away:
            return []
        delivered: list[Polled] = []
        for part, one in sorted(self._owned.items()):
            if marks.get(part) != (one, one.moves) or one.position is None or max_records <= 0:
                continue
            log = broker.logs[self._topic, part]
            if one.position > len(log) or not self._is_compared(part, one, one.position):
                self._reset(part, one)
                continue
            records: list[Record] = list(log[one.position : one.position + max_records])
            if len(records) > 1 and broker.chance.random() < POLLED_PART:
                records = records[: broker.chance.randint(1, len(records))]
            if records:
                one.position += len(records)
                self._marks.add(part, records[-1])
                max_records -= len(records)
                delivered.append((part, records))
        return delivered

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions that the group has given to us."""
        return frozenset(self._owned)

    @property
    def ready(self) -> frozenset[int]:
        """Those of them that are read."""
        return frozenset(self._owned) if self._ready else frozenset()

    @property
    def broken(self) -> str | None:
        """Nothing of a client that does not exist breaks."""
        return None

    async def committed(self, partitions: Sequence[int], timeout_s: float = 5.0) -> dict[int, int | None]:
        await self._asked(timeout_s)
        return {part: self._group.offsets.get(part) for part in partitions}

    def seek(self, partition: int, offset: int) -> None:
        one = self._owned.get(partition)
        if one is None:
            raise ValueError(f"{partition} is not assigned to this member")
        one.position = offset
        one.moves += 1

    def position(self, partition: int) -> int | None:
        one = self._owned.get(partition)
        return None if one is None else one.position

    async def commit(self, offsets: dict[int, int], timeout_s: float = 5.0) -> bool:
        generation = self._generation
        await self._way()
        if self._broker.is_away or not self._group.has(self) or generation != self._group.generation:
            return False
        self._group.offsets.update(offsets)
        return not self._broker.faults.happens("offset_commit_unheard")

    async def end_offsets(self, partitions: Sequence[int], timeout_s: float = 5.0) -> dict[int, int]:
        await self._asked(timeout_s)
        return {part: len(self._broker.logs[self._topic, part]) for part in partitions}

    async def beginning_offsets(self, partitions: Sequence[int], timeout_s: float = 5.0) -> dict[int, int]:
        await self._asked(timeout_s)
        return dict.fromkeys(partitions, 0)

    async def observe(self) -> Observation:
        positions = {part: one.position for part, one in self._owned.items() if one.position is not None}
        try:
            ends = await self.end_offsets(sorted(positions) if self._ready else [])
        except Unavailable:
            return Observation({}, None)
        return Observation({part: at for part, at in positions.items() if part in ends}, ends)

    # ------------------------------------------------------------ the group's side

    @property
    def answers(self) -> bool:
        """Whether its heartbeats come."""
        return not self._life.dead and not self._life.is_paused and not self._stopped

    async def give_back(self) -> bool:
        """Let everything go."""
        await self._life.cross()
        await self._revoke()
        return True

    def take(self, generation: int, partitions: set[int]) -> None:
        """These are ours: they are read once the listener has taken them over."""
        if self._life.dead or self._listener is None:
            return
        self._generation = generation
        self._owned = {part: _Owned() for part in sorted(partitions)}
        self._ready = False
        self._opening = asyncio.create_task(self._open(self._owned, self._listener))
        self._life.tasks.append(self._opening)

    async def _open(self, owned: dict[int, _Owned], listener: Listener) -> None:
        await self._life.cross()
        try:
            await listener.on_assigned(set(owned))
        except Exception as error:  # noqa: BLE001 - poll() raises it
            if self._owned is owned:
                self._faults.append(error)
            return
        for part, one in owned.items():
            if one.position is None:
                one.position = self._group.offsets.get(part, 0)
        if self._owned is owned:
            self._ready = True

    async def _revoke(self) -> None:
        async with self._revoking:
            owned, self._owned, self._ready = self._owned, {}, False
            opening, self._opening = self._opening, None
            if opening is None or self._listener is None:
                return
            if not opening.done():
                opening.cancel()
                await asyncio.wait([opening])
            try:
                await self._listener.on_revoked(set(owned))
            except Exception as error:  # noqa: BLE001 - poll() raises it
                self._faults.append(error)

    async def _beat(self) -> None:
        """Find out that the group goes on without us, and come back."""
        while not self._stopped:
            await self._wait(0.5)
            if self._listener is not None and not self._group.has(self) and not self._broker.is_away:
                await self._wait(self._broker.chance.uniform(0, 1))  # meanwhile it works on, as a zombie
                await self._revoke()
                self._group.join(self)

    # ------------------------------------------------------------ beneath

    def _has_more(self) -> bool:
        return self._ready and any(
            one.position is not None and one.position != len(self._broker.logs[self._topic, part])
            for part, one in self._owned.items()
        )

    def _is_compared(self, part: int, one: _Owned, position: int) -> bool:
        """Whether the log still has what was read last, as far as we know; looked at where the connection is new."""
        cuts, mark = self._broker.cuts[self._topic, part], self._marks.before(part, position)
        if one.cuts == cuts or mark is None or is_mark_of(self._broker.logs[self._topic, part][mark.offset], mark):
            one.cuts = cuts
            return True
        return False

    def _reset(self, part: int, one: _Owned) -> None:
        self._marks.forget(part)
        asked, one.position = one.position or 0, 0
        one.moves += 1
        self._on_reset(OffsetReset(self._topic, part, asked, 0))

    async def _asked(self, timeout_s: float) -> None:
        await self._life.cross()
        if self._broker.is_away or self._broker.faults.happens("offsets_unknown"):
            await self._wait(self._broker.chance.uniform(0.05, timeout_s))
            raise Unavailable("Kafka does not say")
        await self._way()

    async def _way(self) -> None:
        await self._wait(self._broker.delay_s())

    async def _wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._life.cross()
