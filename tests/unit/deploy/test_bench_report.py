"""What the benchmark says about itself: which targets it missed, and what it refuses to pass over."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from benchmarks import measure, report, stages


class _Metrics(BaseHTTPRequestHandler):
    text = b""

    def do_GET(self) -> None:
        """Answer like /metrics."""
        self.send_response(200)
        self.send_header("content-length", str(len(self.text)))
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Keep quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    """Give the port of a server that answers with `_Metrics.text`."""
    server = HTTPServer(("127.0.0.1", 0), _Metrics)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_record_names_the_targets_that_were_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of RESULTS.md says of each missed target what was found and wanted, and what nobody measured."""
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    report.record({"sagas_per_second": 3111, "p99_ms": 56.7, "cpu_us_per_saga": {"coordinator": 230}, "machine": {}})
    text = (tmp_path / "RESULTS.md").read_text()
    assert "- missed: sagas per second, median (`sagas_per_second`): found 3,111, wanted >= 6,500\n" in text
    assert "(`cpu_us_per_saga.coordinator`): found 230, wanted <= 100\n" in text
    assert "`p99_ms`" not in text.split("```json")[0]
    assert "- not measured: `ratio_1`, " in text


def test_a_record_without_a_miss_says_so() -> None:
    """When every target is met, the entry says that too."""
    best = {target.figure: target.value for target in report.TARGETS if "." not in target.figure}
    figures = {**best, "cpu_us_per_saga": {"coordinator": 1}}
    assert report.shortfalls(figures) == "- missed: none of those that were measured"


@pytest.mark.parametrize("proxy", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_this_machine_is_asked_without_a_proxy(port: int, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment has no business between the benchmark and its coordinator."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    monkeypatch.setattr(_Metrics, "text", b"saga_rebalances_total 3.0\nsaga_statement_seconds_count 7.0\n")
    found = measure.read_counters(port)
    assert (found.rebalances, found.statements) == (3.0, 7.0)


def test_a_coordinator_that_counts_no_rebalances_is_not_measured(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the counter a disturbed run would look like a quiet one, so the stage fails."""
    monkeypatch.setattr(_Metrics, "text", b"saga_statement_seconds_count 7.0\n")
    with pytest.raises(measure.Uncounted, match="saga_rebalances_total"):
        measure.read_counters(port)


def test_the_naive_stage_is_short() -> None:
    """At 60 and 125 sagas per second the naive variant's runs, the warm ones included, take about a minute."""
    plan = stages.Plan()
    seconds = [
        (max(50, count // 5) + plan.runs * count) / rate for count, rate in ((plan.naive_1, 60), (plan.naive_8, 125))
    ]
    assert plan.runs >= 3
    assert sum(seconds) < 70
