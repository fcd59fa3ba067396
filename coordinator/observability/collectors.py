"""What prometheus_client lacks: a batch's values at once, numbers that may be unknown, and scrapes that cost little."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class BatchHistogram(Collector):
    """A histogram of seconds that takes many values of one label set at a time, in milliseconds.

    On the hot path: sorting a batch's values and looking where the bounds fall is much cheaper than a look per value.
    """

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str], buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._meaning = meaning
        self._labels = list(labels)
        self._bounds = list(buckets)
        self._bounds_ms = [1000 * bound for bound in buckets]
        self._counts: dict[Labels, list[int]] = {}
        self._lines: dict[Labels, list[str]] = {}
        self._sums_ms: dict[Labels, float] = {}
        registry.register(self)

    def observe(self, labels: Labels, values_ms: Sequence[float]) -> None:
        """Add values of one label set; clocks may make one negative, which counts as none."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            self._sums_ms[labels] = 0.0
            self._lines[labels] = self._beginnings(labels)
        ordered = sorted(values_ms)
        if ordered and ordered[0] < 0:
            ordered = [max(0, value) for value in ordered]
        for place, bound in enumerate(self._bounds_ms):
            counts[place] += bisect_right(ordered, bound)
        counts[-1] += len(ordered)
        self._sums_ms[labels] += sum(ordered)

    def describe(self) -> Iterable[Metric]:
        """The name alone, so that no other metric takes it."""
        return [HistogramMetricFamily(self._name, self._meaning, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        """What was observed so far."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        bounds = self._bucket_names()
        for labels, counts in self._counts.items():
            up_to = zip(bounds, map(float, counts), strict=True)
            family.add_metric(labels, list(up_to), self._sums_ms[labels] / 1000)
        return [family]

    def exposition(self) -> str:
        """The same as text; whatever can be worked out when a label set is first seen, is."""
        if not self._counts:
            return ""
        lines = [f"# HELP {self._name} {self._meaning}", f"# TYPE {self._name} histogram"]
        for labels, counts in self._counts.items():
            beginnings = self._lines[labels]
            lines += [f"{beginning}{count}.0" for beginning, count in zip(beginnings, counts, strict=False)]
            lines.append(f"{beginnings[-2]}{counts[-1]}.0")
            lines.append(f"{beginnings[-1]}{self._sums_ms[labels] / 1000}")
        return "\n".join(lines) + "\n"

    def _beginnings(self, labels: Labels) -> list[str]:
        """What stands before the numbers: those of the buckets, of the count, and of the sum."""
        pairs = ",".join(
            f'{name}="{_escaped(label)}"' for name, label in sorted(zip(self._labels, labels, strict=True))
        )
        buckets = [f'{self._name}_bucket{{{pairs},le="{bound}"}} ' for bound in self._bucket_names()]
        return [*buckets, f"{self._name}_count{{{pairs}}} ", f"{self._name}_sum{{{pairs}}} "]

    def _bucket_names(self) -> list[str]:
        return [*map(floatToGoString, self._bounds), "+Inf"]


class Known(msgspec.Struct, frozen=True):
    """A gauge of a survey: its name, meaning and labels."""

    name: str
    meaning: str
    labels: Labels = ()


class Survey(Collector):
    """Gauges that one process of an installation shows, all of one moment; while none is shown there is no sample.

    A zero would say that all is well; no sample says that somebody else has to be asked.
    """

    def __init__(self, gauges: Sequence[Known], registry: CollectorRegistry) -> None:
        self._gauges = gauges
        self._shown: Mapping[str, Mapping[Labels, float]] = {}
        registry.register(self)

    def show(self, found: Mapping[str, Mapping[Labels, float]]) -> None:
        """Show what was found, by name and labels, and nothing of what was found before."""
        self._shown = found

    def hide(self) -> None:
        """Show nothing: another process does, or nobody knows."""
        self._shown = {}

    def describe(self) -> Iterable[Metric]:
        """The names, so that no other metric takes one."""
        return [GaugeMetricFamily(each.name, each.meaning) for each in self._gauges]

    def collect(self) -> Iterator[Metric]:
        """What was found last."""
        for each in self._gauges:
            samples = self._shown.get(each.name)
            if samples:
                family = GaugeMetricFamily(each.name, each.meaning, labels=each.labels)
                for labels, value in samples.items():
                    family.add_metric(labels, value)
                yield family


class Registry(CollectorRegistry):
    """A registry that can write itself as text in a tenth of the usual time."""

    def __init__(self) -> None:
        super().__init__()
        self._quick: list[BatchHistogram] = []
        self._others: list[Collector] = []

    def register(self, collector: Collector) -> None:
        """Add a collector."""
        super().register(collector)
        if isinstance(collector, BatchHistogram):
            self._quick.append(collector)
        else:
            self._others.append(collector)

    def exposition(self) -> bytes:
        """What a scrape answers."""
        others = generate_latest(cast("Any", _Several(self._others)))
        return others + "".join(quick.exposition() for quick in self._quick).encode()


class _Several:
    """Some collectors of a registry."""

    def __init__(self, collectors: Sequence[Collector]) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Metric]:
        for collector in self._collectors:
            yield from collector.collect()


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
