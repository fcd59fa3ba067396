"""What the stage says when it is asked for something that cannot be done, and what its alerts are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from deploy.local.choice import LocalStackError
from deploy.local.processes import free_port
from deploy.local.prometheus import HURRY, RULES, hurried_rules
from deploy.stage import __main__ as stage
from deploy.stage.monitor import firing


@pytest.fixture
def facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the file in which a stage would say where it is."""
    file = tmp_path / "facts.json"
    monkeypatch.setattr(stage, "FACTS", file)
    return file


@pytest.mark.parametrize("words", [["alerts"], ["break", "shipping"], ["mend", "shipping"]])
def test_without_a_stage_it_is_said_how_to_start_one(
    words: list[str], facts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is looked for, and the exit code is 1."""
    assert stage.main(words) == 1
    assert "`make stage` starts one" in capsys.readouterr().err


def test_there_is_one_stage_at_a_time(facts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second one would write over where the first is; one that died is no first one."""
    facts.write_text(json.dumps({"pid": os.getpid()}))
    assert stage.main([]) == 1
    assert "running already" in capsys.readouterr().err


def test_without_a_prometheus_it_is_said_where_the_numbers_are(facts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage on a machine that can have none still shows what alerts are about."""
    facts.write_text(json.dumps({"prometheus_url": "", "metrics_url": "http://127.0.0.1:1/metrics"}))
    assert stage.main(["alerts"]) == 1
    assert "http://127.0.0.1:1/metrics" in capsys.readouterr().err


def test_only_participants_of_an_order_can_be_broken(facts: Path) -> None:
    """A wrong name is a wrong option."""
    with pytest.raises(SystemExit) as ended:
        stage.main(["break", "nobody"])
    assert ended.value.code == 2


def test_a_prometheus_that_is_gone_is_told_as_such() -> None:
    """No list of nothing is shown for it."""
    with pytest.raises(LocalStackError, match="does not answer"):
        list(firing(f"http://127.0.0.1:{free_port()}"))


def test_the_alerts_in_a_hurry_are_the_same_alerts() -> None:
    """Thresholds and patience differ, names and conditions do not."""
    hurried = hurried_rules()
    assert hurried.count("- alert:") == RULES.read_text().count("- alert:")
    assert all(quick in hurried and slow not in hurried for slow, quick in HURRY.items())
