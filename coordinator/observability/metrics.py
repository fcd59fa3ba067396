"""The metrics of a coordinator process, fed per batch; labels come only from registered names."""

from __future__ import annotations

import platform
import re
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Literal

import msgspec
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from coordinator.observability.collectors import BatchHistogram, Labels, Registry, Survey
from coordinator.observability.surveyed import SURVEYED

_DURATIONS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86400)
_STATEMENTS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_BATCHES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)
_WORD = re.compile(r"[a-z][a-z_]{0,39}")
_TYPE = ("saga_type",)
_PARTICIPANT = ("participant",)

Values = Mapping[Labels, Sequence[int]]
"""Milliseconds by labels."""
Kind = Literal["counter", "gauge", "histogram"]

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second line per sample that nobody asks for


class Declared(msgspec.Struct, frozen=True):
    """What a metric is: `rows` says that it is read from the database, and shown by one process only."""

    name: str
    kind: Kind
    labels: Labels
    meaning: str
    rows: bool = False


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.declared: list[Declared] = []
        self._count_sagas_and_steps()
        self._count_records()
        self._measure_batches()
        self._show_process()
        self._show_participants()
        self.survey = Survey(SURVEYED, self.registry)
        self.declared += [Declared(each.name, "gauge", each.labels, each.meaning, rows=True) for each in SURVEYED]
        self._topics: dict[str, str] = {}
        for verdict in ("applied", "duplicate", "stale", "foreign", "quarantined"):
            self.verdicts.labels(verdict)
        for by in ("recovery", "person"):
            self.redriven.labels(by)
        for kind in ("wrong_key", "unknown_fields"):
            self.oddities.labels(kind)

    def register(self, saga_types: Iterable[str]) -> None:
        """Show every registered definition at zero, so that a rate exists before the first event."""
        counters = (self.started, self.completed, self.failed, self.compensating, self.suspended, self.abandoned)
        for saga_type in saga_types:
            for counter in counters:
                counter.labels(saga_type)

    def expect(self, role: str, partitions: int, commands: Mapping[str, str]) -> None:
        """Learn what this process is: its role, the reply topic's partitions, and participant by command topic."""
        self.build.labels(_version(), platform.python_version(), role).set(1)
        self.partitions.set(partitions)
        self._topics = dict(commands)
        for participant in commands.values():
            self.commands.labels(participant)

    def show_participant(self, name: str, in_flight: int, held: int, breaker: int) -> None:
        """Show how flow control stands towards a participant."""
        self.participant_in_flight.labels(name).set(in_flight)
        self.participant_held.labels(name).set(held)
        self.participant_breaker.labels(name).set(breaker)

    def show_lag(self, lags: Mapping[int, int]) -> None:
        """Show how far each partition that is ours is behind; the others are somebody else's to show."""
        self.consumer_lag.clear()
        for part, lag in lags.items():
            self.consumer_lag.labels(str(part)).set(lag)

    def count_commands(self, topics: Iterable[str]) -> None:
        """Add records that were handed to Kafka, by their topics; what is no command is not counted."""
        for topic, count in Tally(topics).items():
            participant = self._topics.get(topic)
            if participant is not None:
                self.commands.labels(participant).inc(count)

    def count_verdicts(self, verdicts: Mapping[tuple[str, str], int]) -> None:
        """Add a batch's verdicts."""
        for (verdict, reason), count in verdicts.items():
            self.verdicts.labels(verdict).inc(count)
            if verdict == "quarantined":
                self.dead_letters.labels(word(reason)).inc(count)

    def count_sagas(self, started: Mapping[str, int], moved: Mapping[tuple[str, str], int], durations: Values) -> None:
        """Add a batch's beginnings, changes of status and ends."""
        for saga_type, count in started.items():
            self.started.labels(saga_type).inc(count)
        by_status = {
            "completed": self.completed,
            "failed": self.failed,
            "abandoned": self.abandoned,
            "compensating": self.compensating,
            "suspended": self.suspended,
        }
        for (saga_type, status), count in moved.items():
            counter = by_status.get(status)
            if counter is not None:
                counter.labels(saga_type).inc(count)
        for labels, values_ms in durations.items():
            self.duration.observe(labels, values_ms)

    def count_steps(self, ended: Values, replies: Mapping[Labels, int], retried: Mapping[Labels, int]) -> None:
        """Add a batch's steps that ended, by saga type, step and outcome; answers by participant and what they say."""
        for labels, values_ms in ended.items():
            self.step_seconds.observe(labels, values_ms)
        for labels, count in replies.items():
            self.replies.labels(*labels).inc(count)
        for labels, count in retried.items():
            self.retries.labels(*labels).inc(count)

    # ------------------------------------------------------------ what there is

    def _count_sagas_and_steps(self) -> None:
        self.started = self._counter("saga_started_total", "Sagas begun, or accepted for later.", _TYPE)
        self.completed = self._counter("saga_completed_total", "Sagas whose every step is done.", _TYPE)
        self.failed = self._counter("saga_failed_total", "Sagas ended with everything undone.", _TYPE)
        self.abandoned = self._counter("saga_abandoned_total", "Sagas that an operator gave up.", _TYPE)
        self.compensating = self._counter("saga_compensating_total", "Sagas that turned back.", _TYPE)
        self.suspended = self._counter("saga_suspended_total", "Times that a saga was parked for a person.", _TYPE)
        self.duration = self._batched(
            "saga_duration_seconds", "From start to end.", ("saga_type", "status"), _DURATIONS
        )
        self.step_seconds = self._batched(
            "saga_step_seconds",
            "From a step's first command to its outcome, or from its first compensation to what came of that.",
            ("saga_type", "step_name", "outcome"),
            _DURATIONS,
        )
        self.replies = self._counter(
            "saga_replies_total", "Answers that moved a saga, by what they say.", ("participant", "reply")
        )
        self.retries = self._counter(
            "saga_retries_total", "Attempts after the first that the machine made.", ("participant", "direction")
        )
        self.commands = self._counter("saga_commands_total", "Commands handed to Kafka.", _PARTICIPANT)

    def _count_records(self) -> None:
        self.verdicts = self._counter("saga_records_total", "Consumed records by their verdict.", ("verdict",))
        self.dead_letters = self._counter("saga_dead_letters_total", "Records set aside.", ("reason",))
        self.redriven = self._counter(
            "saga_dead_letters_redriven_total",
            "Dead letters sent again, by the recovery worker or a person.",
            ("by",),
        )
        self.oddities = self._counter(
            "saga_odd_records_total",
            "Records taken although their key is not the saga's id or they have fields that nobody knows.",
            ("kind",),
        )

    def _measure_batches(self) -> None:
        self.batch_size = self._histogram("saga_batch_transitions", "Transitions per committed batch.", _BATCHES)
        self.statement_seconds = self._histogram(
            "saga_statement_seconds", "Duration of the batch statement.", _STATEMENTS
        )
        self.last_batch = self._gauge(
            "saga_last_batch_timestamp_seconds", "When the last batch was committed, by the database's clock."
        )
        self.batches_unknown = self._counter(
            "saga_batches_unknown_total", "Statements of which it was not heard whether they were committed."
        )

    def _show_process(self) -> None:
        self.build = self._gauge("saga_build_info", "1, for the labels.", ("version", "python", "role"))
        self.outbox_in_flight = self._gauge("saga_outbox_in_flight", "Messages Kafka has not acknowledged.")
        self.outbox_in_flight_age = self._gauge(
            "saga_outbox_in_flight_seconds", "For how long the oldest of them has waited for its acknowledgement."
        )
        self.outbox_published = self._gauge("saga_outbox_published", "Messages acknowledged since start.")
        self.active = self._gauge("saga_active_in_memory", "Sagas in progress in this process.")
        self.timers_held = self._gauge("saga_timers_held", "Timers that are due and wait for the gate.")
        self.timers_held_age = self._gauge(
            "saga_timers_held_seconds", "For how long the timer that was due first has been."
        )
        self.clock_steady = self._gauge(
            "saga_clock_steady", "1, or 0 while timers rest because the database's clock stepped."
        )
        self.partitions = self._gauge("saga_partitions", "Partitions of the reply topic that somebody has to own.")
        self.partitions_owned = self._gauge("saga_partitions_owned", "Partitions of the reply topic that we own.")
        self.rebalances = self._counter("saga_rebalances_total", "Times that the group has assigned partitions to us.")
        self.consumer_lag = self._gauge(
            "saga_consumer_lag", "Records of our partitions that are not consumed yet.", ("partition",)
        )
        self.log_days_ahead = self._gauge("saga_log_days_ahead", "Days for which the log has partitions.")

    def _show_participants(self) -> None:
        self.participant_in_flight = self._gauge(
            "saga_participant_in_flight",
            "Actions without an outcome, of sagas known to this process.",
            _PARTICIPANT,
        )
        self.participant_breaker = self._gauge(
            "saga_participant_breaker", "0 closed, 1 open, 2 half open.", _PARTICIPANT
        )
        self.participant_held = self._gauge(
            "saga_participant_held",
            "Sagas of our partitions with a step that waits until its participant takes new actions.",
            _PARTICIPANT,
        )

    def _counter(self, name: str, meaning: str, labels: Labels = ()) -> Counter:
        self.declared.append(Declared(name, "counter", labels, meaning))
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, labels: Labels = ()) -> Gauge:
        self.declared.append(Declared(name, "gauge", labels, meaning))
        return Gauge(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float]) -> Histogram:
        self.declared.append(Declared(name, "histogram", (), meaning))
        return Histogram(name, meaning, buckets=buckets, registry=self.registry)

    def _batched(self, name: str, meaning: str, labels: Labels, buckets: Sequence[float]) -> BatchHistogram:
        self.declared.append(Declared(name, "histogram", labels, meaning))
        return BatchHistogram(name, meaning, labels, buckets, self.registry)


def word(reason: str) -> str:
    """A reason as a label: all of ours are words, and nothing else becomes one."""
    return reason if _WORD.fullmatch(reason) else "other"


def _version() -> str:
    """The version that is installed; sources that run in place have none."""
    try:
        return metadata.version("saga-coordinator")
    except metadata.PackageNotFoundError:
        return "unknown"
