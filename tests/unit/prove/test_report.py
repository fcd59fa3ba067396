"""The document says what the records say, and calls nothing passed that did not run."""

from __future__ import annotations

import re
from typing import Any

from tests.prove.records import Record, Revision, Skipped
from tests.prove.report import FIGURES, TEMPLATE, figure, render, verdict
from tests.prove.tiers import TIERS

REVISION = Revision("c0ffee" + "0" * 34, "1")


def record(tier: str, **changes: Any) -> Record:
    """Make a record of a tier that has passed."""
    plain: dict[str, Any] = {
        "tier": tier,
        "passed": True,
        "revision": REVISION,
        "machine": {"cpu": "a fast one", "cores": 2},
        "command": "python",
        "began_at": "2026-01-01T00:00:00+00:00",
        "duration_s": 90.0,
        "exit_code": 0,
    }
    return Record(**(plain | changes))


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the table below a heading."""
    part = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows][2:]


def test_without_records_everything_is_not_run() -> None:
    """A document of nothing claims nothing."""
    text = render(TIERS, {tier.name: None for tier in TIERS})
    assert [row[2] for row in table(text, "The tiers")] == ["not run"] * len(TIERS)
    assert {row[2] for row in table(text, "Figures")} == {"not run"}
    assert "passed" not in {row[2] for row in table(text, "The tiers")}
    assert "{{" not in text


def test_a_figure_that_is_missing_is_not_run() -> None:
    """A tier that has passed and does not tell a figure has not shown it."""
    told = record(
        "simulation",
        figures={"passed": True, "seeds": 4000, "faults": 7, "faults_by_kind": {"kill": 3, "pause_long": 4}},
    )
    text = render(TIERS, {"simulation": told})
    rows = {row[1]: row[2] for row in table(text, "Figures") if row[0] == "simulation"}
    assert rows == {"seeds": "4,000", "sagas": "not run", "faults": "7", "violations": "not run"}
    assert table(text, "Faults by kind") == [["simulation", "pause long", "4"], ["simulation", "kill", "3"]]


def test_zero_is_a_figure() -> None:
    """No violation in so many sagas is what is to be shown."""
    assert figure(record("simulation", figures={"violations": 0}), "violations") == "0"
    assert figure(record("twins", figures={"caught": ["a", "b"]}), "caught") == "2"


def test_verdicts() -> None:
    """Passed, failed, skipped in part, skipped as a whole, and not there are five different things."""
    skips = (Skipped("test_x", "no root"),)
    assert verdict(record("soak")) == "passed"
    assert verdict(record("soak", passed=False)) == "**failed**"
    assert verdict(record("crash", skipped=skips, tests={"passed": 3})) == "passed, 1 skipped"
    assert verdict(record("crash", skipped=skips, tests={"passed": 0})) == "not run"
    assert verdict(None) == "not run"


def test_the_slowest_recovery_of_each_fault_stands_beside_its_bound() -> None:
    """What took longer than promised is marked; a fault without a bound says so."""
    recoveries = [
        {"fault": "broker killed", "recovered_s": 1.25, "bound_s": 10, "sagas": 40},
        {"fault": "broker killed", "recovered_s": 3.5, "bound_s": 10, "sagas": 44},
        {"fault": "disk full", "recovered_s": 12.0, "bound_s": 10, "sagas": 7},
        {"fault": "clock jump", "recovered_s": 0.5},
    ]
    told = record("faults", figures={"recoveries": recoveries}, tests={"passed": 4})
    rows = table(render(TIERS, {"faults": told}), "How soon sagas moved again after a fault")
    assert rows == [
        ["broker killed", "2", "44", "3.5", "10"],
        ["disk full", "1", "7", "12.0", "10 **missed**"],
        ["clock jump", "1", "not run", "0.5", "none promised"],
    ]


def test_machines_and_skips_are_named() -> None:
    """Where tiers ran on two machines, it says which ran where; what could not run is there by name."""
    elsewhere = record("crash", machine={"cpu": "a slow one"}, skipped=(Skipped("test_x", "no root"),))
    text = render(TIERS, {"soak": record("soak"), "crash": elsewhere})
    assert "cpu: a fast one, cores: 2 (soak); cpu: a slow one (crash)" in text
    assert "- crash: `test_x`: no root" in text
    assert "| c0ffee000000 |" in text


def test_a_tree_with_changes_says_so() -> None:
    """A document never passes off uncommitted work as a commit."""
    text = render(TIERS, {"soak": record("soak", revision=Revision("c0ffee", "1", changed=True))})
    assert "c0ffee, with changes that are not committed" in text


def test_the_template_uses_every_part_once() -> None:
    """No part is forgotten, and none is asked for that nobody writes."""
    asked = re.findall(r"\{\{(\w+)\}\}", TEMPLATE.read_text())
    assert sorted(asked) == ["faults", "figures", "machines", "recoveries", "skipped", "tiers"]
    assert FIGURES.keys() == {tier.name for tier in TIERS}
