"""`python -m tests.simulation [--seed N] [--runs N]`: run seeds and say what they found."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.run import SAGAS, run


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds from there")
    parser.add_argument("--sagas", type=int, default=SAGAS, help="sagas of a run, on average")
    parser.add_argument("--without", action="append", default=[], help="leave a fault out (repeatable)")
    arguments = parser.parse_args()
    totals, faults, broken, began = Counter[str](), Counter[str](), 0, time.perf_counter()
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        outcome = run(seed, arguments.sagas, arguments.without)
        totals.update(sagas=outcome.sagas, transitions=outcome.transitions, **outcome.statuses)
        faults.update(outcome.faults)
        if outcome.violation is not None:
            broken += 1
            print(f"seed {seed}: {outcome.violation}")
        elif arguments.runs == 1:
            print(outcome)
    took = time.perf_counter() - began
    print(f"{arguments.runs} runs in {took:.1f} s, {totals['sagas'] / took:.0f} sagas/s: {dict(totals)}")
    print(f"{faults.total()} faults: {dict(faults.most_common())}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
