"""The results for people (a table with targets), for programs (one JSON line), and for later (RESULTS.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.stages import Figures

RESULTS = Path(__file__).parent / "RESULTS.md"
HEADING = """# What `python -m benchmarks --record` found

Each entry is one full run: the machine, the targets that were missed, then the JSON line. The targets are in
`benchmarks/report.py`.
"""


class Target(msgspec.Struct, frozen=True):
    """What a figure has to be; `at_least` says in which direction better lies."""

    figure: str
    words: str
    value: float
    at_least: bool = False

    def met(self, found: float) -> bool:
        """Whether a figure is as good as it has to be."""
        return found >= self.value if self.at_least else found <= self.value

    @property
    def wanted(self) -> str:
        """The bound, with its direction."""
        return f"{'>=' if self.at_least else '<='} {_number(self.value)}"


TARGETS = (
    Target("sagas_per_second", "sagas per second, median", 6_500, at_least=True),
    Target("ratio_1", "times the naive variant, 1 partition", 30, at_least=True),
    Target("ratio_8", "times the naive variant, 8 partitions", 8, at_least=True),
    Target("cpu_us_per_saga.coordinator", "coordinator, microseconds of CPU per saga", 100),
    Target("wal_bytes_per_saga", "bytes of WAL per saga", 8 * 1024),
    Target("ratio_events", "throughput with saga.events on / off", 0.80, at_least=True),
    Target("p50_ms", "whole saga at 20 per second, p50 ms", 20),
    Target("p99_ms", "whole saga at 20 per second, p99 ms", 60),
    Target("starts_single_per_second", "starts per second, one a request", 300, at_least=True),
    Target("starts_bulk_per_second", "starts per second, many a request", 3_000, at_least=True),
    Target("rss_idle_mb", "coordinator, MB resident when idle", 150),
    Target("rss_20000_in_flight_mb", "the same with 20,000 sagas in flight", 350),
    Target("ratio_finished", "throughput beside 1,000,000 finished sagas / none", 0.85, at_least=True),
    Target("scrape_ms", "/metrics beside 1,000,000 sagas, p99 ms", 20),
    Target("ratio_bulk", "throughput beside a bulk retry of 100,000 sagas / none", 0.70, at_least=True),
    Target("bulk_rss_growth_mb", "coordinator, MB more while that runs", 50),
    Target("ratio_trip_per_command", "time per command, trip / order", 1.15),
    Target("lists_p99_ms", "any filter's page, 1,000,000 sagas, p99 ms", 50),
    Target("lists_sequential_scans", "sequential scans of the sagas by lists", 0),
    Target("rebalances", "rebalances during the runs", 0),
)
CONDITIONS = (
    "whole four-step sagas over real Kafka and Postgres; synchronous_commit on; outbox, log, fence, headers,",
    "strict decoding and database keys on; the coordinator's own figures with the lean in-memory participant",
    "(benchmarks/lean_participant.py), SAGA_LOG__TRANSITIONS=false, SAGA_LOG__LEVEL=warning, saga.events off",
    "unless said otherwise; the naive variant commits offsets and deletes outbox rows once a second",
)


def complete(figures: Figures) -> Figures:
    """Add the figures that follow from others."""
    rate = figures.get("sagas_per_second")
    for partitions, name in ((1, "naive_1_partition"), (8, "naive_8_partitions")):
        if rate and figures.get(name):
            figures[f"ratio_{partitions}"] = round(rate / figures[name], 1)
    return figures


def table(figures: Figures) -> str:
    """Every target with its figure, met or missed; figures without a target below."""
    lines = ["", *CONDITIONS, "", f"{'figure':<56}{'found':>12}{'target':>12}  "]
    for target in TARGETS:
        found = _find(figures, target.figure)
        shown = "-" if found is None else _number(found)
        verdict = "not measured" if found is None else "met" if target.met(found) else "MISSED"
        lines.append(f"{target.words:<56}{shown:>12}{target.wanted:>12}  {verdict}")
    shown_already = {target.figure.partition(".")[0] for target in TARGETS} - {"cpu_us_per_saga"}
    for name, value in figures.items():
        if name not in shown_already:
            lines.append(f"{name:<56}{_value(value):>12}")
    return "\n".join(lines)


def json_line(figures: Figures) -> str:
    """The last line of the output."""
    return json.dumps(figures, separators=(", ", ": "))


def shortfalls(figures: Figures) -> str:
    """The targets that were missed, each by name with what was found and wanted, and those that nobody measured."""
    found = {target.figure: _find(figures, target.figure) for target in TARGETS}
    missed = [
        f"- missed: {target.words} (`{target.figure}`): found {_number(value)}, wanted {target.wanted}"
        for target in TARGETS
        if (value := found[target.figure]) is not None and not target.met(value)
    ]
    unknown = [f"`{target.figure}`" for target in TARGETS if found[target.figure] is None]
    lines = missed or ["- missed: none of those that were measured"]
    return "\n".join(lines + ([f"- not measured: {', '.join(unknown)}"] if unknown else []))


def record(figures: Figures) -> None:
    """Append the run to RESULTS.md: the machine, the targets that were missed, the JSON line."""
    machine = ", ".join(f"{name} {value}" for name, value in figures.get("machine", {}).items())
    if not RESULTS.exists():
        RESULTS.write_text(HEADING)
    today = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    with RESULTS.open("a") as file:
        file.write(f"\n## {today}\n\n{machine}\n\n{shortfalls(figures)}\n\n```json\n{json_line(figures)}\n```\n")


def _find(figures: Figures, name: str) -> float | None:
    value: Any = figures
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) else None


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.3g}"


def _value(value: Any) -> str:
    shapes: dict[type, Callable[[Any], str]] = {
        dict: lambda each: ", ".join(f"{key} {_value(one)}" for key, one in each.items()),
        list: lambda each: " to ".join(map(_value, each)),
        int: _number,
        float: _number,
    }
    return shapes.get(type(value), str)(value)
