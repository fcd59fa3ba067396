"""The alerts fire when they must and stay silent when they must: promtool plays deploy/prometheus/tests/*.yml."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.local.choice import LocalStackError
from deploy.local.places import PROJECT
from deploy.local.prometheus import find_tool

RULES = PROJECT / "deploy" / "prometheus"
TESTS = sorted((RULES / "tests").glob("*.yml"))


@pytest.fixture(scope="module")
def promtool() -> Path:
    """Give promtool, or skip with what to install."""
    try:
        return find_tool("promtool")
    except LocalStackError as error:
        pytest.skip(str(error))


def test_prometheus_takes_the_rules_and_the_configuration(promtool: Path) -> None:
    """Both files are valid as the compose file mounts them."""
    for arguments in (("rules", RULES / "alerts.yml"), ("config", RULES / "prometheus.yml")):
        done = subprocess.run([promtool, "check", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_an_alert_fires_and_stays_silent(promtool: Path, file: Path) -> None:
    """Every story of the file has the outcome that it says."""
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_both_are_told(file: Path) -> None:
    """Each alert has a story in which it fires, and one in which it does not."""
    stories = yaml.safe_load(file.read_text())["tests"]
    fired = [bool(check["exp_alerts"]) for story in stories for check in story["alert_rule_test"]]
    assert {True, False} <= set(fired)
    assert {check["alertname"] for story in stories for check in story["alert_rule_test"]} == {file.stem}
