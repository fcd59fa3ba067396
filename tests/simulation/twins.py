"""`python -m tests.simulation.twins`: let each twin live until an invariant finds it, or fail."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator

import msgspec

from tests.simulation import broken_engine, broken_machine, broken_turns  # noqa: F401 - they register their twins
from tests.simulation.mutations import TWINS
from tests.simulation.run import run

SEEDS = 200  # that a twin may survive at most
SAGAS = 60


class Hunt(msgspec.Struct, frozen=True):
    """What became of a twin: `found` is the violation, None when there was none in so many seeds."""

    name: str
    seeds: int
    sagas: int
    found: str | None
    expected: bool


def hunt(number: int, seeds: int = SEEDS, sagas: int = SAGAS) -> Hunt:
    """Run seeds with a twin until an invariant finds it."""
    twin, seen = TWINS[number], 0
    with twin.alive():
        for seed in range(1, seeds + 1):
            outcome = run(seed, sagas)
            seen += outcome.sagas
            if outcome.violation is not None:
                expected = any(f" {name} " in f" {outcome.violation}" for name in twin.finds)
                return Hunt(twin.name, seed, seen, outcome.violation, expected)
    return Hunt(twin.name, seeds, seen, None, expected=False)


def hunt_all(numbers: Iterable[int], seeds: int = SEEDS) -> Iterator[Hunt]:
    """Hunt twins on all processors."""
    with multiprocessing.Pool(os.cpu_count() or 1) as pool:
        yield from pool.imap_unordered(_hunt, [(number, seeds) for number in numbers])


def main() -> int:
    """Hunt all twins."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.twins", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds that a twin may survive")
    parser.add_argument("--only", help="the twin with this name")
    arguments = parser.parse_args()
    chosen = [number for number, twin in enumerate(TWINS) if arguments.only in (None, twin.name)]
    began, hunts = time.perf_counter(), list[Hunt]()
    for found in hunt_all(chosen, arguments.seeds):
        hunts.append(found)
        word = "survived" if found.found is None else "found" if found.expected else "found by another"
        print(f"{word:<17} {found.name}: seed {found.seeds}, {found.found}", flush=True)
    caught = sum(one.expected for one in hunts)
    took = round(time.perf_counter() - began, 1)
    figures = {"tier": "twins", "passed": caught == len(hunts), "twins": len(hunts), "caught": caught, "seconds": took}
    print(json.dumps(figures))
    return 0 if caught == len(hunts) else 1


def _hunt(question: tuple[int, int]) -> Hunt:
    return hunt(*question)


if __name__ == "__main__":
    sys.exit(main())
