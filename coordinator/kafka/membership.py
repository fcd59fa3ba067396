"""One consumer's membership in its group: which partitions are ours, and from when on their records may be delivered.

aiokafka makes an assignment live before its listener has finished, only logs what the listener raises, and sends no
heartbeat while the listener runs. So the listener's work runs in a task of ours, behind a gate: a partition is paused
from the first moment, its start is fetched explicitly, and nothing of it is delivered before all that is done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import IllegalStateError
from aiokafka.structs import TopicPartition

from coordinator.errors import Unavailable
from coordinator.kafka import inside
from coordinator.kafka.records import Counts

_OPENING_GRACE_S = 2.0  # what an unfinished on_assigned gets when its partitions are already being taken away


class Listener(Protocol):
    """What the owner of the partitions does when they come and go; the two never overlap."""

    async def on_assigned(self, partitions: set[int]) -> None:
        """Take the partitions over: claim them, seek(). May be empty: we are in the group and own nothing.

        It may take as long as it needs. It is cancelled when the group takes the partitions away meanwhile; on_revoked
        follows then, too. What it raises is raised by the next poll(), and the partitions stay shut.
        """
        ...

    async def on_revoked(self, partitions: set[int]) -> None:
        """Let the partitions go: finish what is running, commit(). Bounded by half the rebalance timeout."""
        ...


class Ownership:
    """One partition of the present assignment.

    `position` is the offset of the next record to deliver, None before it is known; `moves` counts its changes by
    anything but delivery, so that a fetch that was under way can be told from one that was not. `way` is the connection
    over which the log was found to be the one that was read before.
    """

    __slots__ = ("moves", "position", "ready", "way")

    def __init__(self) -> None:
        self.position: int | None = None
        self.moves = 0
        self.ready = False
        self.way: object | None = None


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Turns aiokafka's callbacks into the Listener's promises, for one consumer object.

    `locate` finds where reading of a partition starts when the listener did not say (it may raise Unavailable);
    `report` takes what a listener raised; `is_displaced` says whether another process has taken our place for good.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        topic: str,
        listener: Listener,
        *,
        paused: set[int],
        revoke_timeout_s: float,
        locate: Callable[[set[int]], Awaitable[dict[int, int]]],
        report: Callable[[BaseException], None],
        is_displaced: Callable[[], Awaitable[bool]],
        counts: Counts,
    ) -> None:
        self.owned: dict[int, Ownership] = {}
        self.member_id = ""
        self.waits_since_s: float | None = asyncio.get_running_loop().time()
        """Loop time since when the group has owed us an answer; None when it has given one."""
        self._consumer = consumer
        self._topic = topic
        self._listener = listener
        self._paused = paused
        self._revoke_timeout_s = revoke_timeout_s
        self._locate = locate
        self._report = report
        self._is_displaced = is_displaced
        self._counts = counts
        self._opening: asyncio.Task[None] | None = None
        self._revoking = asyncio.Lock()
        self._leaving = asyncio.Event()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Shut the gate, and open it in a task: heartbeats begin only after this has returned."""
        self._counts.rebalances += 1
        self.waits_since_s = None
        self.member_id = inside.member_id(self._consumer)  # aiokafka forgets it when in doubt
        self.owned = {tp.partition: Ownership() for tp in assigned}
        for tp in assigned:
            self._consumer.pause(tp)
            self._consumer.seek(tp, 0)  # a stand-in, so that aiokafka looks for no position by itself
        self._opening = asyncio.create_task(self._open(self.owned))

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Hand everything back before the group goes on; stay out of it when our place is taken."""
        del revoked  # every rebalance takes all partitions
        await self.revoke(self._revoke_timeout_s)
        self.waits_since_s = asyncio.get_running_loop().time()
        is_in_doubt = self.member_id and not inside.member_id(self._consumer)
        if is_in_doubt and not self._leaving.is_set() and await self._is_displaced():
            await self._leaving.wait()

    async def revoke(self, timeout_s: float) -> None:
        """Shut the gate and let the listener finish; does nothing when there is nothing to hand back."""
        owned, self.owned = self.owned, {}
        async with self._revoking:
            opening, self._opening = self._opening, None
            if opening is None:
                return
            await _end(opening, min(timeout_s, _OPENING_GRACE_S))
            try:
                async with asyncio.timeout(timeout_s):
                    await self._listener.on_revoked(set(owned))
            except TimeoutError:
                self._report(Unavailable(f"on_revoked was cut off after {timeout_s} s"))
            except Exception as error:  # noqa: BLE001 - whatever it is, poll() raises it
                self._report(error)

    async def leave(self, timeout_s: float) -> None:
        """Hand everything back for good."""
        self._leaving.set()
        await self.revoke(timeout_s)

    def seek(self, partition: int, offset: int) -> None:
        """Deliver `offset` next; ValueError when the partition is not ours."""
        ownership = self.owned.get(partition)
        if ownership is None or not self.set_position(partition, ownership, offset):
            raise ValueError(f"{self._topic}-{partition} is not assigned to this member")

    def set_position(self, partition: int, ownership: Ownership, offset: int) -> bool:
        """Move both positions, ours and aiokafka's; False when the assignment has just ended."""
        try:
            self._consumer.seek(TopicPartition(self._topic, partition), offset)
        except IllegalStateError:
            return False
        ownership.position = offset
        ownership.moves += 1
        return True

    def flow(self, partition: int) -> None:
        """Make aiokafka fetch the partition or not, as gate and back-pressure say."""
        ownership = self.owned.get(partition)
        if ownership is None or not ownership.ready:
            return
        tp = TopicPartition(self._topic, partition)
        with contextlib.suppress(IllegalStateError):
            if partition in self._paused:
                self._consumer.pause(tp)
            else:
                self._consumer.resume(tp)

    async def _open(self, owned: dict[int, Ownership]) -> None:
        try:
            await self._listener.on_assigned(set(owned))
            await self._find_positions(owned)
        except Exception as error:  # noqa: BLE001 - whatever it is, poll() raises it
            if self.owned is owned:  # else the partitions are gone already, and so is the reason to care
                self._report(error)
            return
        if self.owned is not owned:
            return
        for partition, ownership in owned.items():
            ownership.ready = True
            self.flow(partition)

    async def _find_positions(self, owned: dict[int, Ownership]) -> None:
        while unknown := {partition for partition, one in owned.items() if one.position is None}:
            try:
                found = await self._locate(unknown)
            except Unavailable:
                await asyncio.sleep(0.5)
                continue
            for partition, offset in found.items():
                if owned[partition].position is None and self.owned is owned:
                    self.set_position(partition, owned[partition], offset)
            if self.owned is not owned:
                return


async def _end(task: asyncio.Task[None], grace_s: float) -> None:
    done, _ = await asyncio.wait([task], timeout=grace_s)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=grace_s)
