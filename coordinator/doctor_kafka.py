"""The checks of `saga doctor` that ask Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from coordinator.choreography.choreographies import Choreographies
from coordinator.definitions import load_choreographies
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.findings import Finding, State
from coordinator.kafka.progress import committed_offsets, end_offsets
from coordinator.kafka.topics import cluster_id, partition_counts, topic_configs
from coordinator.parts import TIMESTAMPS, security, topic_specs
from coordinator.settings import Settings

LAG_WARN, LAG_BAD = 1_000, 100_000  # records
ASK_S: Final = 5.0


class KafkaChecks:
    """Each check answers findings, or raises a SagaError that is one."""

    def __init__(self, settings: Settings, registry: Registry | None) -> None:
        self._settings = settings
        self._registry = registry
        self._bootstrap = settings.kafka.bootstrap_servers
        self._security = security(settings)
        self._topology = Topology(settings.topic_prefix, {})
        self._counts: dict[str, int] = {}
        self._ends: dict[tuple[str, int], int] = {}

    @property
    def replies(self) -> int:
        """How many partitions the reply topic has."""
        return self._counts[self._topology.replies]

    async def kafka(self) -> list[Finding]:
        """It answers."""
        cluster = await cluster_id(self._bootstrap, security=self._security, timeout_s=ASK_S)
        return [Finding("kafka", State.OK, f"cluster {cluster} answers at {self._bootstrap}")]

    async def topics(self) -> list[Finding]:
        """The topics are there, with as many partitions as the settings say at least."""
        sources = Choreographies(load_choreographies(self._settings.choreographies)).sources
        specs = topic_specs(self._settings, self._names(), sources)
        self._counts = await partition_counts(
            self._bootstrap, [spec.name for spec in specs], security=self._security, timeout_s=ASK_S
        )
        missing = sorted(spec.name for spec in specs if spec.name not in self._counts)
        if missing:
            said = f"there is no {', '.join(missing)}"
            return [Finding("topics", State.BAD, said, "run `saga topics`; or mend SAGA_TOPIC_PREFIX")]
        few = [spec for spec in specs if self._counts[spec.name] < spec.partitions]
        if few:
            said = "; ".join(f"{each.name} has {self._counts[each.name]} of {each.partitions}" for each in few)
            advice = "lower the setting, or add partitions to the topic while no saga is running"
            return [Finding("topics", State.BAD, f"too few partitions: {said}", advice)]
        self._ends = await end_offsets(self._bootstrap, self._counts, security=self._security)
        found = [Finding("topics", State.OK, f"{len(specs)} topics, {sum(self._counts.values())} partitions")]
        return found + await self._by_other_clocks()

    async def _by_other_clocks(self) -> list[Finding]:
        """Topics whose records have the times of their senders: made by others, or before `saga topics` set this."""
        setting, wanted = TIMESTAMPS
        found = await topic_configs(self._bootstrap, self._counts, setting, security=self._security, timeout_s=ASK_S)
        others = sorted(topic for topic, value in found.items() if value != wanted)
        if not others:
            return []
        said = f"senders' clocks say how old records are in {', '.join(others)}: Kafka refuses those of a fast clock"
        advice = f"kafka-configs --alter --entity-type topics --entity-name TOPIC --add-config {setting}={wanted}"
        return [Finding("topics", State.WARN, said, advice)]

    def behind(self, read: Mapping[int, int]) -> list[Finding]:
        """How many replies wait to be read; `read` says how far each partition was read."""
        replies = self._topology.replies
        lags = {part: self._ends[replies, part] - read.get(part, 0) for part in range(self.replies)}
        # Every commit of a transaction takes an offset that no record has.
        total, worst = sum(max(lag, 0) for lag in lags.values()), max(lags, key=lambda part: lags[part])
        advice = "look whether engines run and own all partitions; more of them, up to one per partition, read faster"
        return [_judged("lag", total, f"{total} replies are unread, most in partition {worst}", advice)]

    async def participants(self) -> list[Finding]:
        """Each participant reads its commands."""
        findings = []
        for name in self._names():
            topic, group = self._topology.commands(name), f"{self._settings.topic_prefix}{name}"
            read = await committed_offsets(self._bootstrap, group, security=self._security, timeout_s=ASK_S)
            ends = [(part, self._ends[topic, part]) for part in range(self._counts[topic])]
            lag = sum(max(end - read.get((topic, part), 0), 0) for part, end in ends)
            if lag and not any((topic, part) in read for part, _ in ends):
                said = f"{name}: {lag} commands, and no group {group} has ever read them"
                advice = f"start {name}; if its consumer group has another name, look at that group's lag instead"
                findings.append(Finding("participants", State.WARN, said, advice))
            elif lag >= LAG_WARN:
                advice = f"look whether {name} runs and answers; start more of its processes if it keeps behind"
                findings.append(_judged("participants", lag, f"{name} has {lag} commands unread", advice))
        return findings or [Finding("participants", State.OK, f"{len(self._names())} participants read their commands")]

    def _names(self) -> list[str]:
        return [] if self._registry is None else self._registry.participants


def _judged(check: str, lag: int, found: str, advice: str) -> Finding:
    if lag < LAG_WARN:
        return Finding(check, State.OK, found)
    return Finding(check, State.BAD if lag >= LAG_BAD else State.WARN, found, advice)
