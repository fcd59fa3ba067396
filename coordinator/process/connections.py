"""What a process is connected to once everything answered."""

from __future__ import annotations

import msgspec

from coordinator.engine.topology import Topology
from coordinator.kafka.publisher import Publisher


class Connections(msgspec.Struct, frozen=True):
    """The producer, the topics that there are, and the id of the cluster."""

    bus: Publisher
    topology: Topology
    cluster: str
