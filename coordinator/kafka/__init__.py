"""Kafka, behind wrappers that close the gaps of its Python client: nothing lost, nothing skipped, nothing hanging."""

from coordinator.kafka.batches import Published
from coordinator.kafka.connection import Security, require_extensions
from coordinator.kafka.membership import Listener
from coordinator.kafka.publisher import Publisher
from coordinator.kafka.reader import Polled
from coordinator.kafka.records import Counts, OffsetReset, Outgoing, Record, Skipped
from coordinator.kafka.subscriber import Subscriber
from coordinator.kafka.topics import TopicSpec, cluster_id, ensure_topics, partition_counts
from coordinator.kafka.watchdog import Action, Observation, Verdict, Watchdog

__all__ = [
    "Action",
    "Counts",
    "Listener",
    "Observation",
    "OffsetReset",
    "Outgoing",
    "Polled",
    "Published",
    "Publisher",
    "Record",
    "Security",
    "Skipped",
    "Subscriber",
    "TopicSpec",
    "Verdict",
    "Watchdog",
    "cluster_id",
    "ensure_topics",
    "partition_counts",
    "require_extensions",
]
