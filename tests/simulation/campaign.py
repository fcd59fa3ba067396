"""`python -m tests.simulation.campaign`: seed after seed, on all processors, until there were enough."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tests.simulation.run import SAGAS, Outcome, run
from tests.simulation.shrinking import shrink

REGRESSIONS = Path(__file__).parent / "regressions.txt"
PROGRESS_S = 10.0
VIOLATIONS_MAX = 5  # then it ends: they are likely to be one


class Totals(msgspec.Struct):
    """What a campaign has seen."""

    seeds: int = 0
    sagas: int = 0
    transitions: int = 0
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    statuses: Counter[str] = msgspec.field(default_factory=Counter)
    slowest_rest_s: float = 0.0
    violations: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """Count a run."""
        self.seeds += 1
        self.sagas += outcome.sagas
        self.transitions += outcome.transitions
        self.faults.update(outcome.faults)
        self.statuses.update(outcome.statuses)
        self.slowest_rest_s = max(self.slowest_rest_s, outcome.rested_s)
        if outcome.violation is not None:
            self.violations = [*self.violations, outcome]


def regressions() -> list[int]:
    """The seeds that have found something once."""
    lines = (line.partition("#")[0].strip() for line in REGRESSIONS.read_text().splitlines())
    return [int(line) for line in lines if line]


def campaign(first: int, sagas: int, faults: int, *, progress: bool = False) -> Totals:
    """Run the regressions, then seeds from `first` on, until so many sagas and faults were seen."""
    totals, said_at = Totals(), time.monotonic()
    with multiprocessing.Pool(os.cpu_count() or 1) as pool:
        for outcome in pool.imap_unordered(run, _seeds(first)):
            totals.add(outcome)
            if outcome.violation is not None:
                print(f"seed {outcome.seed}: {outcome.violation}", flush=True)
            if progress and time.monotonic() - said_at > PROGRESS_S:
                said_at = time.monotonic()
                seen = f"{totals.seeds} seeds, {totals.sagas:,} sagas, {totals.faults.total():,} faults"
                print(f"{seen}, {len(totals.violations)} violations", file=sys.stderr, flush=True)
            if (totals.sagas >= sagas and totals.faults.total() >= faults) or len(totals.violations) >= VIOLATIONS_MAX:
                pool.terminate()
                return totals
    return totals


def remember(broken: Iterable[Outcome]) -> None:
    """Let the seeds that found something be the first of every campaign from now on."""
    known = set(regressions())
    with REGRESSIONS.open("a") as file:
        for outcome in broken:
            if outcome.seed not in known:
                file.write(f"{outcome.seed}  # {(outcome.violation or '').partition(': 0')[0]}\n")


def _seeds(first: int) -> Iterator[int]:
    yield from regressions()
    while True:
        yield first
        first += 1


def main() -> int:
    """Run a campaign; what it finds is made small and shown."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.campaign", description=__doc__)
    parser.add_argument("--first", type=int, default=1_000, help="the first seed besides the regressions")
    parser.add_argument("--sagas", type=int, default=20_000)
    parser.add_argument("--faults", type=int, default=80_000)
    arguments = parser.parse_args()
    began = time.perf_counter()
    totals = campaign(arguments.first, arguments.sagas, arguments.faults, progress=True)
    for outcome in totals.violations[:1]:
        print(shrink(outcome, SAGAS), flush=True)
    remember(totals.violations)
    figures = {
        "tier": "simulation",
        "passed": not totals.violations,
        "seeds": totals.seeds,
        "sagas": totals.sagas,
        "transitions": totals.transitions,
        "faults": totals.faults.total(),
        "faults_by_kind": dict(totals.faults.most_common()),
        "statuses": dict(totals.statuses.most_common()),
        "slowest_rest_s": totals.slowest_rest_s,
        "violations": [f"seed {one.seed}: {one.violation}" for one in totals.violations],
        "seconds": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(figures))
    return 1 if totals.violations else 0


if __name__ == "__main__":
    sys.exit(main())
