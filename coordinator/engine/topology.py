"""Which topic carries what, and into which partition a saga's messages go."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Topology(msgspec.Struct, frozen=True):
    """The topics as they are on this cluster: `counts` holds the partitions of each.

    A saga's messages go to partition `part modulo count` of every topic, part being the saga's partition of the
    reply topic: where the counts divide each other that is where Kafka's own partitioner would put its key.
    """

    prefix: str
    counts: Mapping[str, int]

    @property
    def replies(self) -> str:
        """The topic of all that goes to the coordinator."""
        return f"{self.prefix}replies"

    @property
    def events(self) -> str:
        """The topic of lifecycle events."""
        return f"{self.prefix}events"

    @property
    def dead_letters(self) -> str:
        """The dead-letter topic."""
        return f"{self.prefix}dlq"

    def commands(self, participant: str) -> str:
        """The topic of a participant's commands."""
        return f"{self.prefix}{participant}.commands"

    def domain_events(self, source: str) -> str:
        """The topic on which a source says what happened, for choreographed sagas."""
        return f"{self.prefix}{source}.events"

    def partition(self, topic: str, part: int) -> int:
        """The partition of `topic` for sagas of a partition of the reply topic."""
        return part % self.counts[topic]
