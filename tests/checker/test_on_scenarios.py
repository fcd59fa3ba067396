"""The checker finds nothing wrong with sagas whose every line a person has approved: the scenarios of the machine."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.engine.journal import BEGAN, entry
from coordinator.saga.effects import Moved
from coordinator.saga.model import RESTING, dump_state
from coordinator.scenario.files import read
from coordinator.scenario.player import ROLL, play
from tests.checker.checks import attempts_are_those_logged
from tests.checker.evidence import Check, Evidence, Expected, LogEntry, Plan, PlannedStep, SagaRow
from tests.checker.history import states_are_those_logged, the_log_goes_one_way, undo_is_one_at_a_time
from tests.scenarios.definitions import definitions

SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").glob("*.saga"))
AT = datetime(2026, 1, 1, tzinfo=UTC)
CHECKS: tuple[Check, ...] = (
    the_log_goes_one_way,
    states_are_those_logged,
    undo_is_one_at_a_time,
    attempts_are_those_logged,
)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_gives_no_complaint(path: Path) -> None:
    """Log and state of its saga, at the end and wherever it rested before, are as the checks want them."""
    player = play(read(path), definitions)[1]
    steps = tuple(
        PlannedStep(step.name, step.participant, step.action, step.compensation or "", step.group)
        for step in player.definition.steps
    )
    found = Evidence()
    saga = player.begun.saga
    row = SagaRow(saga.id, 0, saga.status, saga.version, False, "", [])
    log = [LogEntry(saga.id, 1, BEGAN, None, saga.status, AT)]
    found.sagas[saga.id], found.log[saga.id] = row, log
    for happened in player.history:
        if not isinstance(happened.decision, Moved):
            continue
        saga = happened.after
        event, step_name, data = entry(happened.event, 0, ROLL)
        released = event == "BackoffElapsed" and json.loads(data)["attempt"] == 0
        log.append(LogEntry(saga.id, saga.version, event, step_name, saga.status, AT, released))
        if saga.status in RESTING:
            row.status, row.version, row.steps = saga.status, saga.version, json.loads(dump_state(saga))["steps"]
            for check in CHECKS:
                assert list(check(found, Plan("", steps), Expected())) == []
