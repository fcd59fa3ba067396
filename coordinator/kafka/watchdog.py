"""Decide when a Kafka client that looks alive is not: aiokafka has ways to stand still that raise nothing.

No I/O and no clock in here: the caller observes and acts, this only judges.
"""

from __future__ import annotations

from enum import Enum

import msgspec


class Observation(msgspec.Struct, frozen=True):
    """What the subscriber looks like now, for the partitions that should be flowing.

    `end_offsets` is None when Kafka did not answer; `broken` names a background task that has died; `joining_s` is how
    long the group has been keeping us waiting for partitions, 0 when it has said which are ours (even if none).
    """

    positions: dict[int, int]
    end_offsets: dict[int, int] | None
    broken: str | None = None
    joining_s: float = 0.0


class Action(Enum):
    """What the caller must do."""

    OK = "ok"
    REBUILD = "rebuild"
    """Replace the client."""
    EXIT = "exit"
    """Leave with a non-zero code: replacing the client has not helped."""


class Verdict(msgspec.Struct, frozen=True):
    """What to do, and the sentence to log."""

    action: Action
    reason: str = ""


_OK = Verdict(Action.OK)


class Watchdog:
    """Judges one subscriber and one relay.

    No progress for `stall_s` although there is something to read, or messages unsent for `relay_stall_s` although
    Kafka answers: rebuild. The same after `rebuilds` rebuilds in a row: exit. A Kafka that does not answer at all is
    no reason to exit, only to rebuild every `unreachable_s`: the client may be what is stuck. Nor is a group that has
    given us no partitions for `join_stall_s`: other members may be what it waits for.
    """

    def __init__(
        self,
        *,
        stall_s: float = 30.0,
        relay_stall_s: float = 60.0,
        unreachable_s: float = 60.0,
        join_stall_s: float = 120.0,
        rebuilds: int = 2,
    ) -> None:
        self._stall_s = stall_s
        self._relay_stall_s = relay_stall_s
        self._unreachable_s = unreachable_s
        self._join_stall_s = join_stall_s
        self._rebuilds = rebuilds
        self._since: dict[int, tuple[int, float]] = {}  # partition: its position, and since when it has stood there
        self._reached_at_s: float | None = None
        self._tries = 0
        self._stuck: dict[int, int] = {}
        self._relay_tried_at_s: float | None = None
        self._relay_tries = 0

    def observe(self, now_s: float, seen: Observation) -> Verdict:
        """Judge the subscriber; `now_s` is a monotonic clock's seconds. On REBUILD the clock starts anew."""
        if self._reached_at_s is None:
            self._reached_at_s = now_s
        if seen.broken is not None:
            return self._rebuild(now_s, seen.broken)
        if seen.end_offsets is None:
            return self._unreachable(now_s, self._reached_at_s)
        self._reached_at_s = now_s
        if seen.joining_s >= self._join_stall_s:
            return Verdict(Action.REBUILD, f"the group has given no partitions for {seen.joining_s:.0f} s")
        since: dict[int, tuple[int, float]] = {}
        for partition, position in seen.positions.items():
            known = self._since.get(partition)
            is_behind = position < seen.end_offsets.get(partition, 0)
            since[partition] = known if is_behind and known and known[0] == position else (position, now_s)
        self._since = since
        return self._judge(now_s, seen.end_offsets)

    def observe_relay(self, now_s: float, oldest_unsent_s: float) -> Verdict:
        """Judge the publisher by the age of the oldest message that should have left; 0 when there is none.

        Leave the age at 0 while Kafka is known not to answer: then nothing is wrong with the client.
        """
        if oldest_unsent_s < self._relay_stall_s:
            self._relay_tried_at_s = None
            self._relay_tries = 0
            return _OK
        if self._relay_tried_at_s is not None and now_s - self._relay_tried_at_s < self._relay_stall_s:
            return _OK
        self._relay_tried_at_s = now_s
        self._relay_tries += 1
        action = Action.EXIT if self._relay_tries > self._rebuilds else Action.REBUILD
        return Verdict(action, f"a message has waited for {oldest_unsent_s:.0f} s to be published")

    def _judge(self, now_s: float, end_offsets: dict[int, int]) -> Verdict:
        if all(self._since.get(partition, (None,))[0] != position for partition, position in self._stuck.items()):
            self._stuck = {}  # what the last rebuild was for is flowing again, or is no longer ours
            self._tries = 0
        late = {p: position for p, (position, since_s) in self._since.items() if now_s - since_s >= self._stall_s}
        if not late:
            return _OK
        self._stuck = late
        partition, position = min(late.items())
        return self._rebuild(
            now_s,
            f"partition {partition} ends at {end_offsets[partition]} and has stood at {position} for {self._stall_s} s",
        )

    def _rebuild(self, now_s: float, reason: str) -> Verdict:
        self._tries += 1
        self._since = {partition: (position, now_s) for partition, (position, _) in self._since.items()}
        if self._tries > self._rebuilds:
            return Verdict(Action.EXIT, f"{reason}; {self._rebuilds} rebuilds have not helped")
        return Verdict(Action.REBUILD, reason)

    def _unreachable(self, now_s: float, reached_at_s: float) -> Verdict:
        # time without Kafka is nobody's stall
        self._since = {partition: (position, now_s) for partition, (position, _) in self._since.items()}
        silent_s = now_s - reached_at_s
        if silent_s < self._unreachable_s:
            return _OK
        self._reached_at_s = now_s
        return Verdict(Action.REBUILD, f"Kafka has not answered for {silent_s:.0f} s")
