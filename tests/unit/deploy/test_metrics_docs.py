"""docs/metrics.md names every metric that there is, and what Prometheus and Grafana are given names no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from coordinator.api.middleware import MEASURED
from coordinator.observability.metrics import Declared, Metrics
from deploy.local.places import PROJECT

PAGE = PROJECT / "docs" / "metrics.md"
PROMETHEUS = PROJECT / "deploy" / "prometheus"
BEGIN, END = "<!-- generated: pytest tests/unit/deploy/test_metrics_docs.py --rewrite -->", "<!-- end -->"
EVERY: list[Declared] = [*Metrics().declared, MEASURED]
NAME = re.compile(r"\bsaga_[a-z_]+")


def _table() -> str:
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for each in sorted(EVERY, key=lambda each: each.name):
        labels = ", ".join(f"`{label}`" for label in each.labels)
        kind = f"{each.kind} of rows" if each.rows else each.kind
        lines.append(f"| `{each.name}` | {kind} | {labels} | {each.meaning} |")
    return "\n".join(lines)


def _series() -> set[str]:
    """The names under which samples are stored."""
    found = set()
    for each in EVERY:
        parts = ("_bucket", "_sum", "_count") if each.kind == "histogram" else ("",)
        found |= {each.name + part for part in parts}
    return found


def _asked(query: str) -> set[str]:
    """The metrics that a query names."""
    return set(NAME.findall(query)) - {"saga_type"}


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _expressions(node: Any) -> Iterator[str]:
    """Every query of a dashboard."""
    if isinstance(node, dict):
        if "expr" in node:
            yield node["expr"]
        for value in node.values():
            yield from _expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _expressions(value)


def test_the_table_is_that_of_the_code(rewrite: bool) -> None:
    """The page's table says name, type, labels and meaning of each metric as the process registers it."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    wanted = f"{before}{BEGIN}\n{_table()}\n{END}{after}"
    if rewrite:
        PAGE.write_text(wanted)
    assert text == wanted or rewrite


def test_the_names_that_others_rely_on_are_kept() -> None:
    """Dashboards of the first day still find what they ask for."""
    kept = {
        "saga_started_total",
        "saga_completed_total",
        "saga_failed_total",
        "saga_compensating_total",
        "saga_duration_seconds",
        "saga_stuck_count",
    }
    assert kept <= {each.name for each in EVERY}


def test_what_is_declared_is_registered() -> None:
    """No name is declared twice, and each metric of the registry is declared."""
    names = [each.name for each in EVERY]
    assert len(names) == len(set(names))
    families = {family.name for family in Metrics().registry.collect()}
    assert families <= {each.name.removesuffix("_total") if each.kind == "counter" else each.name for each in EVERY}


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    """Its metrics exist; it says how bad it is, what it is, and which page of the runbooks to open."""
    assert _asked(rule["expr"]) <= _series()
    assert rule["labels"]["severity"] in ("page", "ticket")
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert annotations["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
    page = (PROJECT / annotations["runbook_url"]).read_text()
    assert page.startswith(f"# {rule['alert']}\n")
    for part in ("What it means", "How to look", "Likely causes", "What to do", "When to escalate", "Walked through"):
        assert f"\n## {part}\n" in page


def test_every_alert_is_tested_and_explained() -> None:
    """Each alert has a page, and promtool tests that name it; no page or test is left of one that is gone."""
    alerts = {rule["alert"] for rule in _rules()}
    pages = {file.stem for file in (PROJECT / "docs" / "runbooks").glob("*.md")} - {"README"}
    tests = {file.stem for file in (PROMETHEUS / "tests").glob("*.yml")}
    assert pages == tests == alerts
    index = (PROJECT / "docs" / "runbooks" / "README.md").read_text()
    assert all(f"({name}.md)" in index for name in alerts)


def test_the_dashboard_asks_for_what_there_is() -> None:
    """Every query of the Grafana dashboard is about metrics that exist."""
    dashboard = json.loads((PROJECT / "deploy" / "grafana" / "dashboard.json").read_text())
    queries = list(_expressions(dashboard))
    assert len(queries) > 10
    for query in queries:
        assert _asked(query)
        assert _asked(query) <= _series(), query
