"""Proves what docs/reliability.md promises, tier by tier, and writes it: `python -m tests.prove [--again] [TIER ...]`.

A tier that has passed is not run again until something that it reads has changed; --again runs it all the same. The
state is in .local/prove.
"""

from __future__ import annotations

import argparse
import signal
import sys

from benchmarks.measure import machine
from deploy.local.places import LOCAL, PROJECT
from deploy.local.stack import say_on_terminal
from tests.prove.driver import Proof
from tests.prove.records import DOCUMENT, Records, revision_of
from tests.prove.running import Runner
from tests.prove.tiers import TIERS

STATE = LOCAL / "prove"


def main() -> int:
    """Run what is asked for, or everything; answers 0 only when all of it has passed."""
    names = [tier.name for tier in TIERS]
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("tiers", nargs="*", metavar="TIER", help=f"only these, of {', '.join(names)}")
    parser.add_argument("--again", action="store_true", help="run tiers that have passed already")
    parser.add_argument("--write", action="store_true", help=f"run nothing, write {DOCUMENT} from what there is")
    arguments = parser.parse_args()
    unknown = set(arguments.tiers) - set(names)
    if unknown:
        parser.error(f"no tier is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    proof = Proof(
        TIERS,
        Records(STATE),
        Runner(PROJECT, STATE, say_on_terminal),
        lambda tier: revision_of(PROJECT, tier.reads),
        machine(),
        say_on_terminal,
    )
    chosen = [] if arguments.write else [tier for tier in TIERS if not arguments.tiers or tier.name in arguments.tiers]
    try:
        passed = proof.run(chosen, again=arguments.again)
    except KeyboardInterrupt:
        say_on_terminal("ended; the next run goes on from here")
        return 130
    proof.write(PROJECT / DOCUMENT)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
