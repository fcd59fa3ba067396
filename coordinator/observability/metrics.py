"""The metrics of a coordinator process, fed per batch; labels come only from registered names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_DURATIONS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86400)
_STATEMENTS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_BATCHES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        per_type = ["saga_type"]
        self.started = Counter("saga_started_total", "Sagas begun.", per_type, registry=self.registry)
        self.completed = Counter(
            "saga_completed_total", "Sagas whose every step is done.", per_type, registry=self.registry
        )
        self.failed = Counter(
            "saga_failed_total", "Sagas ended with everything undone.", per_type, registry=self.registry
        )
        self.compensating = Counter(
            "saga_compensating_total", "Sagas that turned back.", per_type, registry=self.registry
        )
        self.suspended = Counter("saga_suspended_total", "Sagas parked for a person.", per_type, registry=self.registry)
        self.duration = Histogram(
            "saga_duration_seconds",
            "From start to end.",
            ["saga_type", "status"],
            buckets=_DURATIONS,
            registry=self.registry,
        )
        self.stuck = Gauge(
            "saga_stuck_count",
            "Sagas in progress that have been overdue for a minute.",
            per_type,
            registry=self.registry,
        )
        self.verdicts = Counter(
            "saga_records_total", "Consumed records by their verdict.", ["verdict"], registry=self.registry
        )
        self.dead_letters = Counter("saga_dead_letters_total", "Records set aside.", ["reason"], registry=self.registry)
        self.open_letters = Gauge(
            "saga_dead_letters_open",
            "Dead letters that nothing was done about; next is who acts on them: recovery, a person, or their saga.",
            ["kind", "reason", "next"],
            registry=self.registry,
        )
        self.redriven = Counter(
            "saga_dead_letters_redriven_total",
            "Dead letters sent again, by the recovery worker or a person.",
            ["by"],
            registry=self.registry,
        )
        self.oddities = Counter(
            "saga_odd_records_total",
            "Records taken although their key is not the saga's id or they have fields that nobody knows.",
            ["kind"],
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "saga_batch_transitions", "Transitions per committed batch.", buckets=_BATCHES, registry=self.registry
        )
        self.statement_seconds = Histogram(
            "saga_statement_seconds", "Duration of the batch statement.", buckets=_STATEMENTS, registry=self.registry
        )
        self.outbox_in_flight = Gauge(
            "saga_outbox_in_flight", "Messages Kafka has not acknowledged.", registry=self.registry
        )
        self.outbox_published = Gauge(
            "saga_outbox_published", "Messages acknowledged since start.", registry=self.registry
        )
        self.active = Gauge("saga_active_in_memory", "Sagas in progress in this process.", registry=self.registry)
        self.timers_held = Gauge(
            "saga_timers_held", "Timers that are due and wait for the gate.", registry=self.registry
        )
        self.partitions_owned = Gauge("saga_partitions_owned", "Partitions of the reply topic.", registry=self.registry)
        self.rebalances = Counter(
            "saga_rebalances_total", "Times that the group has assigned partitions to us.", registry=self.registry
        )
        self.consumer_lag = Gauge(
            "saga_consumer_lag", "Records not consumed yet.", ["partition"], registry=self.registry
        )
        per_participant = ["participant"]
        self.participant_in_flight = Gauge(
            "saga_participant_in_flight",
            "Actions without an outcome, of sagas known to this process.",
            per_participant,
            registry=self.registry,
        )
        self.participant_breaker = Gauge(
            "saga_participant_breaker", "0 closed, 1 open, 2 half open.", per_participant, registry=self.registry
        )
        self.participant_held = Gauge(
            "saga_participant_held",
            "Sagas of our partitions with a step that waits until its participant takes new actions.",
            per_participant,
            registry=self.registry,
        )
        self.log_days_ahead = Gauge(
            "saga_log_days_ahead", "Days for which the log has partitions.", registry=self.registry
        )
        for verdict in ("applied", "duplicate", "stale", "foreign", "quarantined"):
            self.verdicts.labels(verdict)
        for by in ("recovery", "person"):
            self.redriven.labels(by)
        for kind in ("wrong_key", "unknown_fields"):
            self.oddities.labels(kind)

    def register(self, saga_types: list[str]) -> None:
        """Show every registered definition at zero, so that a rate exists before the first event."""
        for saga_type in saga_types:
            for counter in (self.started, self.completed, self.failed, self.compensating, self.suspended):
                counter.labels(saga_type)
            self.stuck.labels(saga_type)

    def show_participant(self, name: str, in_flight: int, held: int, breaker: int) -> None:
        """Show how flow control stands towards a participant."""
        self.participant_in_flight.labels(name).set(in_flight)
        self.participant_held.labels(name).set(held)
        self.participant_breaker.labels(name).set(breaker)

    def count_verdicts(self, verdicts: dict[tuple[str, str], int]) -> None:
        """Add a batch's verdicts."""
        for (verdict, reason), count in verdicts.items():
            self.verdicts.labels(verdict).inc(count)
            if verdict == "quarantined":
                self.dead_letters.labels(reason).inc(count)

    def count_sagas(
        self,
        started: dict[str, int],
        moved: dict[tuple[str, str], int],
        durations: dict[tuple[str, str], list[float]],
    ) -> None:
        """Add a batch's beginnings, changes of status and ends."""
        for saga_type, count in started.items():
            self.started.labels(saga_type).inc(count)
        by_status = {
            "completed": self.completed,
            "failed": self.failed,
            "compensating": self.compensating,
            "suspended": self.suspended,
        }
        for (saga_type, status), count in moved.items():
            counter = by_status.get(status)
            if counter is not None:
                counter.labels(saga_type).inc(count)
        for (saga_type, status), lengths in durations.items():
            observe = self.duration.labels(saga_type, status).observe
            for seconds in lengths:
                observe(seconds)
