"""The engine under simulated faults: no invariant breaks, every twin is found, and a seed is a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import broken_engine, broken_machine, broken_turns  # noqa: F401 - they register their twins
from tests.simulation.campaign import campaign, regressions
from tests.simulation.faults import RATES
from tests.simulation.mutations import TWINS
from tests.simulation.run import run
from tests.simulation.shrinking import shrink
from tests.simulation.twins import hunt_all

PROJECT = Path(__file__).parents[2]
FIRST = 1_000
ENOUGH_SAGAS = 20_000
ENOUGH_FAULTS = 80_000
TWINS_LEAST = 16
NOT_HERE = (23, 28, 29)  # docs/adr/0031 says why, and what looks at them instead
INVARIANTS = frozenset(f"I{number}" for number in range(1, 31) if number not in NOT_HERE)
DIGEST = "import sys; from tests.simulation.run import run; print(run(int(sys.argv[1]), 60).digest)"


@pytest.mark.timeout(600)
def test_no_fault_breaks_an_invariant() -> None:
    """Twenty thousand sagas with eighty thousand faults, beginning with every seed that has ever found something."""
    totals = campaign(FIRST, ENOUGH_SAGAS, ENOUGH_FAULTS)
    for broken in totals.violations:
        pytest.fail(str(shrink(broken, 100)))
    assert totals.sagas >= ENOUGH_SAGAS
    assert totals.faults.total() >= ENOUGH_FAULTS
    assert set(totals.faults) == set(RATES)
    assert totals.seeds > len(regressions())


@pytest.mark.timeout(300)
def test_every_twin_is_found() -> None:
    """Of each broken engine the invariant that it breaks tells soon: whoever cannot fail proves nothing."""
    hunts = list(hunt_all(range(len(TWINS))))
    assert [found for found in hunts if not found.expected] == []
    assert len(hunts) >= TWINS_LEAST


def test_every_invariant_has_a_twin() -> None:
    """There is a broken engine for each invariant that the simulator looks at."""
    assert {name for twin in TWINS for name in twin.finds} == INVARIANTS


def test_a_seed_is_a_run() -> None:
    """The same seed comes to the same rows and records, down to the byte, however Python hashes its strings."""
    digests = set()
    for hash_seed in ("0", "1", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST, "7"],
            cwd=PROJECT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_a_violation_is_made_small_and_told() -> None:
    """What is found comes with its seed, the faults that it needs, and what happened to the saga, line by line."""
    twin = next(twin for twin in TWINS if twin.name == "a participant without a memory")
    with twin.alive():
        broken = next(outcome for outcome in map(run, range(1, 20)) if outcome.violation is not None)
        told = str(shrink(broken, 100))
    assert "I5" in told
    assert f"--seed {broken.seed}" in told
    assert "-> started" in told
    assert not any(f"FAULT {name}" in told for name in ("kill", "tail_lost"))
